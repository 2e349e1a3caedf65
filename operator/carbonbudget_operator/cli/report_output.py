"""Prints an emissions report as a table, JSON or CSV."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from carbonbudget_operator.cli.answer_source_options import exit_on_unknown_answer
from carbonbudget_operator.cli.common_options import OutputFormat, fail
from carbonbudget_operator.cli.covered_span import covers_line, date_of
from carbonbudget_operator.cli.external_output import print_external
from carbonbudget_operator.cli.report_change import change_lines, label_lines, sealed_lines
from carbonbudget_operator.cli.report_cost import cost_lines
from carbonbudget_operator.cli.report_csv import COLUMNS, print_csv
from carbonbudget_operator.cli.report_numbers import coverage_lines, number_line, write_hours, write_zones
from carbonbudget_operator.cli.table_cells import print_table, printable_cell, rounded
from carbonbudget_operator.printable import numbered

HourlyFactors = Annotated[
    Path | None, typer.Option("--hourly-factors", help="Also write each factor's number in each hour, CSV; a new file.")
]
HourlyZones = Annotated[
    Path | None,
    typer.Option("--hourly-zones", help="Also write the kWh of each grid zone in each hour, CSV; a new file."),
]
_OWNERS: Final = {"owned": "nodes owned", "cloud": "nodes of clouds", "leased": "nodes leased"}


def span_of(period: str) -> tuple[int, int]:
    """[start, end) in UTC seconds of a period by name; ends with exit code 2 for what is none."""
    from carbonbudget_operator.answers.time_ranges import TimeRangeError, parse_time_range

    try:
        return parse_time_range(period)
    except TimeRangeError as error:
        fail(str(error), code=2)


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"

    @property
    def announced(self) -> OutputFormat:
        """The format by which settings are announced: JSON holds them."""
        return OutputFormat.JSON if self is ReportFormat.JSON else OutputFormat.TABLE


def print_report(
    result: dict[str, Any], output: ReportFormat, details: bool = False, closed_sha256: str = "", period: str = ""
) -> None:
    """A report as it is asked for; `details` lists each value that differs from the closed one.

    `period` is its name, empty for a span by its ends.
    `closed_sha256` is of the report itself, where it is printed as it was closed.
    """
    if output is ReportFormat.JSON:
        print(json.dumps(result, indent=2))
        return
    with exit_on_unknown_answer():
        if output is ReportFormat.CSV:
            print_csv(result, closed_sha256)
        elif output is ReportFormat.HTML:
            from carbonbudget_operator.cli.report_html import report_html  # `--help` should not wait for it

            print(report_html(result, period, closed_sha256))
        else:
            _print(result, details)


def _print(result: dict[str, Any], details: bool) -> None:
    by_owner = result["ownership"] if "ownership" in result else result["scopes"]  # as closed by an earlier version
    inventory = result.get("inventory", ())
    rows = [
        ("total", result["total"]),
        *((_OWNERS.get(name, name), figures) for name, figures in by_owner.items()),
        *result["namespaces"].items(),
    ]
    from rich.table import Table

    span = f"{date_of(result['from'])} to {date_of(result['to'])}"
    print(f"{printable_cell(result['cluster'])}, {span}, {printable_cell(result['basis'])} factors")
    if inventory:
        _print_inventory(inventory)
    table = Table("", box=None)
    for heading in ("IT kWh", "facility kWh", "location-based g", "market-based g", "embodied g", "measured %"):
        table.add_column(heading, justify="right")
    for name, figures in rows:
        table.add_row(printable_cell(name), *(rounded(figures[column]) for column in COLUMNS))
    print_table(table)
    if "covers" in result:  # a report that an earlier version closed has none: its period is whole days
        print(covers_line(result, (result["from"], result["to"])))
    low, high = (rounded(result["total"][key]) for key in ("embodied_low_g", "embodied_high_g"))
    print(f"embodied: {low} to {high} g by the figures of other models and sources")
    for line in result["energy"]:
        kwh, low, high = (rounded(line[key]) for key in ("kwh", "low_kwh", "high_kwh"))
        print(f"{line['domain']} by {line['method']}: {kwh} kWh ({low} to {high})")
    for line in coverage_lines(result):
        print(printable_cell(line))
    if silent := result["nodes_without_reports"]:
        more = f" and {len(silent) - 10} more" if len(silent) > 10 else ""
        print(f"no report ever came from {printable_cell(', '.join(silent[:10]))}{more}: does an agent run there?")
    for change in result.get("settings_changes", ()):
        print(f"from {date_of(change['from'])}: {printable_cell('; '.join(change['settings']))}")
    for line in sealed_lines(result):
        print(line)
    for what, nodes in result.get("nodes_without_agent", {}).items():
        print(
            f"no agent runs on up to {numbered(nodes, 'node', 'nodes')} ({printable_cell(what)}): what ran there is in "
            "no figure, nor in the coverage"
        )
    for line in [*cost_lines(result), *label_lines(result), *change_lines(result)]:
        print(printable_cell(line))
    numbers = result.get("location_factors", {})  # a report that an earlier version closed has none
    for factor in result["factors"]:
        print(f"factor: {printable_cell(factor)}")
        if factor in numbers:
            print(f"  {printable_cell(number_line(numbers[factor]))}")
    if without := result.get("without_numbers_uj"):
        print(
            f"{without:,} uJ are of hours that an earlier version valued: the numbers of their factors are not stored"
        )
    print_external(result.get("external", ()))
    if "closed" in result:
        closed = result["closed"]
        print(f"closed on {date_of(closed['at'])}, sha256 {printable_cell(closed['sha256'])}")
        for line in closed["restatement" if details else "summary"] or ["nothing differs from it"]:
            print(f"restatement: {printable_cell(line)}")
    for closure in result.get("reopened", ()):
        print(
            f"reopened on {date_of(closure['at'])}: closed before on {date_of(closure['closed_at'])}, "
            f"sha256 {printable_cell(closure['sha256'])}; reason: {printable_cell(closure['reason'])}"
        )


def write_numbers(result: dict[str, Any], factors: Path | None, zones: Path | None = None) -> None:
    """The hourly numbers of the factors and of the zones, to the files that are asked for."""
    if factors is not None:
        with exit_on_unknown_answer():
            write_hours(result, factors)
        print(f"{printable_cell(str(factors))}: each factor's number in each hour", file=sys.stderr)
    if zones is not None:
        with exit_on_unknown_answer():
            write_zones(result, zones)
        print(f"{printable_cell(str(zones))}: the energy of each grid zone in each hour", file=sys.stderr)


def _print_inventory(inventory: list[dict[str, Any]]) -> None:
    """The rows by their names in the GHG Protocol; below them what is to be known of some."""
    from rich.table import Table

    table = Table("GHG Protocol", box=None)
    table.add_column("g CO2e", justify="right")
    table.add_column("kind")
    for row in inventory:
        g = "not known" if row["g"] is None else rounded(row["g"])
        table.add_row(
            printable_cell(row["name"]), g, printable_cell(row.get("kind", ""))
        )  # an earlier version has none
    print_table(table)
    for row in inventory:
        if row["note"]:
            print(f"{printable_cell(row['name'])}: {printable_cell(row['note'])}")
    print()
