"""Targets of `/api/v1/targets` as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from carbonbudget_core.jsons import JsonObject, mapping, objects
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.web.views.answer_figures import amount, counted_pods, grams_ug, percent, second, word
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_history import PageSavings, PageWindow


def shown_target_rows(answer: JsonObject) -> list[PageTarget]:
    """The targets of one page of the list."""
    return [shown_target_row(row) for row in objects(answer.get("rows"))]


def shown_target_row(row: JsonObject) -> PageTarget:
    """One target of the list."""
    grid_ug = grams_ug(row, "at_baseline_grid_g")
    return PageTarget(
        namespace=word(row, "namespace"),
        name=word(row, "name"),
        unit=word(row, "unit"),
        per=amount(row, "per") or 1,
        window=word(row, "window") or "Week",
        time_zone=word(row, "time_zone") or "UTC",
        basis=word(row, "basis") or "Total",
        accounting=word(row, "accounting") or "LocationBased",
        reduction=percent(row, "reduction_percent"),
        by=second(row, "by"),
        tolerance=percent(row, "tolerance_percent"),
        state=word(row, "state"),
        message=word(row, "message"),
        current_ug=_mass(row, "current_ug"),
        current_start=second(row, "window_start"),
        current_end=second(row, "window_end"),
        units=word(row, "units"),
        emissions_ug=_mass(row, "emissions_ug"),
        energy_uj=_mass(row, "energy_uj"),
        hours_percent=percent(row, "hours_percent"),
        measured=percent(row, "measured_percent"),
        coverage=percent(row, "coverage_percent"),
        at_baseline_grid="" if grid_ug is None else format_mass(grid_ug),
        expected_ug=_mass(row, "expected_ug"),
        baseline_ug=_mass(row, "baseline_ug"),
        change=_decimal(row, "change_percent"),
        data_through=second(row, "data_through"),
    )


def shown_target_detail(answer: JsonObject, history: JsonObject) -> PageTarget:
    """One target with its path, its conditions and its history (which may be empty)."""
    baseline = mapping(answer.get("baseline"))
    return replace(
        shown_target_row(answer),
        baseline_start=second(baseline, "start"),
        baseline_end=second(baseline, "end"),
        created=second(answer, "created_at"),
        baseline_restated=word(baseline, "restated"),
        path=word(answer, "path") or "Linear",
        steps=_steps(answer),
        counts=_counts(answer),
        conditions=[
            (word(one, "type"), word(one, "status"), word(one, "message") or word(one, "reason"))
            for one in objects(answer.get("conditions"))
        ],
        history=_windows(history),
    )


def target_counts(namespace: str, selector: str, spaces: str, source: str, least: int) -> list[str]:
    """Sentences: whose emissions and whose units count. `selector` and `spaces` are empty where all do."""
    pods = counted_pods(namespace, selector, spaces)
    found = [f"The emissions of {pods}, in the hours whose units are known."]
    if source:
        found.append(f"Who counts the units: {source}.")
    if least:
        found.append(f"With fewer than {least:,} units in the window there is no figure.")
    return found


def _counts(answer: JsonObject) -> list[str]:
    return target_counts(
        word(answer, "namespace"), word(answer, "selector"), word(answer, "namespace_selector"),
        word(answer, "source"), amount(answer, "minimum_units") or 0,
    )  # fmt: skip


def _steps(answer: JsonObject) -> list[tuple[int, int]]:
    found = [
        (at, share)
        for one in objects(answer.get("steps"))
        if (at := second(one, "by")) is not None and (share := percent(one, "reduction_percent")) is not None
    ]
    return sorted(found)


def _windows(history: JsonObject) -> Sequence[PageWindow]:
    found = [
        PageWindow(
            start, end, figure, grams_ug(row, "expected_g"), word(row, "state"), word(row, "units"),
            percent(row, "hours_percent"), _savings(row),
        )
        for row in objects(history.get("rows"))
        if (start := second(row, "start")) is not None
        and (end := second(row, "end")) is not None
        and (figure := _mass(row, "per_unit_ug")) is not None
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.start)


def _savings(row: JsonObject) -> PageSavings | None:
    saved_ug = amount(row, "saved_ug")
    if saved_ug is None:
        return None
    return PageSavings(saved_ug, amount(row, "saved_uj") or 0, amount(row, "absolute_fall_ug"), word(row, "money"))


def _mass(row: JsonObject, key: str) -> int | None:
    found = amount(row, key)
    return None if found is None or found < 0 else found


def _decimal(row: JsonObject, key: str) -> str:
    """A percentage with one decimal, which answers have as a text or a number."""
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9:
        return f"{value:.1f}"
    return word(row, key)
