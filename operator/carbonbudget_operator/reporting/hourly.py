"""Budgets' use hour by hour: what forecasts are made of. Kept hours are read in one pass, as one figure a row."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.api.query import BudgetQuery, HourlyAnswer
from carbonbudget_operator.ledger.hours import Row, kept_groups, kept_hours
from carbonbudget_operator.ledger.read import data_through, node_spans
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.ledger.store import snapshot
from carbonbudget_operator.reporting.book import Book
from carbonbudget_operator.reporting.merged import EVERY_NAMESPACE
from carbonbudget_operator.reporting.plans import Plans
from carbonbudget_operator.reporting.query import Columns

MAX_HOURS: Final = 35 * 24
MAX_HOURS_IN_ALL: Final = 2_000_000  # 8 bytes each, and as many digits in the answer


class _Series:
    """One budget's hours, filled in any order."""

    def __init__(self, query: BudgetQuery) -> None:
        self.query, self.columns = query, Columns(query)
        self.first, last = whole_hours(query)
        self.used_ug = array("q", bytes(8 * max(0, (last - self.first) // HOUR)))

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        names = self.query.namespaces
        if namespace not in names and (EVERY_NAMESPACE not in names or namespace.startswith("__")):
            return False
        return self.query.selector is None or self.query.selector.matches(labels)

    def add(self, hour: int, used_ug: int) -> None:
        at = (hour - self.first) // HOUR
        if 0 <= at < len(self.used_ug):
            self.used_ug[at] += used_ug


def whole_hours(query: BudgetQuery) -> tuple[int, int]:
    """The first whole hour of a span and the end of its last; the same instant where there is none."""
    first, last = -(-query.start // HOUR) * HOUR, query.end - query.end % HOUR
    return first, max(first, last)


def hourly(book: Book, queries: Sequence[BudgetQuery]) -> list[HourlyAnswer]:
    """Each budget's use in each whole hour of its span, in order; hours without facts used nothing."""
    all_series = [_Series(query) for query in queries]
    asked = [series for series in all_series if series.used_ug]
    if asked:
        with snapshot(book.engine) as connection:
            through = data_through(node_spans(connection, book.cluster))
            first = min(series.first for series in asked)
            last = min(max(whole_hours(series.query)[1] for series in asked), through + HOUR)
            plans = Plans(book, connection, first, last)
            hours = [plans.hour(hour) for hour in plans.revisions if first <= hour < last]
            _add_kept(connection, book, asked, [planned.key[1] for planned in hours if planned.kept])
            for planned in hours:
                if not planned.kept:
                    for row in plans.load(planned).rows:
                        for series in asked:
                            if series.selects(row.namespace, row.labels):
                                series.add(planned.key[1], series.columns.used_ug(row.figures))
    return [
        HourlyAnswer(id=series.query.id, first_hour=series.first, used_ug=series.used_ug.tolist())
        for series in all_series
    ]


def _add_kept(connection: sa.Connection, book: Book, asked: Sequence[_Series], hours: Sequence[int]) -> None:
    """Which budgets a group counts for is found once, not once an hour."""
    counts = sorted({series.columns.used for series in asked if series.columns.used})
    derivation_id = book.derived.id(connection)
    if not counts or derivation_id is None or not hours:
        return
    of_group: dict[int, list[tuple[int, _Series]]] = defaultdict(list)
    by_namespace: dict[str, list[_Series]] = defaultdict(list)
    for series in asked:
        if series.columns.used:
            for name in dict.fromkeys(series.query.namespaces):
                by_namespace[name].append(series)
    everywhere = by_namespace.get(EVERY_NAMESPACE, [])
    for group_id, namespace, labels in kept_groups(connection, None if everywhere else by_namespace.keys()):
        for series in (*by_namespace.get(namespace, ()), *everywhere):
            if series.selects(namespace, labels):
                of_group[group_id].append((counts.index(series.columns.used), series))
    wanted = set(hours)
    for start, group_id, *used in _rows(connection, derivation_id, hours, counts):
        hour = start - start % HOUR
        if hour in wanted:
            for at, series in of_group.get(group_id, ()):
                series.add(hour, used[at])


def _rows(
    connection: sa.Connection, derivation_id: int, hours: Sequence[int], counts: Sequence[tuple[int, ...]]
) -> Iterator[Row]:
    return kept_hours(connection, derivation_id, min(hours), max(hours) + HOUR, counts)
