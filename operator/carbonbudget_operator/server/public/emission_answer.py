"""Makes the answer to GET /api/v1/emissions from the series that the ledger gave. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from carbonbudget_operator.answers.allocation_groups import GroupingError, parse_filter, parse_group_by
from carbonbudget_operator.answers.emission_series import (
    COMPONENTS,
    Amounts,
    Series,
    SeriesQuery,
    SeriesRow,
    emission_series,
    version_of,
)
from carbonbudget_operator.answers.required_labels import RequiredLabels, percent_text
from carbonbudget_operator.answers.window_parser import WindowError, check_window
from carbonbudget_operator.budgets.price import EMISSION_PARTS, ENERGY_PARTS, amount
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.amount_cells import amount_cells
from carbonbudget_operator.server.public.paging import make_cursor, read_cursor
from carbonbudget_operator.server.public.row_formats import Cell, Format, instant, render
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

Accounting = Literal["LocationBased", "MarketBased", "Both"]
_COLUMNS = (
    "energy_kwh", "energy_uj", "location_g", "location_ug", "market_g", "market_ug", "embodied_g", "embodied_ug",
    "measured_percent",
)  # fmt: skip
_COSTS = ("energy_cost", "location_cost", "market_cost", "embodied_cost")


def query_of(given: Mapping[str, Any]) -> SeriesQuery:
    """The question that a request's parameters are. Raises Refusal."""
    try:
        window = given["start"], given["end"]
        check_window(window, given["step"])
        group_by, filters = parse_group_by(given["by"]), parse_filter(given["filter"])
    except (WindowError, GroupingError) as error:
        raise Refusal(400, "malformed", str(error)) from None
    names = given["namespaces"]
    if names is not None and ("node" in group_by or any(field == "node" for field, _ in filters)):
        raise Refusal(403, "forbidden", "nodes are shown to those who may get carbonbudgets in all namespaces")
    if given["compare"] and given["step"] != "all":
        raise Refusal(400, "malformed", "compare=previous compares whole windows: ask with step=all")
    place = read_cursor(given["cursor"], (int, *(str for _ in group_by)))
    after = None if place is None else (int(place[0]), tuple(map(str, place[1:])))
    return SeriesQuery(
        window, given["step"], group_by, filters, None if names is None else frozenset(names), given["compare"],
        after, given["limit"], _components(given["include"]), tuple(given.get("required_labels", ())),
    )  # fmt: skip


def _components(text: str) -> tuple[int, ...]:
    """The components that count, each once. Raises Refusal."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names or names - set(COMPONENTS):
        there = ", ".join(COMPONENTS)
        reason = f"include names {there}, or some of them joined by commas; embodied emissions are in no other figure"
        raise Refusal(400, "malformed", reason)
    return tuple(index for index, name in enumerate(COMPONENTS) if name in names)


def emission_version(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The answer's version: it changes whenever the answer may. Raises Refusal."""
    return version_of(book, query_of(given), f"{given['accounting']} {given['format']}").encode()


def emission_answer(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The answer in the format that was asked for. Raises Refusal."""
    query = query_of(given)
    series = emission_series(book, query)
    accounting: Accounting = given["accounting"]
    form: Format = given["format"]
    priced = bool(series.currency)
    rows = [_row(query, row, accounting, priced) for row in series.rows]
    columns = ["start", "end", *query.group_by, *_shown(accounting), "coverage_percent"]
    if query.compare:
        columns += [name for name in (f"previous_{name}" for name in _shown(accounting)) if name in _PREVIOUS]
    if priced:
        columns += [*_shown(accounting, _COSTS), "currency"]
        rows = [row | {"currency": series.currency} for row in rows]
    return render(form, columns, rows, _around(query, series, accounting))


_PREVIOUS = frozenset(
    f"previous_{name}"
    for name in ("energy_kwh", "location_g", "location_ug", "market_g", "market_ug", "embodied_g")
)  # fmt: skip


def _around(query: SeriesQuery, series: Series, accounting: Accounting) -> dict[str, object]:
    return {
        "data_through": instant(series.data_through) if series.data_through else None,
        "start": instant(series.covers[0]),
        "end": instant(series.covers[1]),
        "namespaces": None if query.namespaces is None else sorted(query.namespaces),
        "total": _figures(series.total, accounting) | _costs(series.total, accounting, bool(series.currency)),
        "currency": series.currency or None,
        "unlabelled": None if series.required is None else _unlabelled(series.required),
        "next": None if series.last is None else make_cursor((series.last[0], *series.last[1])),
    }


def _unlabelled(required: RequiredLabels) -> dict[str, object]:
    def percent(part_uj: int) -> float | None:
        return float(percent_text(part_uj, required.pods_uj)) if required.pods_uj else None

    return {
        "required": list(required.keys),
        "pods_energy_kwh": required.pods_uj / UJ_PER_KWH,
        "pods_energy_uj": str(required.pods_uj),
        "energy_kwh": required.without_uj / UJ_PER_KWH,
        "energy_uj": str(required.without_uj),
        "energy_percent": percent(required.without_uj),
        "energy_percent_by_label": {key: percent(uj) for key, uj in required.without_each_uj.items()},
    }


def _row(query: SeriesQuery, row: SeriesRow, accounting: Accounting, priced: bool) -> dict[str, Cell]:
    made: dict[str, Cell] = {"start": instant(row.start), "end": instant(row.end)}
    made |= dict(zip(query.group_by, row.key, strict=True))
    made |= _figures(row.amounts, accounting)
    made["coverage_percent"] = row.coverage_percent
    made |= _costs(row.amounts, accounting, priced)
    if row.previous is not None:
        earlier = {f"previous_{name}": value for name, value in _figures(row.previous, accounting).items()}
        made |= {name: value for name, value in earlier.items() if name in _PREVIOUS}
    return made


def _shown(accounting: Accounting, columns: Sequence[str] = _COLUMNS) -> Sequence[str]:
    hidden = {"LocationBased": "market_", "MarketBased": "location_"}.get(accounting)
    return [name for name in columns if hidden is None or not name.startswith(hidden)]


def _figures(amounts: Amounts, accounting: Accounting) -> dict[str, Cell]:
    figures = amount_cells(amounts)
    return {name: figures[name] for name in _shown(accounting)}


def _costs(amounts: Amounts, accounting: Accounting, priced: bool) -> dict[str, Cell]:
    """Numbers with six decimals at most; nothing where the window has no price."""
    if not priced:
        return {}
    costs: dict[str, Cell] = {
        "energy_cost": float(amount(amounts.energy_cost, ENERGY_PARTS)),
        "location_cost": float(amount(amounts.location_cost, EMISSION_PARTS)),
        "market_cost": float(amount(amounts.market_cost, EMISSION_PARTS)),
        "embodied_cost": float(amount(amounts.embodied_cost, EMISSION_PARTS)),
    }
    return {name: costs[name] for name in _shown(accounting, _COSTS)}
