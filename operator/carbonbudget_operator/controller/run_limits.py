"""Finds the runs over a threshold of a budget per workload, and their states in its status. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import objects
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer
from carbonbudget_operator.budgets.budget_sentence import Subject, describe
from carbonbudget_operator.budgets.verdict import State, Verdict, verdict_on_run
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.status_json import workloads_in_status

_OVER: Final = (State.WARNING, State.EXCEEDED)

Key = tuple[str, str, str]
"""namespace, kind, name."""


@dataclass(frozen=True, slots=True)
class RunOverThreshold:
    """A run over a threshold. `data_through`: up to when there were data (UTC seconds)."""

    key: Key
    subject: Subject
    limit_ug: int
    verdict: Verdict
    data_through: int

    @property
    def state(self) -> State:
        """Its state by its own use."""
        return self.verdict.state

    @property
    def message(self) -> str:
        """The sentence that says so; made when it is posted, since most runs were reported before."""
        return describe(self.subject, self.limit_ug, self.verdict, None, self.data_through)


def runs_over(
    prepared: PreparedBudget, answer: BudgetAnswer, verdict: Verdict, data_through: int
) -> tuple[RunOverThreshold, ...]:
    """The runs of a budget per workload that reached a threshold, most used first; none of any other budget."""
    if not prepared.budget_limit.per_workload or verdict.state is State.UNKNOWN:
        return ()
    found = []
    for use in workloads_in_status(prepared, answer):
        own = verdict_on_run(prepared.budget_limit, verdict, use.used_ug)
        if own.state not in _OVER:
            continue
        kind, _, name = use.workload.partition("/")
        # A namespace's own budget never reaches beyond it.
        namespace = prepared.stored.namespace or use.namespace
        shown = use.workload if prepared.stored.namespace else f"{namespace}/{use.workload}"
        found.append(
            RunOverThreshold(
                (namespace, kind, name), prepared.subject(shown), prepared.budget_limit.limit_ug, own, data_through
            )
        )
    return tuple(found)


def runs_in_status(body: Mapping[str, object], period: object) -> dict[Key, str]:
    """The states of runs in an object's status; empty if the status is of another period."""
    status, metadata = body.get("status"), body.get("metadata")
    if not isinstance(status, Mapping) or not isinstance(metadata, Mapping) or status.get("period") != period:
        return {}
    own = str(metadata.get("namespace") or "")
    return {
        (own or str(one.get("namespace")), str(one.get("kind")), str(one.get("name"))): str(one.get("state"))
        for one in objects(status.get("topWorkloads"))
    }
