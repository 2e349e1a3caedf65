"""A budget as enforcement reads it: whom it covers, and what its status says. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.resource_names import ENFORCEMENT_LABEL
from carbonbudget_operator.api.spec import EnforceSpec
from carbonbudget_operator.api.status import MOST_WORKLOADS
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.coverage import Covers, Scope, judged_namespaces, selects_namespace
from carbonbudget_operator.budgets.evaluate import DEFAULT_THRESHOLDS, Action, State
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.budgets.strictest import Candidate
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.enforcement.job import Job


@dataclass(frozen=True, slots=True)
class WorkloadShareOfBudget:
    """A workload of status.topWorkloads."""

    namespace: str
    kind: str
    name: str
    emissions: str
    percent: int
    state: str = ""
    """By its own use, in a budget per workload."""


@dataclass(frozen=True, slots=True)
class EnforcedBudget:
    """`key` is the server's: "namespace/name", or "/name" for a ClusterCarbonBudget. Times are UTC seconds."""

    key: str
    scope: Scope
    market: bool
    limit_ug: int
    state: str
    """As the status says; empty before the first verdict."""
    candidate: Candidate
    settled: bool
    """Whether the status is of the spec as it is now: nobody is suspended by a limit that was raised since."""
    suspend_from: int | None
    """None unless Suspend is reached."""
    acts_until: int
    """Until when status.enforcement holds, whether it blocks or suspends; 0 without one."""
    refuses_jobs: bool
    """Whether a block of it is one of new Jobs."""
    grace_s: int
    suspend_at_percent: int
    thresholds: tuple[tuple[int, Action], ...]
    """Those that go by what was used: per cent of the limit, and what is asked for."""
    top: tuple[WorkloadShareOfBudget, ...]
    as_of: int = 0
    """Up to when there were data, by the status; 0 where it does not say."""
    ends: int = 0
    """The end of its period, by the status; 0 where it does not say."""

    @property
    def namespace(self) -> str:
        """Its own; empty for a ClusterCarbonBudget."""
        return self.scope.namespace

    @property
    def per_workload(self) -> bool:
        """Whether its limit is one for each workload."""
        return self.scope.per_workload

    @property
    def shown(self) -> str:
        """As people read it: "namespace/name" or "name"."""
        return self.key.removeprefix("/")

    def suspends(self, now: int) -> bool:
        """Whether Suspend is reached and holds; grace may still run."""
        return self.suspend_from is not None and now < self.acts_until

    def blocks_jobs(self, now: int) -> bool:
        """Whether new Jobs of it are refused now."""
        return self.refuses_jobs and self.scope.refuses_others and now < self.acts_until

    def selects(self, job: Job, labels: Mapping[str, str] | None) -> bool:
        """Whether the Job's pods are known to count in it; `labels` are its namespace's, None while they are not known.

        What a budget may cover and may not is left alone: neither suspended nor held by it.
        """
        return self.scope.covers(job.namespace, labels, job.template_labels, not job.labels_cut) is Covers.YES

    def over(self, job: Job) -> bool:
        """Whether the Job, or its CronJob, is one that a per: Workload budget suspends."""
        use = self.use_of(job)
        return use is not None and self._reaches(use.percent, self.suspend_at_percent)

    def may_hide(self, job: Job) -> bool:
        """Whether the Job may be over its limit and still be missing from the status: a full list may hide more."""
        full = len(self.top) >= MOST_WORKLOADS
        return full and self.use_of(job) is None and self._reaches(self.top[-1].percent, self.suspend_at_percent)

    def state_of(self, percent: int, state: str = "") -> Candidate:
        """How a workload stands in it that used `percent` of the limit; `state` as the status has it, if it has one.

        In a budget per workload by its own use, else as the budget does.
        """
        if not self.per_workload or self.candidate.state is State.UNKNOWN:
            return self.candidate
        action = max((action for at, action in self.thresholds if self._reaches(percent, at)), default=Action.NONE)
        found = State.EXCEEDED if self._reaches(percent, 100) else State.WARNING if action else State.WITHIN
        return replace(self.candidate, action=action, state=State(state or found), percent=percent)

    def _reaches(self, percent: int, at: int) -> bool:
        """Any use reaches each threshold of a limit of 0, of which it is 100 per cent (budgets.evaluate.reached)."""
        return percent > 0 if self.limit_ug == 0 else percent >= at

    def use_of(self, job: Job) -> WorkloadShareOfBudget | None:
        """What the status says of the Job's workload."""
        names = {("Job", job.name), (job.owner_kind, job.owner_name)}
        return next(
            (use for use in self.top if use.namespace == job.namespace and (use.kind, use.name) in names),
            None,
        )


def parse_budget(body: Mapping[str, object]) -> EnforcedBudget | None:
    """A budget of its object; None for one that cannot be read (its own status says so)."""
    try:
        resource = CarbonBudget.model_validate(body)
        namespace_selector = None
        if not resource.metadata.namespace:
            namespace_selector = ClusterCarbonBudget.model_validate(body).spec.namespace_selector
        parse_mass(resource.spec.limit)
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
        limit_ug=parse_mass(spec.limit),
        state=status.state or "",
        candidate=Candidate(
            key=f"{meta.namespace}/{meta.name}",
            action=next((action for action in Action if action.word == status.action), Action.NONE),
            state=State(status.state or "Unknown"),
            percent=status.percent_used or 0,
        ),
        settled=status.observed_generation == meta.generation,
        suspend_from=(
            int(enforcement.suspend_from.timestamp())
            if suspends and enforcement is not None and enforcement.suspend_from is not None
            else None
        ),
        acts_until=int(enforcement.until.timestamp()) if enforcement is not None else 0,
        refuses_jobs="Job" in enforce.kinds,
        grace_s=grace_s,
        thresholds=tuple((t.at, Action[t.action.upper()]) for t in spec.thresholds if t.basis == "Used")
        if spec.thresholds is not None
        else tuple((t.at, t.action) for t in DEFAULT_THRESHOLDS),
        as_of=seconds(as_of) if as_of is not None else 0,
        ends=seconds(status.period.end) if status.period is not None else 0,
        suspend_at_percent=min((t.at for t in spec.thresholds or () if t.action == "Suspend"), default=100),
        top=tuple(
            # A namespace's own budget never reaches beyond it, whatever its status says.
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
    """Whether anything in that namespace is judged at all, as far as its labels are known; None: they are not."""
    return selects_namespace(judged_namespaces(exempt, ENFORCEMENT_LABEL), namespace, labels) is not Covers.NO


class BudgetsByNamespace:
    """Budgets by the namespaces they can select in."""

    def __init__(self, budgets: Iterable[EnforcedBudget]) -> None:
        self._of: dict[str, list[EnforcedBudget]] = {}
        for budget in budgets:
            self._of.setdefault(budget.namespace, []).append(budget)

    def of(self, job: Job, labels: Mapping[str, str] | None) -> list[EnforcedBudget]:
        """Those that select the Job, in a fixed order."""
        candidates = (*self._of.get(job.namespace, ()), *self._of.get("", ()))
        return sorted((b for b in candidates if b.selects(job, labels)), key=lambda b: b.key)
