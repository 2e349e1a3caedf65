"""Budgets by `/api/v1/budgets`: for a page in the cluster, which forwards its reader's rights."""

from __future__ import annotations

from typing import Final

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.web.budget_reader import BudgetDetails, FoundBudgets
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.page_questions import NotShown, Question, Questions
from carbonbudget_operator.web.views.page_budget import PageBudget
from carbonbudget_operator.web.views.page_budget_from_answer import forecast_range, shown_detail, shown_rows, use_points

_BUDGETS: Final = "/api/v1/budgets"
_MOST_PAGES: Final = 5
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
        path = f"{budget_path(budget.namespace, budget.name)}/series"
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
        found: list[PageBudget] = []
        query: list[tuple[str, str]] = []
        for _ in range(_MOST_PAGES):
            (answer,) = await self._asked(caller, (_BUDGETS, query))
            found += shown_rows(answer)
            following = answer.get("next")
            if not isinstance(following, str) or not following:
                return FoundBudgets(found)
            query = [("cursor", following)]
        return FoundBudgets(
            found, [f"There are more budgets than the {len(found)} that are shown: select a namespace."]
        )

    async def one(self, caller: PageCaller, namespace: str, name: str) -> BudgetDetails:
        """The budget, its former periods and its series."""
        path = budget_path(namespace, name)
        budget, history = await Questions(self._gateway, caller).ask((path, ()), (f"{path}/history", ()))
        if isinstance(budget, NotShown):
            raise budget
        shown = shown_detail(budget, {} if isinstance(history, NotShown) else history)
        return await self._series.details(caller, shown)

    async def _asked(self, caller: PageCaller, *questions: Question) -> list[JsonObject]:
        found = []
        for answer in await Questions(self._gateway, caller).ask(*questions):
            if isinstance(answer, NotShown):
                raise answer
            found.append(answer)
        return found


def budget_path(namespace: str, name: str) -> str:
    """The budget's resource; an empty namespace for a ClusterCarbonBudget. Raises NotShown for impossible names."""
    if (namespace and not is_label(namespace)) or not is_subdomain(name):
        raise NotShown(404, "There is no such budget: Kubernetes has no such names.")
    return f"{_BUDGETS}/{namespace}/{name}" if namespace else f"/api/v1/clusterbudgets/{name}"
