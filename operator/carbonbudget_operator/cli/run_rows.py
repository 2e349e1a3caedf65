"""Rows of runs and models as tables and CSV, for `carbonbudget usage` and `kubectl carbon top --by`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from carbonbudget_operator.answers.window_parser import parse_instant
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.cli.common_options import OutputFormat
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.table_cells import print_table, printable_cell
from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.special_label_values import UNLABELLED

Row = Mapping[str, Any]
# A cell's heading, and how it is made of a row. Figures are right-aligned.
_FIGURES: Final = ("PODS", "ENERGY", "CO2E", "MARKET", "EMBODIED", "MEASURED")
_KEYS: Final[Mapping[str, str]] = {
    "NAMESPACE": "namespace", "RUN": "run", "MODEL": "model", "VERSION": "model_version", "STAGE": "stage",
    "PODS": "pods", "START": "start", "END": "end", "ENERGY": "energy_uj", "CO2E": "location_ug",
    "MARKET": "market_ug", "EMBODIED": "embodied_ug", "MEASURED": "measured_percent", "STATE": "state",
}  # fmt: skip
RUN_HEADINGS: Final = (
    "NAMESPACE", "RUN", "MODEL", "VERSION", "STAGE", "PODS", "START", "END", "ENERGY", "CO2E", "MARKET", "EMBODIED",
    "MEASURED", "STATE",
)  # fmt: skip
MODEL_HEADINGS: Final = ("NAMESPACE", "MODEL", "ENERGY", "CO2E", "MARKET", "EMBODIED", "MEASURED")


def largest_first(rows: Iterable[Row]) -> list[Row]:
    """By location-based emissions, then energy, then name."""
    return sorted(
        rows,
        key=lambda row: (
            -int(row["location_ug"]), -int(row["energy_uj"]),
            *(str(row.get(key) or "") for key in ("namespace", "run", "model")),
        ),
    )  # fmt: skip


def print_rows(
    answer: Mapping[str, Any], rows: Sequence[Row], headings: Sequence[str], output: OutputFormat, total: Row | None
) -> None:
    """The rows in that format; JSON is the whole answer with these rows. `total` is the table's last line."""
    if output is OutputFormat.JSON:
        print(json.dumps({**answer, "rows": rows}, indent=2))
        return
    if output is OutputFormat.CSV:
        columns = list(dict.fromkeys(key for row in rows for key in row)) or [_KEYS[heading] for heading in headings]
        writer = csv.writer(sys.stdout)
        writer.writerow(csv_cells(columns))
        writer.writerows(csv_cells("" if row.get(key) is None else row[key] for key in columns) for row in rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in _FIGURES else "left")
    for row in [*rows, *([] if total is None else [{**total, _KEYS[headings[0]]: "total"}])]:
        table.add_row(*(Text(printable_cell(_cell(heading, row))) for heading in headings))
    print_table(table)
    start, end = parse_instant(answer["start"]), parse_instant(answer["end"])
    print(f"covers {date_of(start)} to {date_of(end)}: the whole hours that hold the time asked for")


def _cell(heading: str, row: Row) -> str:
    value = row.get(_KEYS[heading])
    if value is None:
        return "-" if "start" in row else ""  # of the total's line nothing is missing
    match heading:
        case "ENERGY":
            return format_energy(int(value))
        case "CO2E" | "MARKET" | "EMBODIED":
            return format_mass(int(value))
        case "MEASURED":
            return f"{value} %"
    return "(no label)" if value == UNLABELLED else str(value)
