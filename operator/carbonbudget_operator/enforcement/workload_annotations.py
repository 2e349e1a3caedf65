"""Computes the annotations of workloads that run from the statuses of all budgets, and of the targets that flag them.

No I/O and no clock; workload_annotator.py writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import (
    ACCOUNTING_ANNOTATION,
    AS_OF_ANNOTATION,
    BUDGET_ANNOTATION,
    EMISSIONS_ANNOTATION,
    STATE_ANNOTATION,
    TARGETS_ANNOTATION,
)
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.strictest import strictest
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget, WorkloadShareOfBudget
from carbonbudget_operator.enforcement.job_emissions import accounting

_KINDS: Final = {
    "Deployment": ApiPath("apps", "v1", "deployments"),
    "StatefulSet": ApiPath("apps", "v1", "statefulsets"),
    "DaemonSet": ApiPath("apps", "v1", "daemonsets"),
    "CronJob": ApiPath("batch", "v1", "cronjobs"),
    "Job": ApiPath("batch", "v1", "jobs"),
}


class WorkloadKey(NamedTuple):
    """What identifies a workload in a budget's status."""

    namespace: str
    kind: str
    name: str

    @property
    def path(self) -> ApiPath:
        """The workload's path. Its name is free text of a report; ApiPath refuses one that no object can have."""
        return _KINDS[self.kind].at(self.namespace, self.name)


class UrgentAnnotations(NamedTuple):
    """The three annotations whose change is written before a change of a figure; None for absent."""

    budget: str | None
    state: str | None
    targets: str | None


@dataclass(frozen=True, slots=True)
class WorkloadAnnotations:
    """The values of the six annotations; None removes one. Without arguments all six are removed."""

    emissions: str | None = None
    accounting: str | None = None
    as_of: str | None = None
    budget: str | None = None
    state: str | None = None
    targets: str | None = None

    @property
    def urgent(self) -> UrgentAnnotations:
        """The annotations, of the six, whose change is written first."""
        return UrgentAnnotations(self.budget, self.state, self.targets)

    def patch(self) -> dict[str, str | None]:
        """The annotations by their names in the object."""
        return {
            EMISSIONS_ANNOTATION: self.emissions,
            ACCOUNTING_ANNOTATION: self.accounting,
            AS_OF_ANNOTATION: self.as_of,
            BUDGET_ANNOTATION: self.budget,
            STATE_ANNOTATION: self.state,
            TARGETS_ANNOTATION: self.targets,
        }


def is_annotated_kind(kind: str) -> bool:
    """Whether the controller may write to workloads of this kind."""
    return kind in _KINDS


def workload_annotations(
    budgets: Iterable[EnforcedBudget], targets: Mapping[WorkloadKey, str] | None = None
) -> dict[WorkloadKey, WorkloadAnnotations]:
    """The annotations of each workload that a status names, by the strictest of the budgets that name it.

    In a budget per workload the state is by the workload's own use: another run that is over its limit changes nothing.
    `targets` are the values of the annotation `targets` by workload.
    """
    named: dict[WorkloadKey, dict[str, tuple[EnforcedBudget, WorkloadShareOfBudget]]] = {}
    for budget in budgets:
        for use in budget.top:
            if is_annotated_kind(use.kind) and budget.state:
                key = WorkloadKey(use.namespace, use.kind, use.name)
                named.setdefault(key, {}).setdefault(budget.key, (budget, use))
    found = {key: _by_the_strictest(by_budget) for key, by_budget in named.items()}
    for key, text in (targets or {}).items():
        found[key] = replace(found.get(key, WorkloadAnnotations()), targets=text)
    return found


def _by_the_strictest(by_budget: dict[str, tuple[EnforcedBudget, WorkloadShareOfBudget]]) -> WorkloadAnnotations:
    """The annotations of one workload; at least one budget names it."""
    first = strictest(budget.state_of(use.percent, use.state) for budget, use in by_budget.values())
    assert first is not None
    budget, use = by_budget[first.key]
    return WorkloadAnnotations(
        emissions=use.emissions,
        accounting=accounting(budget.market),
        as_of=format_time(budget.as_of) if budget.as_of else None,
        budget=budget.display_name,
        state=first.state.value,
    )
