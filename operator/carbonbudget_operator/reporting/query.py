"""Queries of budgets: what some pods emitted in a span of time, all budgets in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from carbonbudget_operator.api.query import BudgetAnswer, BudgetQuery
from carbonbudget_operator.ledger.expected import Expectation, expectations, expected_ms
from carbonbudget_operator.ledger.read import data_through, node_spans
from carbonbudget_operator.ledger.store import snapshot
from carbonbudget_operator.ledger.valued import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    Unit,
    ValuedRow,
)
from carbonbudget_operator.reporting.book import Book, by_namespace
from carbonbudget_operator.reporting.numbers import grams, kilowatt_hours
from carbonbudget_operator.reporting.units import Key
from carbonbudget_operator.reporting.valued import within

_LONGEST_WINDOW_SECONDS = 60
_COMPONENTS = {"Dynamic": 0, "Idle": 1, "Overhead": 2}


class Queries:
    """Answers from the valued book."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def rows(self, start: int, end: int, by_node: bool = False) -> Iterator[ValuedRow]:
        """All valued rows of [start, end)."""
        return self._book.rows(start, end, by_node)

    def data_through(self) -> int:
        """The second up to which every node that reports has reported; 0 without a report."""
        with snapshot(self._book.engine) as connection:
            return data_through(node_spans(connection, self._book.cluster))

    def budgets(self, queries: Sequence[BudgetQuery]) -> list[BudgetAnswer]:
        """Each budget's answer, in order. One pass over the units serves all of them."""
        with snapshot(self._book.engine) as connection:
            through = data_through(node_spans(connection, self._book.cluster))
            pass_ = _Pass(self._book, connection, through)
            expected = expectations(connection, self._book.cluster)
            return [self._answer(query, pass_, expected, through) for query in queries]

    @staticmethod
    def _answer(query: BudgetQuery, pass_: _Pass, expected: list[Expectation], through: int) -> BudgetAnswer:
        emissions = LOCATION_UG if query.accounting == "LocationBased" else MARKET_UG
        parts = sorted(_COMPONENTS[name] for name in set(query.include) if name in _COMPONENTS)  # each once
        columns = [emissions.start + part for part in parts] + [EMBODIED_UG] * ("Embodied" in query.include)
        energies = [ENERGY_UJ.start + part for part in parts]
        namespaces = sorted(set(query.namespaces))
        used_ug = energy_uj = metered_uj = all_uj = reported_ms = 0
        factors: set[str] = set()
        end = min(query.end, max(through, query.start))
        for unit, rows in pass_.units(query.start, query.end):
            for namespace in namespaces:
                for row in within(rows.get(namespace, ()), query.start, query.end):
                    if query.selector is not None and not query.selector.matches(row.labels):
                        continue
                    figures = row.figures
                    used_ug += sum(figures[column] for column in columns)
                    energy_uj += sum(figures[column] for column in energies)
                    metered_uj += figures[METERED_UJ]
                    all_uj += sum(figures[ENERGY_UJ])
                    factors |= row.factors
            for slice_start, slice_end, ms in unit.reported:
                # Of a slice that is still open all that was reported lies before `through`.
                overlap = min(slice_end, query.end) - max(slice_start, query.start)
                if overlap > 0:
                    reported_ms += ms * overlap // (slice_end - slice_start)
        # A window counts where it starts, and none starts between a period's odd start and the next full
        # minute for certain: that stretch is nobody's gap.
        start = -(-query.start // _LONGEST_WINDOW_SECONDS) * _LONGEST_WINDOW_SECONDS
        wanted_ms = expected_ms(expected, start, end)
        return BudgetAnswer(
            id=query.id,
            used_ug=used_ug,
            used_g=grams(used_ug),
            energy_uj=energy_uj,
            energy_kwh=kilowatt_hours(energy_uj),
            coverage_percent=min(100, reported_ms * 100 // wanted_ms) if wanted_ms else 100,
            measured_percent=metered_uj * 100 // all_uj if all_uj else 0,
            factors=sorted(factors),
        )


class _Pass:
    """One evaluation: each span is planned once, each unit's rows are sorted by namespace once."""

    def __init__(self, book: Book, connection: sa.Connection, through: int) -> None:
        self._book, self._connection, self._through = book, connection, through
        self._plans: dict[tuple[int, int], dict[Key, tuple[str, bool]]] = {}
        self._rows: dict[Key, tuple[Unit, Mapping[str, list[ValuedRow]]]] = {}

    def units(self, start: int, end: int) -> Iterator[tuple[Unit, Mapping[str, list[ValuedRow]]]]:
        """The units of a span, with their rows by namespace."""
        span = (start, min(end, self._through + 3600))
        if span not in self._plans:
            self._plans[span] = self._book.units(self._connection, *span)
        for key, (signature, kept) in self._plans[span].items():
            if key not in self._rows:
                unit = self._book.unit(self._connection, key, signature, kept)
                self._rows[key] = (unit, by_namespace(unit.rows))
            yield self._rows[key]
