"""`carbonbudget allocate`: who used what, from the cluster's server or from the ledger itself."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from carbonbudget_operator.allocation.policy import IdleRule, OverheadRule, PolicyError, parse_shared
from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_on_unknown_answer,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import OutputFormat, fail, instant
from carbonbudget_operator.cli.covered_span import CSV_COVERS, covers_line, csv_covers, future_sentence
from carbonbudget_operator.cli.table_cells import print_table, printable_cell, rounded
from carbonbudget_operator.csv_text import csv_cells, csv_list

_CSV_MORE: Final = (
    "embodied_low_g", "embodied_high_g", "measured_percent", "total_energy_kwh", "total_location_g", "total_market_g",
    "total_embodied_g", "factors", "settings",
)  # fmt: skip


@with_source_options
def allocate(
    where: SourceOptions,
    start: Annotated[str, typer.Option("--from", help="Start: 2026-11-23 or 2026-11-23T18:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="End, not included.")],
    group_by: Annotated[
        str, typer.Option(help="Comma-separated: namespace, workload, node, run, model, label:KEY.")
    ] = "namespace",
    filter_by: Annotated[str, typer.Option("--filter", help="Comma-separated FIELD=VALUE.")] = "",
    idle: Annotated[
        IdleRule | None, typer.Option(help="Who is charged with idle energy.  [default: as configured, byRequest]")
    ] = None,
    overhead: Annotated[
        OverheadRule | None, typer.Option(help="Who is charged with overhead.  [default: as configured, proportional]")
    ] = None,
    shared: Annotated[
        list[str] | None,
        typer.Option(help="NAMESPACE=proportional, even, separate or TEAM:WEIGHT,...; can be repeated."),
    ] = None,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """Share out the energy and emissions of a span of time. The rows add up to the cluster's total."""
    from carbonbudget_operator.answers.allocation_groups import FILTERED, GroupingError, parse_filter, parse_group_by

    try:
        shared_rules = dict(map(parse_shared, shared or []))
        parse_group_by(group_by), parse_filter(filter_by)
    except (PolicyError, GroupingError) as error:
        fail(str(error), code=2)
    policy = {"idle": idle, "overhead": overhead, "shared": shared_rules or None}
    if any(policy.values()) and not where.local:
        fail("--idle, --overhead and --shared need --ledger: the server answers by its own policy", code=2)
    span = instant(start, "--from"), instant(end, "--to")
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    if sentence := future_sentence(span[0], int(time.time())):
        fail(sentence)
    with exit_without_answer():
        result = where.source({"allocation": policy}).allocation(span, group_by, filter_by)
    where.announce(result.get("settings"), output)
    with suppress(LookupError, TypeError, AttributeError):  # said below, and `-o json` prints any answer
        if result["rows"] and all(set(row["key"].values()) == {FILTERED} for row in result["rows"]):
            print(f"note: nothing of that time is of --filter {printable_cell(filter_by)}", file=sys.stderr)
    if output is OutputFormat.JSON:
        print(json.dumps(result, indent=2))
        return
    with exit_on_unknown_answer():
        _print(result, span, output)


def _csv_more(row: dict[str, Any], result: dict[str, Any], figures: Sequence[str]) -> list[str]:
    """The cells of `_CSV_MORE`: what each row says of the whole answer. Empty if the server is too old."""
    from carbonbudget_operator.decimal_text import grams

    low, high = (row.get(key) for key in ("embodied_low_ug", "embodied_high_ug"))
    factors = [result["factors"][place] for place in row.get("factors", ())]
    cells = [
        "" if low is None else grams(low), "" if high is None else grams(high), row.get("measured_percent", ""),
        *(result["total"][figure] for figure in figures),
    ]  # fmt: skip
    return [*csv_cells(cells), csv_list(factors), *csv_cells([result.get("settings") or ""])]


def _print(result: dict[str, Any], asked: tuple[int, int], output: OutputFormat) -> None:
    rows, total = result["rows"], result["total"]
    keys = list(rows[0]["key"]) if rows else ["namespace"]
    figures = ["energy_kwh", "location_g", "market_g", "embodied_g"]
    table = [[*row["key"].values(), *(row[figure] for figure in figures)] for row in rows]
    if output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout)
        said = csv_covers(result)
        writer.writerow(csv_cells([*keys, *figures, *CSV_COVERS, *_CSV_MORE]))
        for row, line in zip(rows, table, strict=True):
            writer.writerow([*csv_cells([*line, *said]), *_csv_more(row, result, figures)])
        return
    from rich.table import Table

    made = Table(*keys, box=None)
    for heading in ("IT kWh", "g CO2e location-based", "market-based", "embodied"):
        made.add_column(heading, justify="right")
    for line in [*table, ["total", *[""] * (len(keys) - 1), *(total[figure] for figure in figures)]]:
        made.add_row(*map(printable_cell, line[: len(keys)]), *map(rounded, line[len(keys) :]))
    print_table(made)
    print(covers_line(result, asked))
    for factor in result.get("factors", ()):
        print(f"factor: {printable_cell(factor)}")
