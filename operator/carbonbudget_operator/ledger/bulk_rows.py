"""Inserts many rows in one statement, on both databases: adds to rows that exist, or leaves them unchanged.

For SQLite one statement has many rows: its driver lets other threads run at each statement, and waiting for its turn
costs more than a row. PostgreSQL takes each column as one array, because a message
for each row costs it more than all else. Arrays are written out here: psycopg examines each element, which
was a third of the cost of a report.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]
# How many rows SQLite takes in one statement, so that any number is few of them. The widest table has 12 columns; it
# takes 32,766 values in one (999 before 3.32, of 2020).
_SIZES = (256, 64, 16, 4, 1)
MOST_ADDED = 2**62  # where "add_bounded" ends: two of these are more than a column holds


class BulkInsert:
    """An insert into one table's `columns`.

    `merge` is what happens to a row whose key exists: "add" its counts, take the "min" or "max", "set"
    it anew; a column that is not named is unchanged. Without `merge` an existing row is unchanged. "add_bounded" adds
    figures of at most MOST_ADDED to a row that has less than that.
    """

    def __init__(
        self,
        dialect: sa.Dialect,
        table: sa.Table,
        columns: Sequence[str],
        keys: Sequence[str],
        merge: Mapping[str, str] | None = None,
    ) -> None:
        self._columns = columns
        self._arrays = dialect.name == "postgresql"
        self._literals = [_LITERALS.get(type(table.c[name].type)) for name in columns]
        self._statement = _insert(self._arrays, table, tuple(columns), tuple(keys), tuple((merge or {}).items()))
        self._sqls = [] if self._arrays else _sqls(self._statement, tuple(columns))

    def put(self, connection: sa.Connection, rows: Iterable[Row]) -> None:
        """Put the rows in, in the order of `columns`. No key may come twice."""
        listed = list(rows)
        if not listed:
            return
        if self._arrays:
            values = (
                list(column) if literal is None else literal(column)
                for column, literal in zip(zip(*listed, strict=True), self._literals, strict=True)
            )
            connection.execute(self._statement, dict(zip(self._columns, values, strict=True)))
            return
        done = 0
        for size, sql in self._sqls:
            while len(listed) - done >= size:
                connection.exec_driver_sql(sql, tuple(chain.from_iterable(listed[done : done + size])))
                done += size


@functools.cache
def _insert(
    arrays: bool, table: sa.Table, columns: tuple[str, ...], keys: tuple[str, ...], merge: tuple[tuple[str, str], ...]
) -> Any:
    """The statement, made once for all connections: to make it takes a millisecond."""
    insert: Any = postgresql.insert(table) if arrays else sqlite.insert(table)
    if arrays:
        values = [
            written_array(name, table.c[name].type) if type(table.c[name].type) in _LITERALS
            else sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type))
            for name in columns
        ]  # fmt: skip
        insert = insert.from_select(list(columns), sa.select(*map(sa.func.unnest, values)))
    else:
        insert = insert.values({name: sa.bindparam(name) for name in columns})
    if not merge:
        return insert.on_conflict_do_nothing(index_elements=list(keys))
    changed = {name: _merged(how, table.c[name], insert.excluded[name], arrays) for name, how in merge}
    return insert.on_conflict_do_update(index_elements=list(keys), set_=changed)


@functools.cache
def _sqls(insert: Any, columns: tuple[str, ...]) -> list[tuple[int, str]]:
    """SQLite's text for each number of rows."""
    compiled = insert.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    sql = str(compiled)
    assert tuple(compiled.positiontup or ()) == columns
    one = f"({', '.join('?' * len(columns))})"
    assert sql.count(one) == 1
    return [(size, sql.replace(one, ", ".join([one] * size))) for size in _SIZES]


def integers(values: Iterable[int]) -> str:
    """An array as PostgreSQL writes it."""
    return f"{{{','.join(map(str, values))}}}"


def texts(values: Sequence[str]) -> str:
    """An array as PostgreSQL writes it; what would end a text early is escaped."""
    text = '","'.join(values)
    if "\\" in text or text.count('"') != 2 * (len(values) - 1):
        text = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return f'{{"{text}"}}'


_LITERALS: dict[type[Any], Callable[[Any], str]] = {sa.BigInteger: integers, sa.String: texts, sa.Text: texts}


def written_array(name: str, type_: Any) -> sa.ColumnElement[Any]:
    """A parameter that is an array as PostgreSQL writes it."""
    return sa.cast(sa.bindparam(name, type_=sa.Text), postgresql.ARRAY(type_))


def _merged(how: str, old: sa.ColumnElement[Any], new: sa.ColumnElement[Any], arrays: bool) -> sa.ColumnElement[Any]:
    if how == "add":
        return old + new
    if how == "add_bounded":
        return sa.case((old >= sa.literal_column(str(MOST_ADDED)), old), else_=old + new)
    if how == "set":
        return new
    names = {"min": "least", "max": "greatest"} if arrays else {"min": "min", "max": "max"}
    function: sa.ColumnElement[Any] = getattr(sa.func, names[how])(old, new)
    return function


def chunks(values: Iterable[Any], size: int = 500) -> Iterable[list[Any]]:
    """Lists of at most `size`: a database bounds how many values one statement may name."""
    listed = list(values)
    return (listed[at : at + size] for at in range(0, len(listed), size))
