"""A budget as the webhook stores it: a tenth of the whole model's memory, with everything parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.budgets.coverage import Scope
from carbonbudget_operator.budgets.evaluate import Action, State
from carbonbudget_operator.budgets.quantity import parse_mass
from carbonbudget_operator.budgets.strictest import Candidate
from carbonbudget_operator.printable import printable


@dataclass(frozen=True, slots=True)
class ProjectedThreshold:
    """A threshold with `basis: Projected`."""

    at: int
    blocks: bool


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget. Times are UTC seconds, 0 for none.

    `used_ug` is None where it is not known.
    """

    scope: Scope
    name: str
    limit_ug: int
    kinds: frozenset[str]
    market: bool
    operational: bool
    embodied: bool
    projected: tuple[ProjectedThreshold, ...]
    candidate: Candidate
    used_ug: int | None
    period_start: int
    period_end: int
    block_until: int
    contact: str

    @property
    def namespace(self) -> str:
        """Its own; empty for a ClusterCarbonBudget."""
        return self.scope.namespace

    @property
    def per_workload(self) -> bool:
        """Whether its limit is one for each workload."""
        return self.scope.per_workload

    def counts(self, now: int) -> bool:
        """Whether its period is now: else it says nothing of new work."""
        return self.period_start <= now < self.period_end

    def blocks(self, kind: str, now: int) -> bool:
        """Whether it refuses new work of this kind."""
        return now < self.block_until and kind in self.kinds and self.scope.refuses_others

    def would_block(self, kind: str) -> bool:
        """Whether it would refuse such work if budgets acted."""
        return self.candidate.action >= Action.BLOCK and kind in self.kinds and self.scope.refuses_others

    def where(self) -> str:
        """How its status is read."""
        scope = f"-n {self.namespace} describe carbonbudget" if self.namespace else "describe clustercarbonbudget"
        return f"see: kubectl {scope} {self.name}"


def budget_view(body: Mapping[str, object], cluster: bool) -> BudgetView:
    """Raises ValueError (pydantic's is one) for what is no budget."""
    found = (ClusterCarbonBudget if cluster else CarbonBudget).model_validate(body)
    meta, spec, status = found.metadata, found.spec, found.status
    include = frozenset(spec.include)
    action = Action[status.action.upper()] if status.action else Action.NONE
    state = State(status.state or "Unknown")
    key = f"{meta.namespace}/{meta.name}"
    return BudgetView(
        scope=Scope(
            meta.namespace,
            spec.selector,
            found.spec.namespace_selector if isinstance(found, ClusterCarbonBudget) else None,
            spec.per == "Workload",
        ),
        name=meta.name,
        limit_ug=parse_mass(spec.limit),
        kinds=frozenset(spec.enforce.kinds if spec.enforce else ("Job", "Pod")),
        market=spec.accounting == "MarketBased",
        operational=bool(include - {"Embodied"}),
        embodied="Embodied" in include,
        projected=tuple(
            ProjectedThreshold(threshold.at, threshold.action == "Block")
            for threshold in spec.thresholds or ()
            if threshold.basis == "Projected"
        ),
        candidate=Candidate(key, action, state, status.percent_used or 0, printable(status.message or "")),
        used_ug=None if state is State.UNKNOWN else status.used_micrograms,
        period_start=int(status.period.start.timestamp()) if status.period else 0,
        period_end=int(status.period.end.timestamp()) if status.period else 0,
        block_until=int(status.enforcement.until.timestamp()) if status.enforcement else 0,
        contact=printable(spec.contact),
    )
