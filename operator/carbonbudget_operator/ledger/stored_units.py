"""Stores valued units: past hours, their days and months, so that a long question reads few rows.

Stored units are derived and no record: what is stored under a derivation (the settings and figures it was made with)
and a signature (the revisions of its hours) is dropped and made anew when either changes; but of sealed hours.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.applied_factors import AppliedFactors, applied_of, applied_text
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.valued_rows import COLUMNS, NAMES, OF_INVENTORY, ValuedRow, ValuedUnit
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

# Levels of units, each made of the one before: hours, quarters of a day, days, thirds of a month, months.
HOURS, QUARTERS, DAYS, THIRDS, MONTHS = LEVELS = range(5)
NAMESPACE_DAYS: Final = 5  # days once more, with one row for each namespace: for series of a large cluster
STORED_LEVELS: Final = (*LEVELS, NAMESPACE_DAYS)
# For each column of a sum, the columns that are added up in it. The others are 0.
ColumnSums = Mapping[int, tuple[int, ...]]
APART: Final[ColumnSums] = {column: (column,) for column in range(COLUMNS)}
# The three components of energy and emissions in one column each, without what reports alone read. A sum over millions
# of rows costs by its columns.
TOGETHER: Final[ColumnSums] = {
    column: (column,) for column in range(COLUMNS) if column not in (1, 2, 5, 6, 8, 9, *OF_INVENTORY)
} | {0: (0, 1, 2), 4: (4, 5, 6), 7: (7, 8, 9)}  # fmt: skip
_RANGES_AT_ONCE = 200  # SQLite takes 500 in one statement
_MAX_FIGURE = 2**60  # of a sum: eight of them still fit a database's integer
_MAX_GROUPS = 500_000  # some 500 bytes each, beyond which they are read again
_Key = tuple[int, int]  # level and start
_Group = tuple[str, str, str, Mapping[str, str]]


class StoredUnits:
    """The units that are stored under one derivation."""

    def __init__(self, engine: sa.Engine, description: str) -> None:
        """`description` names settings and figures; another one is another derivation."""
        self._engine, self.description = engine, description
        self._digest = _digest(description)
        self._id: int | None = None
        self._groups: dict[int, _Group] = {}
        self._factors: dict[int, frozenset[str]] = {}
        dialect = engine.dialect
        self._put_derivation = BulkInsert(dialect, schema.derivation, ("digest", "description"), ("digest",))
        self._put_groups = BulkInsert(
            dialect, schema.row_group, ("digest", "scope", "namespace", "workload", "labels"), ("digest",)
        )
        self._put_factors = BulkInsert(dialect, schema.factor_set, ("digest", "factors"), ("digest",))
        keys = ("derivation_id", "level", "start", "group_id")
        self._put_rows = BulkInsert(
            dialect, schema.valued_row, (*keys, "end", "factor_set_id", *NAMES), keys, dict.fromkeys(NAMES, "add")
        )

    def signatures(self, connection: sa.Connection, start: int, end: int) -> dict[_Key, str]:
        """Signatures of the units that start in [start, end)."""
        derivation_id = self._find(connection)
        return {} if derivation_id is None else self._signatures(connection, derivation_id, start, end)

    @staticmethod
    def _signatures(connection: sa.Connection, derivation_id: int, start: int, end: int) -> dict[_Key, str]:
        c = schema.valued_unit.c
        rows = connection.execute(
            sa.select(c.level, c.start, c.signature).where(
                c.derivation_id == derivation_id, c.start >= start, c.start < end
            )
        )
        return {(level, at): signature for level, at, signature in rows}

    def namespace_signature(self, of_day: str) -> str:
        """The signature of a day's sums by namespace, from that of the day.

        It depends on the derivation too: an older version deletes a derivation without these sums, and its id may then
        be another's.
        """
        return blake2b(self._digest + of_day.encode(), digest_size=16).hexdigest()

    def id(self, connection: sa.Connection) -> int | None:
        """The derivation's id; None while nothing was ever stored under it."""
        return self._find(connection)

    def load(self, connection: sa.Connection, level: int, start: int, derivation_id: int | None = None) -> ValuedUnit:
        """One stored unit of this derivation or another."""
        unit, row = schema.valued_unit.c, schema.valued_row.c
        derivation_id = self._find(connection) if derivation_id is None else derivation_id
        reported, applied, end = connection.execute(
            sa.select(unit.reported, unit.applied, unit.end).where(
                unit.derivation_id == derivation_id, unit.level == level, unit.start == start
            )
        ).one()
        found = connection.execute(
            sa.select(row.start, row.end, row.group_id, row.factor_set_id, *(row[name] for name in NAMES)).where(
                row.derivation_id == derivation_id, row.level == level, row.start >= start, row.start < end
            )
        ).all()
        groups, sets = self._learn(connection, {item[2] for item in found}, {item[3] for item in found})
        rows = [
            _row(at, until, groups[group], list(figures), sets[factors])
            for at, until, group, factors, *figures in found
        ]
        return ValuedUnit(level, start, rows, [tuple(item) for item in json.loads(reported)], applied_of(applied))

    def reported(self, connection: sa.Connection, units: Iterable[_Key]) -> dict[_Key, list[tuple[int, int, int]]]:
        """What each of these units has as `reported`, for those that are kept."""
        unit, derivation_id = schema.valued_unit.c, self._find(connection)
        found: dict[_Key, list[tuple[int, int, int]]] = {}
        by_level: dict[int, list[int]] = {}
        for level, start in units:
            by_level.setdefault(level, []).append(start)
        for level, starts in by_level.items():
            for some in chunks(starts):
                query = sa.select(unit.start, unit.reported).where(
                    unit.derivation_id == derivation_id, unit.level == level, unit.start.in_(some)
                )
                for start, text in connection.execute(query):
                    found[level, start] = [tuple(item) for item in json.loads(text)]
        return found

    def applied(self, connection: sa.Connection, start: int, end: int) -> list[AppliedFactors]:
        """The factors by which the stored hours of [start, end) were valued, in order."""
        unit, derivation_id = schema.valued_unit.c, self._find(connection)
        texts = connection.scalars(
            sa.select(unit.applied)
            .where(unit.derivation_id == derivation_id, unit.level == HOURS, unit.start >= start, unit.start < end)
            .order_by(unit.start)
        )
        return [one for text in texts for one in applied_of(text)]

    def total(
        self,
        connection: sa.Connection,
        units: Sequence[_Key],
        start: int,
        end: int,
        namespaces: Collection[str] | None = None,
        column_sums: ColumnSums = TOGETHER,
        by_namespace: bool = False,
    ) -> list[ValuedRow]:
        """Whole units summed up in the database: one row for each group.

        Of these namespaces alone, where they are given. `by_namespace`: one row for each namespace instead, without
        scope, workload, labels and factors.

        Raises:
            OverflowError: SQLite adds up in 64 bits, and a sum does not fit.
        """
        row, derivation_id = schema.valued_row.c, self._find(connection)
        columns = [
            sum((row[NAMES[part]] for part in parts[1:]), row[NAMES[parts[0]]]) for parts in column_sums.values()
        ]
        g = schema.row_group.c
        among = [] if namespaces is None else [row.group_id.in_(sa.select(g.id).where(g.namespace.in_(namespaces)))]
        # One range of the primary key each: by OR, SQLite would read everything of the derivation.
        spans = [
            sa.select(
                row.group_id, row.factor_set_id, *(column.label(f"sum{n}") for n, column in enumerate(columns))
            ).where(
                row.derivation_id == derivation_id, row.level == level, row.start >= first, row.start < last, *among
            )
            for level in STORED_LEVELS
            for first, last in _runs(sorted(at for its, at in units if its == level), level)
        ]
        found = [row for part in chunks(spans, _RANGES_AT_ONCE) for row in _summed(connection, part, by_namespace)]
        rows: dict[int | str, ValuedRow] = {}  # with many gaps or several sets of factors a group was read in parts
        if by_namespace:
            for name, *sums in found:
                _add(rows, name, start, end, ("", name, "", {}), _figures(column_sums, sums), frozenset())
        else:
            groups, sets = self._learn(connection, {row[0] for row in found}, {row[1] for row in found})
            for group, factors, *sums in found:
                _add(rows, group, start, end, groups[group], _figures(column_sums, sums), sets[factors])
        return list(rows.values())

    def hour_rows(
        self, connection: sa.Connection, hours: Sequence[int], namespaces: Collection[str] | None, containing: str
    ) -> Iterator[ValuedRow]:
        """The rows of these stored hours, of these namespaces and of groups whose labels as JSON contain that text."""
        row = schema.valued_row.c
        columns = (row.start, row.end, row.group_id, row.factor_set_id, *(row[name] for name in NAMES))
        for query in self._of_hours(connection, hours, namespaces, containing, columns):
            found = connection.execute(query).all()
            groups, sets = self._learn(connection, {item[2] for item in found}, {item[3] for item in found})
            for at, until, group, factors, *figures in found:
                yield _row(at, until, groups[group], list(figures), sets[factors])

    def extents(
        self, connection: sa.Connection, hours: Sequence[int], namespaces: Collection[str] | None, containing: str
    ) -> Iterator[tuple[str, Mapping[str, str], int, int]]:
        """Namespace, labels, first start and last end of the same groups; a group is there once or more often."""
        row = schema.valued_row.c
        columns = (row.group_id, sa.func.min(row.start), sa.func.max(row.end))
        for query in self._of_hours(connection, hours, namespaces, containing, columns):
            found = connection.execute(query.group_by(row.group_id)).all()
            groups, _ = self._learn(connection, {item[0] for item in found}, set())
            for group, first, last in found:
                _, namespace, _, labels = groups[group]
                yield namespace, labels, int(first), int(last)

    def _of_hours(
        self, connection: sa.Connection, hours: Sequence[int], namespaces: Collection[str] | None, containing: str,
        columns: Sequence[sa.ColumnElement[Any]],
    ) -> Iterator[sa.Select[Any]]:  # fmt: skip
        """One query for each stretch of hours without a gap: a range of the primary key."""
        row, group, derivation_id = schema.valued_row.c, schema.row_group.c, self._find(connection)
        among = sa.select(group.id)
        if containing:
            among = among.where(group.labels.contains(containing, autoescape=True))
        if namespaces is not None:
            among = among.where(group.namespace.in_(namespaces))
        for first, last in _runs(hours, HOURS):
            yield sa.select(*columns).where(
                row.derivation_id == derivation_id, row.level == HOURS, row.start >= first, row.start < last,
                row.group_id.in_(among),
            )  # fmt: skip

    def sum_up(self, connection: sa.Connection, parts: Sequence[_Key], level: int, start: int, end: int) -> ValuedUnit:
        """A longer unit of shorter ones that are stored: one row for each group, all that was reported.

        Of level NAMESPACE_DAYS, which is made of its day: one row for each namespace.

        Raises:
            OverflowError: a sum is too large to be stored.
        """
        rows = self.total(connection, parts, start, end, None, APART, by_namespace=level == NAMESPACE_DAYS)
        if any(max(row.figures) > _MAX_FIGURE for row in rows):
            raise OverflowError(f"the figures of the unit of level {level} from {start} are too large to be stored")
        reported_ms = sum(ms for spans in self.reported(connection, parts).values() for _, _, ms in spans)
        return ValuedUnit(level, start, rows, [(start, end, reported_ms)])

    def save(self, unit: ValuedUnit, end: int, signature: str) -> None:
        """Store a unit in place of its earlier version."""
        key = (unit.level, unit.start)
        groups = {_group_text(row): row for row in unit.rows}
        factors = {_text(sorted(row.factors)) for row in unit.rows}
        with write_transaction(self._engine, AdvisoryLock.VALUED_UNITS) as connection:
            self._put_derivation.put(connection, [(self._digest, self.description)])
            derivation_id = self._look_up(connection)
            assert derivation_id is not None
            if self._signatures(connection, derivation_id, unit.start, unit.start + 1).get(key) == signature:
                return
            columns = {
                text: (row.scope, row.namespace, row.workload, _text(dict(row.labels))) for text, row in groups.items()
            }
            group_ids = self._ids(connection, self._put_groups, schema.row_group, columns)
            factor_ids = self._ids(
                connection, self._put_factors, schema.factor_set, {text: (text,) for text in factors}
            )
            self._drop(connection, derivation_id, *key, end)
            connection.execute(
                sa.insert(schema.valued_unit).values(
                    derivation_id=derivation_id, level=unit.level, start=unit.start, end=end, signature=signature,
                    reported=_text(unit.reported), applied=applied_text(unit.applied),
                )
            )  # fmt: skip
            self._put_rows.put(
                connection,
                (
                    (derivation_id, unit.level, row.start, group_ids[_group_text(row)], row.end,
                     factor_ids[_text(sorted(row.factors))], *row.figures)
                    for row in unit.rows
                ),
            )  # fmt: skip
        self._id = derivation_id  # not before the commit: what is rolled back may be another's id next

    def forget(self, units: Iterable[tuple[int, int, int]]) -> None:
        """Drop units, by level, start and end, because they are wrong."""
        with write_transaction(self._engine) as connection:
            derivation_id = self._look_up(connection)
            if derivation_id is not None:
                for level, start, end in units:
                    self._drop(connection, derivation_id, level, start, end)

    @staticmethod
    def _drop(connection: sa.Connection, derivation_id: int, level: int, start: int, end: int) -> None:
        for table in (schema.valued_unit, schema.valued_row):
            c = table.c
            connection.execute(
                sa.delete(table).where(
                    c.derivation_id == derivation_id, c.level == level, c.start >= start, c.start < end
                )
            )

    def _find(self, connection: sa.Connection) -> int | None:
        if self._id is None:
            self._id = self._look_up(connection)
        return self._id

    def _look_up(self, connection: sa.Connection) -> int | None:
        return connection.scalar(sa.select(schema.derivation.c.id).where(schema.derivation.c.digest == self._digest))

    def _learn(
        self, connection: sa.Connection, groups: set[int], factors: set[int]
    ) -> tuple[Mapping[int, _Group], Mapping[int, frozenset[str]]]:
        """Groups and sets of factors by id, with those asked for.

        Threads share what is remembered. Each reads from the maps that it was given: another one may begin new ones.
        """
        if len(self._groups) + len(self._factors) > _MAX_GROUPS:
            self._groups, self._factors = {}, {}
        known, sets = self._groups, self._factors
        g, f = schema.row_group.c, schema.factor_set.c
        for ids in chunks(groups - known.keys()):
            query = sa.select(g.id, g.scope, g.namespace, g.workload, g.labels).where(g.id.in_(ids))
            for key, scope, namespace, workload, labels in connection.execute(query):
                known[key] = (scope, namespace, workload, json.loads(labels))
        for ids in chunks(factors - sets.keys()):
            for key, text in connection.execute(sa.select(f.id, f.factors).where(f.id.in_(ids))):
                sets[key] = frozenset(json.loads(text))
        return known, sets

    @staticmethod
    def _ids(
        connection: sa.Connection, rows: BulkInsert, table: sa.Table, wanted: Mapping[str, tuple[str, ...]]
    ) -> dict[str, int]:
        digests = {_digest(text): text for text in wanted}
        rows.put(connection, ((digest, *wanted[digests[digest]]) for digest in sorted(digests)))
        found: dict[str, int] = {}
        for part in chunks(digests):
            for key, digest in connection.execute(
                sa.select(table.c.id, table.c.digest).where(table.c.digest.in_(part))
            ):
                found[digests[bytes(digest)]] = key
        return found


def _summed(connection: sa.Connection, spans: Sequence[sa.Select[Any]], by_namespace: bool) -> Sequence[Sequence[Any]]:
    """Sums of all columns but the first two, by these or by their namespace. Raises OverflowError."""
    read = (sa.union_all(*spans) if len(spans) > 1 else spans[0]).subquery()
    group, factors, *columns = read.c
    keys, source = [group, factors], sa.select()
    if by_namespace:
        keys = [schema.row_group.c.namespace]
        source = source.select_from(read.join(schema.row_group, schema.row_group.c.id == group))
    try:
        return connection.execute(source.add_columns(*keys, *map(sa.func.sum, columns)).group_by(*keys)).all()
    except sa.exc.OperationalError as error:
        if "integer overflow" in str(error.orig):
            raise OverflowError(str(error.orig)) from None
        raise


def _runs(starts: Sequence[int], level: int) -> Iterable[tuple[int, int]]:
    """[first, last + 1) of stretches without a gap: one statement each. Thirds and months are listed one by one."""
    step = {HOURS: 3600, QUARTERS: 6 * 3600, DAYS: 86_400, NAMESPACE_DAYS: 86_400}.get(level, 0)
    first = last = -1
    for at in starts:
        if first >= 0 and step and at == last + step:
            last = at
            continue
        if first >= 0:
            yield first, last + (step or 1)
        first = last = at
    if first >= 0:
        yield first, last + (step or 1)


def _add(
    rows: dict[int | str, ValuedRow], key: int | str, start: int, end: int, group: _Group, figures: list[int],
    factors: frozenset[str],
) -> None:  # fmt: skip
    if (total := rows.get(key)) is not None:
        total.add(figures, factors)
    else:
        rows[key] = _row(start, end, group, figures, factors)


def _row(start: int, end: int, group: _Group, figures: list[int], factors: frozenset[str]) -> ValuedRow:
    scope, namespace, workload, labels = group
    return ValuedRow(start, end, "", scope, namespace, workload, labels, figures, factors)


def _figures(column_sums: ColumnSums, sums: Sequence[Any]) -> list[int]:
    figures = [0] * COLUMNS
    for column, figure in zip(column_sums, sums, strict=True):
        if isinstance(figure, float):  # SQLite goes on with floating point where two integers are too large to add
            raise OverflowError(f"a sum of {NAMES[column]} does not fit 64 bits")
        figures[column] = int(figure)  # PostgreSQL sums up to decimals
    return figures


def _group_text(row: ValuedRow) -> str:
    return _text([row.scope, row.namespace, row.workload, dict(row.labels)])


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
