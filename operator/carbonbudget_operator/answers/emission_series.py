"""Emissions as flat rows: one for each step of a window and each group of pods. For GET /api/v1/emissions.

A step that begins or ends inside an hour is answered by the whole hours that hold it, as every question of people is
(`time_ranges.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.allocation_groups import field_of, needs_nodes
from carbonbudget_operator.answers.required_labels import RequiredLabels
from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Range, Step, before, steps_of
from carbonbudget_operator.budgets.price import Price
from carbonbudget_operator.carbon_price import Prices, priced_parts, prices_of
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import ExpectedNodeTime, expectation_version, expectations, expected_ms
from carbonbudget_operator.ledger.stored_units import APART, TOGETHER
from carbonbudget_operator.ledger.valued_rows import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
)
from carbonbudget_operator.valued_hours.reading_plans import ReadingPlans
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

Key = tuple[str, ...]
COMPONENTS: Final = ("Dynamic", "Idle", "Overhead")  # in the order of a row's columns
_TOGETHER, _APART = (  # of all columns that `Amounts` has
    {column: parts for column, parts in sums.items() if column <= EMBODIED_UG} for sums in (TOGETHER, APART)
)
Place = tuple[int, Key]  # a row's order: the start of its step, then its key


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What is asked for. `namespaces`: of these alone, without the rows of no pod; None: of the whole cluster.

    `after` leaves out all rows up to that place; `limit` is how many are returned at most. `components` are the indices
    of those of COMPONENTS that count. With `required_labels`, the answer has the energy of pods without them.
    """

    window: Range
    step: Step
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]
    namespaces: frozenset[str] | None
    compare: bool
    after: Place | None
    limit: int
    components: tuple[int, ...] = (0, 1, 2)
    required_labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Amounts:
    """Sums of rows, in microjoules and micrograms of CO2 equivalent.

    `whole_uj` and its part `metered_uj` are of all components: which of them a meter measured is not stored. Costs are
    in the parts of `budgets.price`, by the prices in force at each hour.
    """

    energy_uj: int = 0
    whole_uj: int = 0
    metered_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    energy_cost: int = 0
    location_cost: int = 0
    market_cost: int = 0
    embodied_cost: int = 0

    def add(self, figures: Sequence[int], components: Sequence[int]) -> None:
        """Add these components of one row's figures. All of them may be in the first column of each three."""
        whole = len(components) == len(COMPONENTS)
        energy, location, market = figures[ENERGY_UJ], figures[LOCATION_UG], figures[MARKET_UG]
        self.whole_uj += sum(energy)
        self.energy_uj += sum(energy if whole else (energy[index] for index in components))
        self.metered_uj += figures[METERED_UJ]
        self.location_ug += sum(location if whole else (location[index] for index in components))
        self.market_ug += sum(market if whole else (market[index] for index in components))
        self.embodied_ug += figures[EMBODIED_UG]

    def merge(self, more: Amounts) -> None:
        """Add other sums."""
        self.energy_uj += more.energy_uj
        self.whole_uj += more.whole_uj
        self.metered_uj += more.metered_uj
        self.location_ug += more.location_ug
        self.market_ug += more.market_ug
        self.embodied_ug += more.embodied_ug
        self.energy_cost += more.energy_cost
        self.location_cost += more.location_cost
        self.market_cost += more.market_cost
        self.embodied_cost += more.embodied_cost

    def set_cost(self, price: Price) -> None:
        """The costs of these sums, all of whose hours have this price."""
        self.energy_cost = price.of_energy(self.energy_uj)
        self.location_cost = price.of_emissions(self.location_ug)
        self.market_cost = price.of_emissions(self.market_ug)
        self.embodied_cost = price.of_emissions(self.embodied_ug)

    @property
    def measured_percent(self) -> int:
        """Share of the energy that a meter measured, rounded down; 0 without energy."""
        return self.metered_uj * 100 // self.whole_uj if self.whole_uj else 0


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One group in one step; `previous` is the group's use in the window before, where that was asked for."""

    start: int
    end: int
    key: Key
    amounts: Amounts
    coverage_percent: int | None
    previous: Amounts | None


@dataclass(frozen=True, slots=True)
class Series:
    """The rows in order of step and key; `total` is of all rows of the window, whichever page this is.

    `currency` is that of the costs, empty where the window has no price.
    `data_through` is the UTC second of the window up to which every node reported. `last` is the place of the last row
    where there are more. `required` is of all pods of the window that match the filters, and of all components;
    None without required labels.
    """

    data_through: int
    covers: Range
    rows: list[SeriesRow]
    total: Amounts
    last: Place | None
    required: RequiredLabels | None
    currency: str = ""


def emission_series(reader: ValuedReader, query: SeriesQuery) -> Series:
    """Read, group and cut to the page."""
    window = covered_range(*query.window)
    parts = steps_of(window, query.step)
    prices = prices_of(reader.terms.map(lambda terms: terms.carbon))
    total, required = Amounts(), RequiredLabels(query.required_labels) if query.required_labels else None
    rows: list[SeriesRow] = []
    with snapshot(reader.engine) as connection:
        spans = node_spans(connection, reader.cluster)
        through, latest = data_through(spans), max((span.last_end for span in spans), default=0)
        parts = [part for part in parts if part[0] < latest]  # nothing has been reported from there on
        plans = reader.plans(connection, before(window)[0] if query.compare else window[0], window[1])
        covered = _coverage(reader, connection, plans, [(start, max(start, min(end, through))) for start, end in parts])
        earlier = _sums(reader, connection, plans, query, before(window), prices) if query.compare else {}
        for (start, end), percent in zip(parts, covered, strict=True):
            found = _sums(reader, connection, plans, query, (start, end), prices, required)
            for amounts in found.values():
                total.merge(amounts)
            for key in sorted(found.keys() | earlier.keys()):
                # One more than the page has shows that there is a next one; the others need no memory.
                if len(rows) <= query.limit and (query.after is None or (start, key) > query.after):
                    previous = earlier.get(key, Amounts()) if query.compare else None
                    rows.append(SeriesRow(start, end, key, found.get(key, Amounts()), percent, previous))
    page = rows[: query.limit]
    return Series(
        min(through, window[1]),
        window,
        page,
        total,
        (page[-1].start, page[-1].key) if len(rows) > len(page) else None,
        required,
        next((price.currency for *_, price in priced_parts(prices, *window) if price is not None), ""),
    )


def coverage_percent(reader: ValuedReader, expected: Iterable[ExpectedNodeTime], start: int, end: int) -> int | None:
    """Share of the node-time of [start, end) that was reported, rounded down; None where no node is expected."""
    return _percent(expected_ms(expected, start, end), reader.reported_ms(start, end))


def version_of(reader: ValuedReader, query: SeriesQuery, shown_as: str) -> str:
    """A digest that changes whenever the answer may: with the facts, the settings, the question, whom it is about.

    `shown_as` stands for how the answer is written.
    """
    window = covered_range(*query.window)
    start, end = (before(window)[0] if query.compare else window[0]), window[1]
    with snapshot(reader.engine) as connection:
        revisions = sorted(hours_with_facts(connection, start, end).items())
        through = data_through(node_spans(connection, reader.cluster))
        expected = expectation_version(connection, reader.cluster)
    who = None if query.namespaces is None else sorted(query.namespaces)
    asked = [window, query.step, query.group_by, query.filters, query.compare, query.after, query.limit]
    # Up to when there are data is part of the answer; of a window that is over it does not change.
    parts = [*asked, query.components, query.required_labels, who, shown_as, min(through, end)]
    prices = priced_parts(prices_of(reader.terms.map(lambda terms: terms.carbon)), start, end)
    return blake2b(
        repr([*parts, prices, revisions, expected, reader.derived.description]).encode(), digest_size=16
    ).hexdigest()


def _coverage(
    reader: ValuedReader, connection: sa.Connection, plans: ReadingPlans, parts: Sequence[Range]
) -> list[int | None]:
    expected = expectations(connection, reader.cluster)
    reported_ms = reader.reported_ms_in(connection, plans, parts)
    return [_percent(expected_ms(expected, *part), ms) for part, ms in zip(parts, reported_ms, strict=True)]


def _percent(wanted_ms: int, reported_ms: int) -> int | None:
    return min(100, reported_ms * 100 // wanted_ms) if wanted_ms else None


def _sums(
    reader: ValuedReader, connection: sa.Connection, plans: ReadingPlans, query: SeriesQuery, part: Range,
    prices: Prices, required: RequiredLabels | None = None,
) -> Mapping[Key, Amounts]:  # fmt: skip
    """The groups of a part of the window. `required` also counts its rows."""
    whole: dict[Key, Amounts] = {}
    for start, end, price in priced_parts(prices, *part):
        found = _sums_at_one_price(reader, connection, plans, query, (start, end), required)
        for key, amounts in found.items():
            if price is not None:
                amounts.set_cost(price)
            if whole:
                whole.setdefault(key, Amounts()).merge(amounts)
        whole = whole or found
    return whole


def _sums_at_one_price(
    reader: ValuedReader, connection: sa.Connection, plans: ReadingPlans, query: SeriesQuery, part: Range,
    required: RequiredLabels | None,
) -> dict[Key, Amounts]:  # fmt: skip
    found: dict[Key, Amounts] = {}
    column_sums = _TOGETHER if len(query.components) == len(COMPONENTS) else _APART
    by_namespace = required is None and {*query.group_by, *(field for field, _ in query.filters)} <= {"namespace"}
    by_node = needs_nodes(query.group_by, query.filters)
    for row in reader.rows_in(connection, plans, *part, by_node, query.namespaces, column_sums, by_namespace):
        if all(field_of(row, field) == value for field, value in query.filters):
            key = tuple(field_of(row, field) for field in query.group_by)
            found.setdefault(key, Amounts()).add(row.figures, query.components)
            if required is not None:
                required.add(row)
    return found
