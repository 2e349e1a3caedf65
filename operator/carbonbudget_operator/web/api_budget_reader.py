"""Budgets by `/api/v1/budgets`: for a page in the cluster, which forwards its reader's rights."""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.web.api_object_pages import all_objects, object_path, object_with_history
from carbonbudget_operator.web.budget_reader import BudgetDetails, FoundBudgets
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.page_questions import NotShown, Questions
from carbonbudget_operator.web.views.page_budget import PageBudget
from carbonbudget_operator.web.views.page_budget_from_answer import forecast_range, shown_detail, shown_rows, use_points

_HOURLY_SECONDS: Final = 8 * 86_400  # a longer period is drawn by day


class SeriesReader:
    """Reads a budget's use over its current period, and its forecast's range at the end."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def details(self, caller: PageCaller, budget: PageBudget) -> BudgetDetails:
        """The budget with its cumulative use, oldest first; a note says why that is missing."""
        if budget.start is None or budget.end is None or budget.per_workload:
            return BudgetDetails(budget)
        step = "hour" if budget.end - budget.start <= _HOURLY_SECONDS else "day"
        path = f"{object_path('budgets', budget.namespace, budget.name)}/series"
        (answer,) = await Questions(self._gateway, caller).ask((path, [("step", step)]))
        if isinstance(answer, NotShown):
            return BudgetDetails(budget, (), f"The curve between start and now is not shown. {answer}")
        return BudgetDetails(budget, use_points(answer, budget.start), "", forecast_range(answer))


class ApiBudgetReader:
    """A BudgetReader."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._series = gateway, SeriesReader(gateway)

    async def all(self, caller: PageCaller) -> FoundBudgets:
        """The list's pages, up to a bound; what is beyond it is a note."""
        return FoundBudgets(*await all_objects(self._gateway, caller, "budgets", shown_rows))

    async def one(self, caller: PageCaller, namespace: str, name: str) -> BudgetDetails:
        """The budget, its former periods and its series."""
        path = object_path("budgets", namespace, name)
        shown = shown_detail(*await object_with_history(self._gateway, caller, path))
        return await self._series.details(caller, shown)
