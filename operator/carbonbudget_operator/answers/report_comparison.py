"""How a later report of a period differs from the closed one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import orjson

_FIGURES = (
    ("facility_energy_kwh", "facility energy", "kWh"),
    ("location_g", "location-based", "g"),
    ("market_g", "market-based", "g"),
    ("embodied_g", "embodied", "g"),
)

_FORMER_NAMES = {"owned": "Scope 2", "cloud": "Scope 3, category 1"}
_ADDED = {f"{part}_{unit}" for part in ("direct", "upstream", "unsplit", "stood_in") for unit in ("ug", "g")}

# What came with the numbers of factors.
_NUMBERS = {
    "location_factors", "without_numbers_uj", "coverage_reported_ms", "coverage_expected_ms", "nodes_listed_from",
}  # fmt: skip


def restatement(closed: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What differs between a closed report and today's: one line for each value, by its path.

    Keys that reports of the closed one's version did not have are no difference.
    """
    return list(_differences("", *_comparable_rows(closed, _as_before(closed, now))))


def _signed(percent: Decimal) -> str:
    """With two decimals and its sign; what rounds to 0 has none."""
    return f"{percent:+.2f}" if round(percent, 2) else "0.00"


def summary(closed: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The comparison in a few lines: the totals that changed, by how much, and how many other values did."""
    lines = []
    before, after = closed.get("total"), now.get("total")
    if isinstance(before, dict) and isinstance(after, dict):
        for key, name, unit in _FIGURES:
            previous, present = Decimal(str(before.get(key, 0))), Decimal(str(after.get(key, 0)))
            if previous != present:
                percent = f" ({_signed((present - previous) * 100 / previous)} %)" if previous else ""
                lines.append(f"total {name}: closed as {previous} {unit}, now {present} {unit}{percent}")
    others = [line for line in restatement(closed, now) if not line.startswith("total.")]
    if others:
        values = "value differs" if len(others) == 1 else "values differ"
        lines.append(f"{len(others)} {values} below the totals: --details lists each")
    return lines


def _as_before(closed: Mapping[str, object], now: Mapping[str, object]) -> Mapping[str, object]:
    """Today's report in the form of a closed one of an earlier version.

    Labels and costs are compared only where the closed one has them, because they are there where the settings have
    required labels or a price.
    One without an inventory had ownership by name of a scope; one without numbers of factors has no such keys.
    """
    if "labels" not in closed:
        now = {key: value for key, value in now.items() if key != "labels"}
    if "cost" not in closed:
        now = {key: value for key, value in now.items() if key != "cost"}
    now = _without_new_zones(closed, now)
    if "location_factors" not in closed:
        now = {key: value for key, value in now.items() if key not in _NUMBERS}
    if "scopes" not in closed or "scopes" in now:
        return now
    found = {key: value for key, value in now.items() if key not in ("inventory", "ownership", "covers")}
    figures = _without_added(now.get("ownership"))
    found["scopes"] = {_FORMER_NAMES.get(name, name): value for name, value in figures.items()}
    found["namespaces"] = _without_added(now.get("namespaces"))
    found["total"] = _without_added({"total": now.get("total")})["total"]
    return found


def _comparable_rows(closed: Mapping[str, object], now: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    """Both reports with the keys that rows of the GHG Protocol have in both: an earlier version stated no kinds.

    Its notes did not state what a row covers either.
    """
    of_closed, of_now = closed.get("inventory"), now.get("inventory")
    if not (isinstance(of_closed, list) and isinstance(of_now, list)):
        return closed, now
    if any(isinstance(row, Mapping) and "kind" in row for row in of_closed):
        return closed, now
    return tuple(
        {**report, "inventory": [_of_both(row) for row in rows]}
        for report, rows in ((closed, of_closed), (now, of_now))
    )


def _of_both(row: object) -> object:
    if not isinstance(row, Mapping):
        return row
    return {key: value for key, value in row.items() if key not in ("kind", "method", "note")}


def _without_new_zones(closed: Mapping[str, object], now: Mapping[str, object]) -> Mapping[str, object]:
    """Factors without their zones where the closed report has none: an earlier version did not state them."""
    factors, former = now.get("location_factors"), closed.get("location_factors")
    if not isinstance(factors, Mapping) or not isinstance(former, Mapping):
        return now
    if any(isinstance(one, Mapping) and "zone" in one for one in former.values()):
        return now
    return {**now, "location_factors": {
        name: {key: value for key, value in one.items() if key != "zone"} for name, one in factors.items()
    }}  # fmt: skip


def _without_added(figures: object) -> dict[str, object]:
    """Figures by name, without the ones that came with the inventory."""
    if not isinstance(figures, Mapping):
        return {}
    return {
        name: {key: one for key, one in value.items() if key not in _ADDED} if isinstance(value, Mapping) else value
        for name, value in figures.items()
    }


def _differences(path: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from (f"{path}: closed with {_short(item)}, not so now" for item in before if item not in after)
        yield from (f"{path}: closed without {_short(item)}" for item in after if item not in before)
    elif before != after:
        yield f"{path}: closed as {_short(before)}, now {_short(after)}"


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
