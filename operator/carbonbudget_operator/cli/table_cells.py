"""Cells of tables as text that is safe to show, and a table printed as wide as it is."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from carbonbudget_operator.logs import MAX_LINE
from carbonbudget_operator.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

_ANY_WIDTH: Final = 100_000  # rich measures within a width


def printable_cell(text: object) -> str:
    """Any text as one line of a terminal, a log or a CSV file may have it."""
    return printable(str(text), MAX_LINE)


def rounded(figure: object) -> str:
    """A decimal string as a table shows it: four decimals, or as many as three digits of a small figure take.

    JSON and CSV have all its digits.
    """
    if not isinstance(figure, str):
        return str(figure)
    value = Decimal(figure)
    return f"{value:,.{max(4, 2 - value.adjusted()) if value else 4}f}"


def print_table(table: Table) -> None:
    """A table as wide as it is, as kubectl's are: nothing is cut off, a number is never folded."""
    from rich.console import Console

    console = Console(markup=False)
    console.width = max(console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum, 1)
    console.print(table)
