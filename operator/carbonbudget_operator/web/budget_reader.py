"""Where the page has budgets from: one form of a budget, several readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from carbonbudget_operator.web.charts.budget_charts import UsePoint
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.views.page_budget import PageBudget


@dataclass(frozen=True, slots=True)
class FoundBudgets:
    """All that the reader may see. `notes` are sentences about what may be missing."""

    budgets: Sequence[PageBudget]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BudgetDetails:
    """One budget with its use over the current period, oldest first. `series_note`: why there is no finer series.

    `range_ug` is the forecast's range at the period's end, None where it is not known.
    """

    budget: PageBudget
    series: Sequence[UsePoint] = field(default=())
    series_note: str = ""
    range_ug: tuple[int, int] | None = None


class BudgetReader(Protocol):
    """Reads budgets with the caller's rights. Both raise NotShown."""

    async def all(self, caller: PageCaller) -> FoundBudgets:
        """Budgets of all namespaces that the caller may read, and the cluster's."""

    async def one(self, caller: PageCaller, namespace: str, name: str) -> BudgetDetails:
        """One budget; an empty namespace for a ClusterCarbonBudget."""
