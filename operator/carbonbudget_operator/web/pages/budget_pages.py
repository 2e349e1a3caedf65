"""The pages of budgets: all of them as cards, and one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.budget_reader import BudgetDetails
from carbonbudget_operator.web.charts.budget_charts import UsePoint, burn_up, former_periods, use_bar
from carbonbudget_operator.web.charts.intensity_line import BELOW_USE, intensity_line
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown, Questions
from carbonbudget_operator.web.views.answer_figures import utc_text
from carbonbudget_operator.web.views.grid_view import zones
from carbonbudget_operator.web.views.page_budget import PageBudget, in_order, part_words
from carbonbudget_operator.web.views.page_states import StateChoice
from carbonbudget_operator.web.views.zoned_times import zoned

MOST_ZONES: Final = 3
_MOST_SECONDS: Final = 35 * 86_400  # of one question about intensities
_AHEAD_SECONDS: Final = 7 * 86_400
_STATES: Final = {"exceeded": "Exceeded", "warning": "Warning", "within": "WithinBudget", "unknown": "Unknown"}


async def show_budgets(handling: PageHandling, visit: Visit) -> Response:
    """All budgets, those that block first. `namespace` and `state` of the address select some."""
    found = await handling.budgets.all(visit.caller)
    namespace, state = visit.given("namespace"), visit.given("state")
    now = int(handling.now())
    ordered = in_order(found.budgets, now)
    chosen = [
        one for one in ordered
        if namespace in ("", one.namespace) and state in ("", one.state_class)
    ]  # fmt: skip
    return handling.page(
        "budgets.html", visit, title="Budgets", here="budgets", budgets=chosen, notes=found.notes, of=len(ordered),
        namespaces=sorted({one.namespace for one in ordered if one.namespace}), namespace=namespace, state=state,
        states=[
            StateChoice(shown, value, sum(one.state_class == value for one in ordered))
            for value, shown in _STATES.items()
        ],
        blocking=sum(bool(one.effect(now)) for one in ordered), bar=bar_of, now=now,
    )  # fmt: skip


async def show_budget(handling: PageHandling, visit: Visit) -> Response:
    """One budget in its current period, its parts, its workloads, its former periods."""
    namespace, name = visit.request.path_params.get("namespace", ""), visit.request.path_params["name"]
    details = await handling.budgets.one(visit.caller, namespace, name)
    budget = details.budget
    kind = "namespace" if budget.namespace else "cluster"
    low_high = None if details.range_ug is None else tuple(map(format_mass, details.range_ug))
    return handling.page(
        "budget.html", visit, title=budget.name, here="budgets", budget=budget, bar=bar_of, part_words=part_words,
        now=int(handling.now()), chart=_chart(details), series=_listed(details), series_note=details.series_note,
        kind=kind, low_high=low_high, grid=await _grid(handling, visit, budget),
        periods=[
            (zoned(one.start, budget.time_zone), format_mass(one.used_ug), format_mass(one.limit_ug),
             one.used_ug >= one.limit_ug > 0)
            for one in budget.history
        ],
        periods_chart=former_periods(
            [(one.start, one.used_ug, one.limit_ug) for one in budget.history], f"Former periods of {budget.name}"
        ) if budget.history else "",
    )  # fmt: skip


def bar_of(budget: PageBudget) -> str:
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
    return burn_up(
        budget.start, budget.end, _points(details), budget.limit_ug, budget.forecast_ug, title, details.range_ug
    )


@dataclass(frozen=True, slots=True)
class GridPart:
    """The grid's intensity in the budget's hours: a chart for each zone of the cluster's nodes, MOST_ZONES at most."""

    charts: Sequence[tuple[str, str]]
    whole_period: bool
    more: int
    is_forecast: bool


async def _grid(handling: PageHandling, visit: Visit, budget: PageBudget) -> GridPart | None:
    """None where nothing is known of it. A period that is too long for one question is shown from four weeks ago."""
    now = int(handling.now())
    if budget.start is None or budget.end is None or budget.start > now:
        return None
    whole = budget.end - budget.start <= _MOST_SECONDS
    start, end = (budget.start, budget.end) if whole else (now - _MOST_SECONDS + _AHEAD_SECONDS, now + _AHEAD_SECONDS)
    query = [("from", str(start)), ("to", str(end)), ("limit", "50000")]
    # The page's own questions have its tag, which stands for all of its content: budgets are read beside them.
    (answer,) = await Questions(handling.gateway, visit.caller).ask(("/api/v1/intensity", query))
    if isinstance(answer, NotShown):
        return None
    found = zones(answer, now)
    charts = [
        (one.zone, intensity_line(one.points, now, str(number), f"Grid intensity of {one.zone}", one.ranges,
                                  (start, end), BELOW_USE))
        for number, one in enumerate(found[:MOST_ZONES])
    ]  # fmt: skip
    has_forecast = any(one.forecast for one in found)
    return GridPart(charts, whole, len(found) - len(charts), has_forecast) if charts else None


def _listed(details: BudgetDetails) -> list[tuple[str, str]]:
    """The chart's figures as a table: at most sixty lines, evenly spread, the last among them."""
    points = _points(details)
    every = -(-len(points) // 60) or 1
    kept = [point for place, point in enumerate(points) if (len(points) - 1 - place) % every == 0]
    return [(utc_text(point.at), format_mass(point.used_ug)) for point in kept]
