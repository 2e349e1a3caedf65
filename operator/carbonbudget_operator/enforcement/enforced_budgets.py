"""A carbon budget with what enforcement needs of it: which Jobs it covers, and what its status does to them.

No I/O and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from carbonbudget_operator.api.budget_spec import EnforceSpec
from carbonbudget_operator.api.budget_status import MOST_WORKLOADS
from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.budgets.coverage import (
    Covers,
    Scope,
    enforced_namespaces,
    has_exempt_prefix,
    selects_namespace,
)
from carbonbudget_operator.budgets.limit_in_force import limit_in_force_ug
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.strictest import Candidate
from carbonbudget_operator.budgets.verdict import DEFAULT_THRESHOLDS, Action, State, Threshold, state_and_action
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.enforcement.job_fields import Job


@dataclass(frozen=True, slots=True)
class WorkloadShareOfBudget:
    """One entry of status.topWorkloads: a workload's use of the budget."""

    namespace: str
    kind: str
    name: str
    emissions: str
    percent: int
    state: str = ""
    """The run's own state, in a budget per workload; otherwise empty."""


@dataclass(frozen=True, slots=True)
class EnforcedBudget:
    """A CarbonBudget or ClusterCarbonBudget, with the parts of its spec and status that enforcement needs.

    `key` is the server's: "namespace/name", or "/name" for a ClusterCarbonBudget. Times are UTC seconds.
    """

    key: str
    scope: Scope
    market: bool
    limit_ug: int
    state: str
    """The status's; empty before the first verdict."""
    candidate: Candidate
    status_is_current: bool
    """Whether the status is of the present spec. A limit that was raised since must suspend nothing."""
    suspend_from: int | None
    """None unless Suspend is reached."""
    acts_until: int
    """Until when status.enforcement is valid, for a block and a suspension alike; 0 without one."""
    refuses_jobs: bool
    """Whether its block refuses new Jobs (enforce.kinds)."""
    grace_s: int
    suspend_at_percent: int
    thresholds: tuple[Threshold, ...]
    """The thresholds by use."""
    top: tuple[WorkloadShareOfBudget, ...]
    as_of: int = 0
    """Up to when there were data, by the status; 0 if not known."""
    ends: int = 0
    """The end of its period, by the status; 0 if not known."""

    @property
    def namespace(self) -> str:
        """The budget's namespace; empty for a ClusterCarbonBudget."""
        return self.scope.namespace

    @property
    def per_workload(self) -> bool:
        """Whether each workload has the limit for itself (spec.per: Workload)."""
        return self.scope.per_workload

    @property
    def display_name(self) -> str:
        """The budget's name in messages: "namespace/name" or "name"."""
        return self.key.removeprefix("/")

    def suspends(self, now: int) -> bool:
        """Whether Suspend is reached and valid now, also before the grace is over."""
        return self.suspend_from is not None and now < self.acts_until

    def blocks_jobs(self, now: int) -> bool:
        """Whether it refuses new Jobs now."""
        return self.refuses_jobs and self.scope.refuses_new_work and now < self.acts_until

    def selects(self, job: Job, labels: Mapping[str, str] | None) -> bool:
        """Whether the budget certainly covers the Job's pods. `labels` are its namespace's, None while not known.

        Where the labels leave it open, the budget neither suspends the Job nor keeps it suspended.
        """
        return self.scope.covers(job.namespace, labels, job.template_labels, not job.labels_cut) is Covers.YES

    def may_select(self, job: Job, labels: Mapping[str, str] | None) -> bool:
        """Whether the budget may cover the Job's pods: where nothing is started against the policy's rule."""
        return self.scope.covers(job.namespace, labels, job.template_labels, not job.labels_cut) is not Covers.NO

    def over(self, job: Job) -> bool:
        """Whether the Job, or its CronJob, has reached the Suspend threshold of a budget per workload."""
        use = self.use_of(job)
        return use is not None and self._reaches(use.percent, self.suspend_at_percent)

    def may_hide(self, job: Job) -> bool:
        """Whether the Job may be over its limit without being in the status, because the list there is full."""
        full = len(self.top) >= MOST_WORKLOADS
        return full and self.use_of(job) is None and self._reaches(self.top[-1].percent, self.suspend_at_percent)

    def state_of(self, percent: int, state: str = "") -> Candidate:
        """The state and action of a workload that used `percent` of the limit.

        In a budget per workload these are by the workload's own use, in any other the budget's. `state` is that of the
        status; where it is empty, the thresholds decide.
        """
        if not self.per_workload or self.candidate.state is State.UNKNOWN:
            return self.candidate
        found, action = state_and_action(self.thresholds, lambda at: self._reaches(percent, at))
        return replace(self.candidate, action=action, state=State(state or found), percent=percent)

    def _reaches(self, percent: int, at: int) -> bool:
        """Whether a use reaches a threshold. Any use of a limit of 0 reaches all (budgets.verdict.reached)."""
        return percent > 0 if self.limit_ug == 0 else percent >= at

    def use_of(self, job: Job) -> WorkloadShareOfBudget | None:
        """The entry of the Job, or of its CronJob, in the status; None if it has none."""
        names = {("Job", job.name), (job.owner_kind, job.owner_name)}
        return next(
            (use for use in self.top if use.namespace == job.namespace and (use.kind, use.name) in names),
            None,
        )


def parse_budget(body: Mapping[str, object]) -> EnforcedBudget | None:
    """The budget of an object; None for one that is not valid, which its status reports."""
    try:
        resource = CarbonBudget.model_validate(body)
        namespace_selector = None
        if not resource.metadata.namespace:
            namespace_selector = ClusterCarbonBudget.model_validate(body).spec.namespace_selector
        limit_ug = limit_in_force_ug(resource)
    except (ValidationError, QuantityError):
        return None
    enforce = resource.spec.enforce or EnforceSpec()
    grace_s = duration_s(enforce.grace)
    if grace_s is None:
        return None
    meta, spec, status = resource.metadata, resource.spec, resource.status
    enforcement = status.enforcement
    suspends = enforcement is not None and enforcement.action == "Suspend" and enforcement.suspend_from is not None
    as_of = status.data_through or status.observed_at
    return EnforcedBudget(
        key=f"{meta.namespace}/{meta.name}",
        scope=Scope(
            meta.namespace,
            spec.selector,
            namespace_selector,
            spec.per == "Workload",
            frozenset(status.namespaces or ()),
        ),
        market=spec.accounting == "MarketBased",
        limit_ug=limit_ug,
        state=status.state or "",
        candidate=Candidate(
            key=f"{meta.namespace}/{meta.name}",
            action=next((action for action in Action if action.word == status.action), Action.NONE),
            state=State(status.state or "Unknown"),
            percent=status.percent_used or 0,
        ),
        status_is_current=status.evaluated_generation == meta.generation,
        suspend_from=(
            int(enforcement.suspend_from.timestamp())
            if suspends and enforcement is not None and enforcement.suspend_from is not None
            else None
        ),
        acts_until=int(enforcement.until.timestamp()) if enforcement is not None else 0,
        refuses_jobs="Job" in enforce.kinds,
        grace_s=grace_s,
        thresholds=tuple(Threshold(t.at, Action[t.action.upper()]) for t in spec.thresholds if t.basis == "Used")
        if spec.thresholds is not None
        else DEFAULT_THRESHOLDS,
        as_of=seconds(as_of) if as_of is not None else 0,
        ends=seconds(status.period.end) if status.period is not None else 0,
        suspend_at_percent=min((t.at for t in spec.thresholds or () if t.action == "Suspend"), default=100),
        top=tuple(
            # A CarbonBudget acts in its own namespace alone, whatever its status contains.
            WorkloadShareOfBudget(
                meta.namespace or use.namespace or "",
                use.kind,
                use.name,
                use.emissions,
                use.percent or 0,
                use.state or "",
            )
            for use in status.top_workloads or ()
        ),
    )


def is_enforced_namespace(namespace: str, labels: Mapping[str, str] | None, exempt: frozenset[str]) -> bool:
    """Whether budgets act in a namespace: it is not exempt, by name or label. `labels` is None while not known.

    `exempt`: names, and with `*` at the end beginnings of names.
    """
    if has_exempt_prefix(exempt, namespace):
        return False
    return selects_namespace(enforced_namespaces(exempt, ENFORCEMENT_LABEL), namespace, labels) is not Covers.NO


class BudgetsByNamespace:
    """Budgets by the namespaces whose Jobs they can select."""

    def __init__(self, budgets: Iterable[EnforcedBudget]) -> None:
        self._of: dict[str, list[EnforcedBudget]] = {}
        for budget in budgets:
            self._of.setdefault(budget.namespace, []).append(budget)

    def of(self, job: Job, labels: Mapping[str, str] | None) -> list[EnforcedBudget]:
        """The budgets that select the Job, sorted by key."""
        return sorted((b for b in self._candidates(job) if b.selects(job, labels)), key=lambda b: b.key)

    def possibly_of(self, job: Job, labels: Mapping[str, str] | None) -> list[EnforcedBudget]:
        """Also those that the Job's labels, as far as they are stored, or its namespace's leave open."""
        return sorted((b for b in self._candidates(job) if b.may_select(job, labels)), key=lambda b: b.key)

    def _candidates(self, job: Job) -> Iterator[EnforcedBudget]:
        yield from self._of.get(job.namespace, ())
        yield from self._of.get("", ())
