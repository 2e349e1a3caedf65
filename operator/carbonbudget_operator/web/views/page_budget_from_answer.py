"""Budgets of `/api/v1/budgets` as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from carbonbudget_core.jsons import JsonObject, mapping, objects
from carbonbudget_operator.api.condition_troubles import is_trouble
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.charts.budget_charts import UsePoint
from carbonbudget_operator.web.views.answer_figures import amount, counted_pods, grams_ug, percent, second, word
from carbonbudget_operator.web.views.page_adjustments import PageAdjustment, PageChildren
from carbonbudget_operator.web.views.page_budget import PageBudget, PagePeriod, PageWorkload

_PARTS = ("dynamic", "idle", "overhead", "embodied")


def shown_rows(answer: JsonObject) -> list[PageBudget]:
    """The budgets of one page of the list."""
    return [shown_row(row) for row in objects(answer.get("rows"))]


def shown_row(row: JsonObject) -> PageBudget:
    """One budget of the list."""
    limit_ug = _mass(row, "limit")
    return PageBudget(
        namespace=word(row, "namespace"),
        name=word(row, "name"),
        limit_ug=limit_ug or 0,
        limit_known=limit_ug is not None,
        accounting=word(row, "accounting") or "LocationBased",
        per_workload=word(row, "per") == "Workload",
        time_zone=word(row, "time_zone") or "UTC",
        used_ug=_mass(row, "used"),
        percent=percent(row, "percent_used"),
        forecast_ug=_mass(row, "forecast"),
        exhausted_at=second(row, "exhausted_at"),
        state=word(row, "state"),
        action=word(row, "action"),
        blocks_until=second(row, "enforced_until"),
        suspends_from=second(row, "suspend_from"),
        start=second(row, "period_start"),
        end=second(row, "period_end"),
        data_through=second(row, "data_through"),
        coverage=percent(row, "coverage_percent"),
        measured=percent(row, "measured_percent"),
        message=word(row, "message"),
        contact=word(row, "contact"),
        parts=[(name, format_mass(mass)) for name in _PARTS if (mass := _mass(row, name)) is not None],
    )


def shown_detail(answer: JsonObject, history: JsonObject) -> PageBudget:
    """One budget with its workloads, its conditions and its former periods (`history` may be empty)."""
    shown = shown_row(answer)
    sections = [("Counts", [_counts(answer, shown)]), ("Thresholds", _thresholds(answer))]
    if shown.contact:
        sections.append(("Who decides", [f"Ask {shown.contact}."]))
    return replace(
        shown,
        workloads=[
            PageWorkload(
                word(one, "namespace"), word(one, "kind"), word(one, "name"), format_mass(_mass(one, "used") or 0),
                percent(one, "percent_used"), word(one, "state"),
            )
            for one in objects(answer.get("top_workloads"))
        ],
        troubles=[
            f"{word(one, 'type')} is {word(one, 'status')} ({word(one, 'reason')}): {word(one, 'message')}"
            for one in objects(answer.get("conditions"))
            if is_trouble(word(one, "type"), word(one, "status"))
        ],
        history=_periods(history),
        sections=[(heading, sentences) for heading, sentences in sections if sentences],
        base_limit_ug=shown.limit_ug if (base_ug := _mass(answer, "base_limit")) is None else base_ug,
        adjustments=[
            PageAdjustment(word(one, "reason"), changed_ug, word(one, "source"))
            for one in objects(answer.get("adjustments"))
            if (changed_ug := amount(one, "amount_ug")) is not None
        ],
        parent=word(answer, "parent"),
        children=_children(mapping(answer.get("children"))),
    )  # fmt: skip


def use_points(answer: JsonObject, start: int) -> list[UsePoint]:
    """The cumulative use at the end of each step, from the period's start up to when there are data."""
    points, through = [UsePoint(start, 0)], second(answer, "data_through")
    for row in objects(answer.get("rows")):
        end, used_ug = second(row, "end"), _mass(row, "cumulative")
        if end is None or used_ug is None:
            continue
        at = end if through is None else min(end, through)
        if at > points[-1].at:
            points.append(UsePoint(at, used_ug))
    return points if len(points) > 1 else []


def forecast_range(answer: JsonObject) -> tuple[int, int] | None:
    """The micrograms between which the use is expected to end, by the answer to `/series`; None if not known."""
    low_ug, high_ug = amount(answer, "forecast_low_ug"), amount(answer, "forecast_high_ug")
    return None if low_ug is None or high_ug is None or not 0 <= low_ug <= high_ug else (low_ug, high_ug)


def _periods(history: JsonObject) -> Sequence[PagePeriod]:
    found = [
        PagePeriod(start, second(row, "end") or start, _mass(row, "used") or 0, _mass(row, "limit") or 0)
        for row in objects(history.get("rows"))
        if (start := second(row, "start")) is not None
    ]
    return sorted(found, key=lambda one: one.start)


def _children(found: JsonObject) -> PageChildren | None:
    count, allocated_ug, left_ug = amount(found, "count"), _mass(found, "allocated"), _mass(found, "unallocated")
    if not count or allocated_ug is None:
        return None
    return PageChildren(count, format_mass(allocated_ug), format_mass(left_ug or 0))


def _counts(answer: JsonObject, shown: PageBudget) -> str:
    pods = counted_pods(shown.namespace, word(answer, "selector"), word(answer, "namespace_selector"))
    parts = ", ".join(part.strip().lower() for part in word(answer, "include").split(",") if part.strip())
    counted = f" What counts: {parts}." if parts else ""
    return f"The emissions of {pods}, from {shown.at(shown.start)} until {shown.at(shown.end)}.{counted}"


def _thresholds(answer: JsonObject) -> list[str]:
    verbs = {"Warn": "warns", "Block": "refuses new work", "Suspend": "refuses new work and suspends Jobs"}
    return [
        f"At {percent(one, 'at_percent')} % of the limit it {verbs.get(word(one, 'action'), word(one, 'action'))}"
        + (", by what new work is expected to emit." if word(one, "basis") == "Projected" else ".")
        for one in objects(answer.get("thresholds"))
    ]


def _mass(row: JsonObject, name: str) -> int | None:
    """Micrograms: exact where the answer has them, else of its grams."""
    exact = amount(row, f"{name}_ug")
    return grams_ug(row, f"{name}_g") if exact is None else exact
