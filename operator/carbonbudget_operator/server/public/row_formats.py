"""Rows as JSON, one JSON object a line, or CSV. Pure: flat dictionaries in, bytes out."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from carbonbudget_operator.csv_text import is_formula

Format = Literal["json", "ndjson", "csv"]
Cell = str | int | float | None
Row = Mapping[str, Cell]


class TooManyRows(ValueError):
    """The answer has more rows than its page, and its format cannot say so."""


def render(form: Format, columns: Sequence[str], rows: Sequence[Row], around: Mapping[str, object]) -> bytes:
    """`rows` in that format. `around` stands beside the rows in JSON; the other formats have rows alone.

    Raises:
        TooManyRows: there is a next page, which no other format than JSON can name.
    """
    if form != "json" and around.get("next") is not None:
        raise TooManyRows
    if form == "json":
        return json.dumps({**around, "rows": rows}).encode()
    if form == "ndjson":
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # as RFC 4180 has it; cells with either are quoted
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def instant(second: int) -> str:
    """RFC 3339 of a UTC second."""
    return dt.datetime.fromtimestamp(second, dt.UTC).isoformat().replace("+00:00", "Z")


def _cell(value: Cell) -> Cell:
    """Text that a spreadsheet would run gets an apostrophe before it; numbers stay as they are."""
    return f"'{value}" if isinstance(value, str) and is_formula(value) else value
