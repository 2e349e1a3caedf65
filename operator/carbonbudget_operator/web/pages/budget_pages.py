"""The pages of budgets: all of them as cards, and one."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.budget_reader import BudgetDetails
from carbonbudget_operator.web.charts.budget_charts import UsePoint, burn_up, former_periods, use_bar
from carbonbudget_operator.web.site import Site, Visit
from carbonbudget_operator.web.views.figures import utc_text
from carbonbudget_operator.web.views.shown_budget import ShownBudget, in_order, part_words, zoned

STATES = ("exceeded", "warning", "within", "unknown")


async def show_budgets(site: Site, visit: Visit) -> Response:
    """All budgets, those that block first. `namespace` and `state` of the address select some."""
    found = await site.budgets.all(visit.caller)
    namespace, state = visit.given("namespace"), visit.given("state")
    now = int(site.now())
    ordered = in_order(found.budgets, now)
    chosen = [
        one for one in ordered
        if namespace in ("", one.namespace) and state in ("", one.state_class)
    ]  # fmt: skip
    return site.page(
        "budgets.html", visit, title="Budgets", here="budgets", budgets=chosen, notes=found.notes, of=len(ordered),
        namespaces=sorted({one.namespace for one in ordered if one.namespace}), namespace=namespace, state=state,
        states=STATES, counts={word: sum(one.state_class == word for one in ordered) for word in STATES},
        blocking=sum(bool(one.effect(now)) for one in ordered), bar=bar_of, now=now,
    )  # fmt: skip


async def show_budget(site: Site, visit: Visit) -> Response:
    """One budget in its current period, its parts, its workloads, its former periods."""
    namespace, name = visit.request.path_params.get("namespace", ""), visit.request.path_params["name"]
    details = await site.budgets.one(visit.caller, namespace, name)
    budget = details.budget
    kind = "namespace" if budget.namespace else "cluster"
    return site.page(
        "budget.html", visit, title=budget.name, here="budgets", budget=budget, bar=bar_of, part_words=part_words,
        now=int(site.now()), chart=_chart(details), series=_listed(details), series_note=details.series_note, kind=kind,
        periods=[
            (zoned(one.start, budget.time_zone), format_mass(one.used_ug), format_mass(one.limit_ug),
             one.used_ug >= one.limit_ug > 0)
            for one in budget.history
        ],
        periods_chart=former_periods(
            [(one.start, one.used_ug, one.limit_ug) for one in budget.history], f"Former periods of {budget.name}"
        ) if budget.history else "",
    )  # fmt: skip


def bar_of(budget: ShownBudget) -> str:
    """The bar of a budget's use; nothing where it is not known."""
    if budget.used_ug is None or not budget.limit_known:
        return ""
    return use_bar(budget.used_ug, budget.limit_ug, budget.forecast_ug, budget.state_class)


def _points(details: BudgetDetails) -> Sequence[UsePoint]:
    """The series; else a line from the period's start to the use that the status has."""
    budget = details.budget
    if details.series or budget.start is None or budget.used_ug is None:
        return details.series
    now = budget.data_through or budget.start
    return [UsePoint(budget.start, 0), UsePoint(max(now, budget.start), budget.used_ug)]


def _chart(details: BudgetDetails) -> str:
    budget = details.budget
    if (
        budget.start is None
        or budget.end is None
        or budget.used_ug is None
        or budget.per_workload
        or not budget.limit_known
    ):
        return ""
    title = f"Use of {budget.name} in this period"
    return burn_up(budget.start, budget.end, _points(details), budget.limit_ug, budget.forecast_ug, title)


def _listed(details: BudgetDetails) -> list[tuple[str, str]]:
    """The chart's figures as a table: at most sixty lines, evenly spread, the last among them."""
    points = _points(details)
    every = -(-len(points) // 60) or 1
    kept = [point for place, point in enumerate(points) if (len(points) - 1 - place) % every == 0]
    return [(utc_text(point.at), format_mass(point.used_ug)) for point in kept]
