"""Reads stored hours for a long series: row by row, with the sums of columns that a series needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.valued_rows import NAMES
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

Row = Sequence[int]


def stored_groups(
    connection: sa.Connection, namespaces: Collection[str]
) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """Id, namespace and labels of every group that was ever stored; in these namespaces, or EVERY_NAMESPACE."""
    c = schema.row_group.c
    query = sa.select(c.id, c.namespace, c.labels)
    parts = (
        [query]
        if EVERY_NAMESPACE in namespaces
        else [query.where(c.namespace.in_(some)) for some in chunks(sorted(namespaces))]
    )
    for part in parts:
        for group_id, namespace, labels in connection.execute(part.execution_options(yield_per=5_000)):
            yield group_id, namespace, json.loads(labels)


def stored_hours(
    connection: sa.Connection, derivation_id: int, start: int, end: int, sums: Sequence[Sequence[int]]
) -> Iterator[Row]:
    """(start, group, one figure for each of `sums`) of the stored hours of [start, end).

    Each of `sums` says which columns of a row's figures are added up.
    """
    c = schema.valued_row.c
    figures = [sum((c[NAMES[column]] for column in columns[1:]), c[NAMES[columns[0]]]) for columns in sums]
    query = sa.select(c.start, c.group_id, *figures).where(
        c.derivation_id == derivation_id, c.level == HOURS, c.start >= start, c.start < end
    )
    yield from connection.execute(query.execution_options(yield_per=10_000))
