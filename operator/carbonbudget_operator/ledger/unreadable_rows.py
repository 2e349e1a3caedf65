"""Checks the counts in rows that were read from the ledger, before anything adds them up.

SQLite stores any value in any column: a sum above 2^63 becomes a floating point number, and an edited file may hold
text. Only such a row is left out; the rest of its hour is read. Rows that are left out are counted for `/metrics`, and
logged once for each hour. `carbonbudget ledger check` names each row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.ledger.time_slices import HOUR

MAX_COUNT: Final = 2**63 - 1
_PART = 5_000  # rows that are checked at once
_MAX_KNOWN = 10_000

_log = logging.getLogger(__name__)


class UnreadableRows:
    """What this process has left out, once each however often it is read: rows of tables, hours of nodes."""

    def __init__(self) -> None:
        self._rows: set[tuple[object, ...]] = set()
        self._node_hours: set[tuple[int, int]] = set()
        self._logged: set[tuple[str, int]] = set()

    @property
    def rows(self) -> int:
        """Rows that hold something else than counts; at most 10,000 are distinguished."""
        return len(self._rows)

    @property
    def node_hours(self) -> int:
        """Hours of nodes that could not be valued; at most 10,000 are distinguished."""
        return len(self._node_hours)

    def row(self, table: str, start: int, row: Sequence[object]) -> None:
        """A row was left out; `start` is its slice, 0 for one without time."""
        if len(self._rows) < _MAX_KNOWN:
            self._rows.add((table, *row[:2]))  # slice and node or pod
        if self._first(table, start):
            _log.error(
                "ledger: a row of %s in the hour from %d is no whole number and is left out, as others may be: "
                "`carbonbudget ledger check` names each", table, start - start % HOUR,
            )  # fmt: skip

    def node_hour(self, node: str, node_id: int, start: int, why: str) -> None:
        """All that a node reported in an hour was left out."""
        hour = start - start % HOUR
        if len(self._node_hours) < _MAX_KNOWN:
            self._node_hours.add((node_id, hour))
        if self._first(node, hour):
            _log.error("ledger: the hour from %d of node %s is left out, the other nodes count: %s", hour, node, why)

    def _first(self, what: str, start: int) -> bool:
        key = (what, start - start % HOUR)
        if key in self._logged or len(self._logged) >= _MAX_KNOWN:
            return False
        self._logged.add(key)
        return True


left_out: Final = UnreadableRows()


def is_count(value: object) -> bool:
    """Whether a value is what a column of counts holds."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def valid_in_database(dialect: sa.Dialect, column: sa.ColumnElement[int], most: int = 2**60) -> sa.ColumnElement[bool]:
    """Whether the column of a row is a count up to `most`, as a condition: for sums that the database takes."""
    within = column.between(0, most)
    return sa.and_(sa.func.typeof(column) == "integer", within) if dialect.name == "sqlite" else within


def valid_rows(
    rows: Iterable[Sequence[Any]], keys: int, table: str, start: int = -1, zeroed: bool = False
) -> Iterator[Sequence[Any]]:
    """The rows whose values after the first `keys` ones are counts. `start`: which key is the slice's start.

    `zeroed`: a row that holds anything else comes with zeros instead of being left out, because its keys are needed.
    Whole columns are looked at first, because a bad row is rare: that costs a tenth of a look at each value.
    """
    part: list[Sequence[Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _PART:
            yield from _sound(part, keys, table, start, zeroed)
            part = []
    yield from _sound(part, keys, table, start, zeroed)


def _sound(rows: list[Sequence[Any]], keys: int, table: str, start: int, zeroed: bool) -> Iterable[Sequence[Any]]:
    columns = list(zip(*rows, strict=True))[keys:]
    if all({*map(type, column)} == {int} and min(column) >= 0 for column in columns):
        return rows
    sound: list[Sequence[Any]] = []
    for row in rows:
        if all(map(is_count, row[keys:])):
            sound.append(row)
            continue
        left_out.row(table, row[start] if start >= 0 else 0, row)
        if zeroed:
            sound.append((*row[:keys], *(0 for _ in row[keys:])))
    return sound
