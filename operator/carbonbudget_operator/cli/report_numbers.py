"""The lines about coverage and about the numbers of factors in a report, and the CSV file of hourly numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.output_files import written_whole
from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.decimal_text import grams, kilowatt_hours

_HOUR_COLUMNS = (
    "hour", "factor", "basis", "g_per_kwh", "other_g_per_kwh", "pue", "it_energy_uj", "location_ug",
)  # fmt: skip
_ZONE_COLUMNS = ("hour", "zone", "it_energy_kwh", "facility_energy_kwh", "it_energy_uj", "location_g")


def coverage_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What share of the time was reported, and of which total that is a share."""
    percent, reported_ms = report["coverage_percent"], report.get("coverage_reported_ms")
    if percent is None and reported_ms:
        yield "coverage: not known: no node is known for that time"
    elif percent is None:
        yield "coverage: no data: no node was listed or reported in that time"
    else:
        share = "less than 1" if percent == 0 and reported_ms else percent
        minutes = ""
        if reported_ms is not None:
            minutes = f": {_minutes(reported_ms)} of {_minutes(report['coverage_expected_ms'])} node-minutes"
        yield f"coverage {share} % of the nodes' time{minutes}"
    if percent is not None and (listed_from := report.get("nodes_listed_from")) is not None:
        whole = listed_from >= report.get("covers", report)["to"]
        when = "of that time" if whole else f"before {date_of(listed_from)}"
        yield (
            f"the ledger has no list of the cluster's nodes {when}: time in which no node reported counts as not "
            "covered there, and whether other nodes ran is not known"
        )


def number_line(factor: Mapping[str, Any]) -> str:
    """One factor's numbers: energy x PUE x intensity = grams, so that they can be recomputed."""
    hours = factor["hours"]
    mean = f"{factor['g_per_kwh']} g/kWh"
    if len({figures[0] for figures in hours.values()}) > 1:
        mean += f" (mean by energy: {int(factor['uj_times_mg_per_kwh']):,} uJ mg/kWh)"
    other = f", {factor['other_g_per_kwh']} g/kWh by the other basis" if "other_g_per_kwh" in factor else ""
    values = factor["values"]
    products = "1 product" if values == 1 else f"{values:,} products"
    return (
        f"{factor['it_energy_uj']:,} uJ x PUE {factor['pue']} x {mean} = {factor['location_ug']:,} ug{other}; "
        f"{products} in {len(hours):,} {'hour' if len(hours) == 1 else 'hours'}, series sha256 {factor['sha256']}"
    )


def write_hours(report: Mapping[str, Any], file: Path) -> None:
    """Each factor's number in each hour as CSV; ends the command where the report has none."""
    if "location_factors" not in report:
        fail("that report has no hourly numbers: an earlier version made it, which stored none")
    with written_whole(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_HOUR_COLUMNS)
        factors = report["location_factors"]
        for hour, name in sorted((hour, name) for name, factor in factors.items() for hour in factor["hours"]):
            factor = factors[name]
            mg, other_mg, energy_uj, location_ug = factor["hours"][hour]
            other = "" if other_mg is None else _grams(other_mg)
            cells = [hour, name, factor["basis"], _grams(mg), other, factor["pue"], energy_uj, location_ug]
            writer.writerow(csv_cells(cells))


def write_zones(report: Mapping[str, Any], file: Path) -> None:
    """The energy of each grid zone in each hour as CSV; ends the command where the report has no hourly numbers.

    `facility_energy_kwh` is the IT energy times the PUE. The zone is empty for hours that an earlier version valued.
    """
    if "location_factors" not in report:
        fail("that report has no hourly numbers: an earlier version made it, which stored none")
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for factor in report["location_factors"].values():
        pue = Decimal(factor["pue"])
        for hour, (_, _, energy_uj, location_ug) in factor["hours"].items():
            found = sums.setdefault((hour, factor.get("zone", "")), [Decimal(0)] * 3)
            for column, figure in enumerate((Decimal(energy_uj), energy_uj * pue, Decimal(location_ug))):
                found[column] += figure
    with written_whole(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_ZONE_COLUMNS)
        for (hour, zone), (it_uj, facility_uj, location_ug) in sorted(sums.items()):
            cells = (
                hour, zone, kilowatt_hours(int(it_uj)), kilowatt_hours(round(facility_uj)), int(it_uj),
                grams(int(location_ug)),
            )  # fmt: skip
            writer.writerow(csv_cells(cells))


def _grams(mg_per_kwh: int) -> str:
    return f"{Decimal(mg_per_kwh) / 1000:f}"


def _minutes(milliseconds: int) -> str:
    return f"{Decimal(milliseconds) / 60_000:,.1f}".removesuffix(".0")
