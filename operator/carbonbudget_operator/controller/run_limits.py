"""Finds the runs over a threshold of a budget per workload, those that are expected to exceed its limit, and what its
status says of both. No I/O, no clock.

What is expected goes by what a run's own pods say of their progress. So it warns, and nothing else goes by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from carbonbudget_core.jsons import objects
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, WorkloadUse
from carbonbudget_operator.budgets.budget_sentence import Subject, describe, describe_expected
from carbonbudget_operator.budgets.verdict import State, Verdict, verdict_on_run
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.status_json import is_expected_over, workloads_in_status

_REASONS: Final = {State.WARNING: "RunWarning", State.EXCEEDED: "RunExceeded"}

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
    def reason(self) -> str:
        """The reason of its Event."""
        return _REASONS[self.verdict.state]

    @property
    def state(self) -> State:
        """The run's state by its own use."""
        return self.verdict.state

    @property
    def message(self) -> str:
        """The sentence that says so; made when it is posted, since most runs were reported before."""
        return describe(self.subject, self.limit_ug, self.verdict, None, self.data_through)


@dataclass(frozen=True, slots=True)
class RunExpectedOver:
    """A run that is expected to exceed the limit. `expected_ug`: the figure and its range."""

    key: Key
    subject: Subject
    limit_ug: int
    expected_ug: tuple[int, int, int]
    progress_percent: int
    data_through: int

    reason: ClassVar[str] = "RunExpectedOver"

    @property
    def message(self) -> str:
        """The sentence that says so."""
        return describe_expected(
            self.subject, self.limit_ug, self.expected_ug, self.progress_percent, self.data_through
        )


def runs_expected_over(
    prepared: PreparedBudget, answer: BudgetAnswer, verdict: Verdict, data_through: int
) -> tuple[RunExpectedOver, ...]:
    """The runs of a budget per workload that are expected to exceed its limit, and have not exceeded it yet."""
    if not prepared.budget_limit.per_workload or verdict.state is State.UNKNOWN:
        return ()
    limit_ug, found = prepared.budget_limit.limit_ug, []
    for use in workloads_in_status(prepared, answer):
        if not is_expected_over(use, limit_ug) or use.expected_ug is None:
            continue
        key, shown = _named(prepared, use)
        low, high = use.expected_low_ug, use.expected_high_ug
        expected = (use.expected_ug, use.expected_ug if low is None else low, use.expected_ug if high is None else high)
        subject = prepared.subject(shown)
        found.append(RunExpectedOver(key, subject, limit_ug, expected, use.progress_percent or 0, data_through))
    return tuple(found)


def runs_over(
    prepared: PreparedBudget, answer: BudgetAnswer, verdict: Verdict, data_through: int
) -> tuple[RunOverThreshold, ...]:
    """The runs of a budget per workload that reached a threshold, most used first; none of any other budget."""
    if not prepared.budget_limit.per_workload or verdict.state is State.UNKNOWN:
        return ()
    found = []
    for use in workloads_in_status(prepared, answer):
        own = verdict_on_run(prepared.budget_limit, verdict, use.used_ug)
        if own.state not in _REASONS:
            continue
        key, shown = _named(prepared, use)
        found.append(RunOverThreshold(key, prepared.subject(shown), prepared.budget_limit.limit_ug, own, data_through))
    return tuple(found)


def _named(prepared: PreparedBudget, use: WorkloadUse) -> tuple[Key, str]:
    """A run's key, and its name in a sentence."""
    kind, _, name = use.workload.partition("/")
    # A namespace's own budget never reaches beyond it.
    namespace = prepared.stored.namespace or use.namespace
    return (namespace, kind, name), use.workload if prepared.stored.namespace else f"{namespace}/{use.workload}"


def runs_in_status(body: Mapping[str, object], period: object) -> dict[Key, str]:
    """The states of runs in an object's status; empty if the status is of another period."""
    return {key: str(one.get("state")) for key, one in _tops(body, period)}


def expected_over_in_status(body: Mapping[str, object], period: object) -> set[Key]:
    """The runs of an object's status that were expected to exceed the limit; empty if it is of another period."""
    return {key for key, one in _tops(body, period) if isinstance(at := one.get("expectedPercent"), int) and at > 100}


def _tops(body: Mapping[str, object], period: object) -> Iterator[tuple[Key, Mapping[str, object]]]:
    status, metadata = body.get("status"), body.get("metadata")
    if not isinstance(status, Mapping) or not isinstance(metadata, Mapping) or status.get("period") != period:
        return
    own = str(metadata.get("namespace") or "")
    for one in objects(status.get("topWorkloads")):
        yield (own or str(one.get("namespace")), str(one.get("kind")), str(one.get("name"))), one
