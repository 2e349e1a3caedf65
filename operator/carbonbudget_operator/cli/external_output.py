"""How external figures are printed beside a report of ours: a table of their own, and lines of their own in CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from carbonbudget_operator.cli.table_cells import print_table, printable_cell, rounded


def print_external(rows: Sequence[dict[str, Any]]) -> None:
    """A table of what others measured in the report's time; nothing where there is nothing."""
    if not rows:
        return
    from rich.table import Table

    print("\nmeasured by others, beside the figures above and in none of them:")
    table = Table("source", "scope", "method", box=None)
    for heading in ("figures", "g CO2e", "kWh"):
        table.add_column(heading, justify="right")
    whole = [row for row in rows if row["figures"]]
    for row in whole:
        names = (row["source"], row["scope_name"], row["method"])
        energy = "" if row["energy_kwh"] is None else rounded(row["energy_kwh"])
        table.add_row(*map(printable_cell, names), str(row["figures"]), rounded(row["emissions_g"]), energy)
    if whole:
        print_table(table)
    for row in rows:
        if row["partly_figures"]:
            print(
                f"{printable_cell(row['source'])}, {printable_cell(row['scope_name'])}: {row['partly_figures']} more "
                f"figures ({rounded(row['partly_g'])} g) only reach into this time and are in no sum"
            )


def csv_line(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and cells of one line of a report's CSV."""
    note = f"{row['figures']} figures by {row['method']}, in no other line"
    if row["partly_figures"]:
        note += f"; {row['partly_figures']} more ({row['partly_g']} g) only reach into this time"
    return f"{row['source']}, {row['scope_name']}", {"emissions_g": row["emissions_g"], "note": note}
