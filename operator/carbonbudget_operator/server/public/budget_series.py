"""Makes the answer to GET /api/v1/budgets/{namespace}/{name}/series: use over the present period. In a worker process.

It asks the ledger what the controller asks. So the steps add up to the use that the controller compares with the limit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.hourly_use import MAX_HOURS, hourly_use
from carbonbudget_operator.answers.time_ranges import whole_hours
from carbonbudget_operator.api.budget_bodies import BudgetSeriesRow
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.forecast import MOST_HOURS, forecast_range
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug, limit_in_force_ug
from carbonbudget_operator.budgets.period import Calendar, Period, PeriodError, period_at, time_zone
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.server.public.row_formats import Cell, instant, render
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

MAX_DAYS: Final = 400


def series_question(budget: AnyBudget | None, step: str, now: int) -> dict[str, Any]:
    """What a worker needs to know of a budget for its series. Raises Refusal where it has none.

    `step` is `hour` or `day`, `now` the UTC second.
    """
    if budget is None:
        raise Refusal(422, "unanswerable", "the budget's spec cannot be read, so it has no series")
    spec, status = budget.spec, budget.status
    if spec.per == "Workload":
        reason = "a budget with per: Workload has no series: its limit is for each workload alone"
        raise Refusal(422, "unanswerable", reason)
    try:
        base_ug, zone = base_limit_ug(budget), time_zone(spec.time_zone)
    except (QuantityError, PeriodError) as error:
        raise Refusal(422, "unanswerable", f"the budget has no series: {error}") from None
    if spec.start is not None and spec.end is not None:
        period = Period(seconds(spec.start), seconds(spec.end))
    elif spec.period is not None:
        period = period_at(Calendar(spec.period), zone, now)
    else:
        raise Refusal(422, "unanswerable", "the budget has no series: its spec has neither period nor start and end")
    days = (period.end - period.start) // (24 * HOUR)
    if days <= 0 and period.end <= period.start:
        raise Refusal(422, "unanswerable", "the budget has no series: its end is not after its start")
    most = MAX_HOURS // 24 if step == "hour" else MAX_DAYS
    if days > most:
        hint = ": ask with step=day" if step == "hour" and days <= MAX_DAYS else ""
        raise Refusal(422, "unanswerable", f"a series by {step} has at most {most} days, the period has {days}{hint}")
    of_period = status.period is not None and seconds(status.period.start) == period.start
    return {
        "namespaces": _namespaces(budget, of_period),
        "selector": None if spec.selector is None else spec.selector.model_dump(by_alias=True),
        "start": period.start,
        "end": period.end,
        "accounting": spec.accounting,
        "include": list(spec.include),
        "limit_ug": limit_in_force_ug(budget) if of_period else base_ug,
        "forecast_ug": _forecast_ug(status.forecast) if of_period else None,
        "zone": spec.time_zone,
        "step": step,
    }


def series_answer(queries: BudgetUseQueries, given: Mapping[str, Any], now: int) -> bytes:
    """The series in the format that was asked for: all steps of the period, also those to come."""
    start, end, limit_ug = given["start"], given["end"], given["limit_ug"]
    edges = _edges(start, end, given["step"], given["zone"])
    through = queries.data_through()
    used_ug = [0] * (len(edges) - 1)
    until = min(end, -(-(now + 1) // HOUR) * HOUR)
    if given["namespaces"] and start < until:
        for second, used in _uses(queries, given, start, until):
            used_ug[bisect_right(edges, second) - 1] += used
    total = sum(used_ug)
    rows: list[dict[str, Cell]] = []
    for (first, last), used, so_far in zip(pairwise(edges), used_ug, accumulate(used_ug), strict=True):
        known = first < through or used > 0
        ahead = None if last <= through else _on_the_line(given["forecast_ug"], total, max(through, start), end, last)
        rows.append(
            {
                "start": instant(first),
                "end": instant(last),
                "used_g": used / 1_000_000 if known else None,
                "used_ug": str(used) if known else None,
                "cumulative_g": so_far / 1_000_000 if known else None,
                "cumulative_ug": str(so_far) if known else None,
                "limit_g": limit_ug / 1_000_000,
                "even_pace_g": limit_ug * (last - start) // (end - start) / 1_000_000,
                "forecast_g": None if ahead is None else ahead / 1_000_000,
            }
        )
    low_ug, high_ug = _range(queries, given, total, max(through, start), end)
    around = {
        "data_through": instant(through) if through else None,
        "start": instant(start),
        "end": instant(end),
        "limit_g": limit_ug / 1_000_000,
        "limit_ug": str(limit_ug),
        "forecast_low_g": None if low_ug is None else low_ug / 1_000_000,
        "forecast_low_ug": None if low_ug is None else str(low_ug),
        "forecast_high_g": None if high_ug is None else high_ug / 1_000_000,
        "forecast_high_ug": None if high_ug is None else str(high_ug),
    }
    return render(given["format"], list(BudgetSeriesRow.model_fields), rows, around)


def _uses(queries: BudgetUseQueries, given: Mapping[str, Any], start: int, end: int) -> list[tuple[int, int]]:
    """(second, micrograms) of each whole hour, and of the parts of hours in which the span begins or ends."""
    first, last = whole_hours(start, end)
    parts = [(start, end)] if first >= end else [(start, first), (last, end)]
    asked = [_query(given, begin, until) for begin, until in parts if begin < until]
    found = [(query.start, answer.used_ug) for query, answer in zip(asked, queries.budgets(asked), strict=True)]
    for at in range(first, last, MAX_HOURS * HOUR):
        (hours,) = hourly_use(queries.book, [_query(given, at, min(last, at + MAX_HOURS * HOUR))])
        found += [(hours.first_hour + number * HOUR, used or 0) for number, used in enumerate(hours.used_ug)]
    return found


def _range(
    queries: BudgetUseQueries, given: Mapping[str, Any], total_ug: int, through: int, end: int
) -> tuple[int, int] | tuple[None, None]:
    """The forecast's range at the period's end; the forecast itself lies in it. (None, None) where it is not known."""
    forecast_ug = given["forecast_ug"]
    if forecast_ug is None or through >= end or not given["namespaces"]:
        return None, None
    last = through - through % HOUR
    (hours,) = hourly_use(queries.book, [_query(given, last - MOST_HOURS * HOUR, last)])
    found = forecast_range(hours.first_hour, hours.used_ug, total_ug, through, end)
    return (None, None) if found is None else (min(found[0], forecast_ug), max(found[1], forecast_ug))


def _query(given: Mapping[str, Any], start: int, end: int) -> BudgetQuery:
    asked = {name: given[name] for name in ("namespaces", "selector", "accounting", "include")}
    return BudgetQuery(id="series", start=start, end=end, **asked)


def _edges(start: int, end: int, step: str, zone_name: str) -> Sequence[int]:
    """Where steps begin, and the period's end. Days are of the budget's time zone."""
    edges, zone = [start], time_zone(zone_name)
    while edges[-1] < end:
        at = edges[-1]
        following = at - at % HOUR + HOUR if step == "hour" else period_at(Calendar.DAY, zone, at).end
        edges.append(min(end, following))
    return edges


def _on_the_line(forecast_ug: int | None, total_ug: int, through: int, end: int, at: int) -> int | None:
    """Micrograms at `at` on the straight line from the use so far to the forecast at the period's end."""
    if forecast_ug is None or through >= end:
        return None
    # The status has the forecast rounded down, so that it may be below what was used since.
    return total_ug + max(0, forecast_ug - total_ug) * (at - through) // (end - through)


def _namespaces(budget: AnyBudget, of_period: bool) -> list[str]:
    if not isinstance(budget, ClusterCarbonBudget):
        return [budget.metadata.namespace]
    if budget.spec.namespace_selector is None:
        return [EVERY_NAMESPACE]
    return list(budget.status.namespaces or ()) if of_period else []


def _forecast_ug(forecast: str | None) -> int | None:
    try:
        return None if forecast is None else parse_mass(forecast)
    except QuantityError:
        return None
