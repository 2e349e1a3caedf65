"""Makes the answers to GET /api/v1/intensity and /api/v1/factors. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Any

from carbonbudget_operator.answers.factors_in_force import (
    FactorsInForce,
    NodeFactors,
    SourceState,
    factors_in_force,
    source_states,
)
from carbonbudget_operator.answers.forecast_states import ForecastState, forecast_states
from carbonbudget_operator.answers.grid_intensity import ZoneIntensity, grid_intensity, zones_of_nodes
from carbonbudget_operator.answers.intensity_forecast import forecast_end, intensity_forecast
from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import WindowError, check_window
from carbonbudget_operator.api.grid_bodies import FactorRow, IntensityRow
from carbonbudget_operator.carbon.grid_factors import is_zone
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.public.paging import Place, cut, read_cursor
from carbonbudget_operator.server.public.row_formats import Cell, instant, render
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

MAX_ZONES = 20


def intensity_answer(book: ValuedReader, given: Mapping[str, Any], now: int) -> bytes:
    """The intensities in the format that was asked for. Raises Refusal."""
    window = given["start"], given["end"]
    try:
        check_window(window, "hour")
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None
    after = read_cursor(given["cursor"], (int, str, int))
    zones = _zones(given["zone"]) or zones_of_nodes(book, window)
    until = forecast_end(window, now)
    figures = chain(grid_intensity(book, zones, window, now), intensity_forecast(book, zones, window, now))
    rows, following = cut(_placed(figures), after, given["limit"])
    covers = covered_range(*window)
    around = {
        "start": instant(covers[0]),
        "end": instant(covers[1]),
        "forecast_until": None if until is None else instant(until),
        "zones": zones,
        "sources": _sources((one for one in source_states(book, now) if one.zone in zones), given["wide"]),
        "forecasts": _forecasts(forecast_states(book, zones, now), given["wide"]),
        "next": following,
    }
    return render(given["format"], list(IntensityRow.model_fields), rows, around)


def factors_answer(book: ValuedReader, given: Mapping[str, Any], now: int, settings: str) -> bytes:
    """The factors in force, in the format that was asked for. Raises Refusal."""
    wide = given["wide"]
    found = factors_in_force(book, now, named=wide)
    after = read_cursor(given["cursor"], (str, int))
    placed = (((node.node, number), _factors(node, wide)) for number, node in enumerate(found.nodes))
    rows, following = cut(placed, after, given["limit"])
    around = {"settings": settings, **_stated(found, wide), "next": following}
    return render(given["format"], list(FactorRow.model_fields), rows, around)


def _zones(text: str) -> list[str]:
    zones = sorted({zone.strip().upper() for zone in text.split(",") if zone.strip()})
    for zone in zones:
        if not is_zone(zone):
            raise Refusal(400, "malformed", f"{printable(zone, 60)!r} is no grid zone of the bundled tables")
    if len(zones) > MAX_ZONES:
        raise Refusal(400, "malformed", f"{len(zones)} zones are named: name at most {MAX_ZONES}")
    return zones


def _placed(figures: Iterable[ZoneIntensity]) -> Iterator[tuple[Place, dict[str, Cell]]]:
    """Each row with its place: hour, zone, and its number among those."""
    numbers, of = count(), (-1, "")
    for one in figures:
        if of != (one.start, one.zone):
            numbers, of = count(), (one.start, one.zone)
        yield (*of, next(numbers)), _intensity(one)


def _intensity(one: ZoneIntensity) -> dict[str, Cell]:
    return {
        "start": instant(one.start),
        "end": instant(one.start + HOUR),
        "zone": one.zone,
        "source": one.source,
        "basis": one.basis,
        "g_per_kwh": one.mg_per_kwh / 1000,
        "mg_per_kwh": one.mg_per_kwh,
        "low_mg_per_kwh": one.low_mg_per_kwh,
        "high_mg_per_kwh": one.high_mg_per_kwh,
        "kind": one.kind,
        "estimated": one.estimated,
        "age_hours": one.age_hours,
        "received": None if one.received is None else instant(one.received),
        "applied": one.applied,
    }


def _factors(one: NodeFactors, wide: bool) -> dict[str, Cell]:
    return {
        "node": one.node if wide else None,
        "region": one.region,
        "zone": one.zone,
        "placed": one.placed,
        "location_g_per_kwh": one.location_mg_per_kwh / 1000,
        "market_g_per_kwh": one.market_mg_per_kwh / 1000,
        "pue": one.pue_permille / 1000,
        "basis": one.basis,
        "location_why": one.location_why,
        "market_why": one.market_why,
        "embodied_why": one.embodied_why,
    }


def _stated(found: FactorsInForce, wide: bool) -> dict[str, object]:
    return {
        "sources": _sources(found.sources, wide),
        "stated": [
            {"source": one.source, "zone": one.zone, "g_per_kwh": one.mg_per_kwh / 1000} for one in found.stated
        ],
        "instruments": [
            {
                "kind": one.kind,
                "name": one.name,
                "zone": one.zone,
                "g_per_kwh": None if one.g_per_kwh is None else float(one.g_per_kwh),
                "source": one.source,
                "year": one.year,
                "start": one.start,
                "end": one.end,
                "kwh": one.kwh if wide else None,
            }
            for one in found.instruments
        ],
    }


def _sources(states: Iterable[SourceState], wide: bool) -> list[dict[str, Cell]]:
    """An error may name hosts of the cluster's network, so it is for those who may read the whole cluster."""
    return [
        {
            "source": one.source,
            "zone": one.zone,
            "last_answer": instant(one.good_at) if one.good_at else None,
            "failing": bool(one.error),
            "error": one.error if wide and one.error else None,
        }
        for one in states
    ]


def _forecasts(states: Iterable[ForecastState], wide: bool) -> list[dict[str, Cell]]:
    return [
        {
            "source": one.source,
            "zone": one.zone,
            "fetched": instant(one.fetched_at) if one.fetched_at else None,
            "until": instant(one.until) if one.until else None,
            "used": one.is_used,
            "failing": bool(one.error),
            "error": one.error if wide and one.error else None,
            "compared_hours": one.compared_hours,
            "mean_error_g_per_kwh": None if one.mean_error_mg is None else one.mean_error_mg / 1000,
        }
        for one in states
    ]
