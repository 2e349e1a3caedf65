"""The use of budgets hour by hour, for forecasts. Stored hours are read in one pass, as one figure a row."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers import time_ranges
from carbonbudget_operator.answers.budget_use import BudgetColumns
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, HourlyAnswer
from carbonbudget_operator.budgets.coverage import Covers, among, selects
from carbonbudget_operator.ledger.fact_reader import data_through, node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.stored_hour_reader import stored_groups, stored_hours
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import ValuedRow
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

MAX_HOURS: Final = 35 * 24


class _Series:
    """One budget's hours, filled in any order."""

    def __init__(self, query: BudgetQuery) -> None:
        self.query, self.columns = query, BudgetColumns(query)
        self.first, last = whole_hours(query)
        self.used_ug = array("q", bytes(8 * max(0, (last - self.first) // HOUR)))

    def known_ug(self, known: Collection[int]) -> list[int | None]:
        """The use of each hour; None for hours that are not `known`."""
        return [used_ug if self.first + number * HOUR in known else None for number, used_ug in enumerate(self.used_ug)]

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return among(self.query.namespaces, namespace) and selects(self.query.selector, labels) is Covers.YES


def whole_hours(query: BudgetQuery) -> tuple[int, int]:
    """The first whole hour of a span and the end of its last; the same instant where there is none."""
    return time_ranges.whole_hours(query.start, query.end)


def hourly_use(reader: ValuedReader, queries: Sequence[BudgetQuery]) -> list[HourlyAnswer]:
    """Each budget's use in each whole hour of its span, in order; None for hours without facts of the cluster.

    An hour in which nobody reported is not an hour without use: a forecast must not take it for one.
    """
    alike: dict[tuple[object, ...], _Series] = {}  # budgets that differ in their limits alone are counted once
    all_series = [alike.setdefault(_question(query), _Series(query)) for query in queries]
    asked = [series for series in alike.values() if series.used_ug and series.columns.used]
    known: set[int] = set()
    if asked:
        with snapshot(reader.engine) as connection:
            through = data_through(node_spans(connection, reader.cluster))
            first = min(series.first for series in asked)
            last = min(max(whole_hours(series.query)[1] for series in asked), through + HOUR)
            plans = reader.plans(connection, first, last)
            hours = [plans.hour(hour) for hour in plans.revisions if first <= hour < last]
            known = {planned.key[1] for planned in hours}
            _add_stored(connection, reader, asked, [planned.key[1] for planned in hours if planned.is_stored])
            for planned in hours:
                if not planned.is_stored:
                    _add_hour(planned.key[1], reader.unit(connection, *planned).rows, asked)
    return [
        HourlyAnswer(id=query.id, first_hour=series.first, used_ug=series.known_ug(known))
        for query, series in zip(queries, all_series, strict=True)
    ]


def _question(query: BudgetQuery) -> tuple[object, ...]:
    selector = "" if query.selector is None else query.selector.model_dump_json()
    return (frozenset(query.namespaces), selector, BudgetColumns(query).used, whole_hours(query))


def _by_namespace(asked: Sequence[_Series]) -> dict[str, list[_Series]]:
    found: dict[str, list[_Series]] = defaultdict(list)
    for series in asked:
        for name in dict.fromkeys(series.query.namespaces):
            found[name].append(series)
    return found


def _add_hour(hour: int, rows: Sequence[ValuedRow], asked: Sequence[_Series]) -> None:
    by_namespace = _by_namespace(asked)
    everywhere = by_namespace.get(EVERY_NAMESPACE, [])
    for row in rows:
        for series in (*by_namespace.get(row.namespace, ()), *everywhere):
            at = (hour - series.first) // HOUR
            if 0 <= at < len(series.used_ug) and series.selects(row.namespace, row.labels):
                series.used_ug[at] += series.columns.used_ug(row.figures)


def _add_stored(
    connection: sa.Connection, reader: ValuedReader, asked: Sequence[_Series], hours: Sequence[int]
) -> None:
    """Add stored hours. The budgets that a group counts for are found once, not once an hour."""
    derivation_id = reader.derived.id(connection)
    if derivation_id is None or not hours:
        return
    counts = sorted({series.columns.used for series in asked})
    by_namespace = _by_namespace(asked)
    everywhere = by_namespace.get(EVERY_NAMESPACE, [])
    of_group: dict[int, list[tuple[int, int, array[int]]]] = {}  # which sum, the first hour's number, the uses
    for group_id, namespace, labels in stored_groups(connection, by_namespace.keys()):
        targets = [
            (counts.index(series.columns.used), series.first // HOUR, series.used_ug)
            for series in (*by_namespace.get(namespace, ()), *everywhere)
            if series.selects(namespace, labels)
        ]
        if targets:
            of_group[group_id] = targets
    wanted = {hour // HOUR for hour in hours}
    for start, group_id, *used in stored_hours(connection, derivation_id, min(hours), max(hours) + HOUR, counts):
        number = start // HOUR
        if number in wanted:
            for which, first, used_ug in of_group.get(group_id, ()):
                if 0 <= number - first < len(used_ug):
                    used_ug[number - first] += used[which]
