"""Texts of unknown origin as cells of a CSV file, which a spreadsheet must not take for formulas. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

from carbonbudget_operator.printable import printable

MAX_CELL: Final = 4096
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run a cell with this text as a formula (OWASP, CSV injection)."""
    return text.startswith(_FORMULA_STARTS)


def csv_cells(cells: Iterable[object]) -> list[str]:
    """A row whose texts no spreadsheet takes for formulas: those are set behind an apostrophe."""
    return [
        f"'{text}" if is_formula(text) and not _is_number(text) else text
        for text in (printable(str(cell), MAX_CELL) for cell in cells)
    ]


def csv_list(texts: Iterable[object]) -> str:
    """Several texts as one cell, which is not cut however many they are."""
    return "; ".join(csv_cells(texts))


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True
