"""The use of budgets: what the pods that a budget selects emitted in a time range, for all budgets in one pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from heapq import nsmallest
from itertools import groupby, pairwise

import sqlalchemy as sa

from carbonbudget_operator.answers.budget_boundaries import BudgetBoundaries
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, UseComponents, WorkloadUse
from carbonbudget_operator.budgets.coverage import among
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.ledger.controller_pods import first_fact
from carbonbudget_operator.ledger.fact_reader import data_through, node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import expectations, expected_ms, silent_nodes
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedUnit,
)
from carbonbudget_operator.valued_hours.merged_units import MAX_ROWS, MergeCache, MergedUnits, SelectedGroups
from carbonbudget_operator.valued_hours.own_figures import figures_through
from carbonbudget_operator.valued_hours.reading_plans import PlannedUnit
from carbonbudget_operator.valued_hours.unit_calendar import Key
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_HOUR = 3600
_LONGEST_WINDOW_SECONDS = 60
_LOADED_ROWS = 300_000  # some 700 bytes each
_NAMED_WORKLOADS = 200_000  # some 500 bytes each
_COMPONENTS = {"Dynamic": 0, "Idle": 1, "Overhead": 2}


class BudgetColumns:
    """Which figures of a row a budget counts: micrograms by component, and microjoules."""

    def __init__(self, query: BudgetQuery) -> None:
        emissions = LOCATION_UG if query.accounting == "LocationBased" else MARKET_UG
        parts = sorted({_COMPONENTS[name] for name in query.include if name in _COMPONENTS})  # each once
        self.parts = {part: emissions.start + part for part in parts}
        self.embodied = "Embodied" in query.include
        self.is_location = query.accounting == "LocationBased" and len(parts) == len(_COMPONENTS) and not self.embodied
        self.used = (*self.parts.values(), *((EMBODIED_UG,) if self.embodied else ()))
        self.energy = tuple(ENERGY_UJ.start + part for part in parts)

    def used_ug(self, figures: Sequence[int]) -> int:
        """The micrograms that count, of a row or a sum of rows."""
        return sum([figures[column] for column in self.used])  # a list is faster here than a generator

    def energy_uj(self, figures: Sequence[int]) -> int:
        """The energy of the same components; what is embodied has none."""
        return sum([figures[column] for column in self.energy])

    def split(self, figures: Sequence[int]) -> UseComponents:
        """By component; together they are `used_ug`."""
        dynamic, idle, overhead = (figures[self.parts[part]] if part in self.parts else 0 for part in range(3))
        embodied = figures[EMBODIED_UG] if self.embodied else 0
        return UseComponents(dynamic_ug=dynamic, idle_ug=idle, overhead_ug=overhead, embodied_ug=embodied)


class TooManyWorkloads(ValueError):
    """One request's answers would name too many workloads."""


class BudgetUseQueries:
    """Answers questions about budgets from valued rows."""

    def __init__(self, reader: ValuedReader, max_rows: int = MAX_ROWS) -> None:
        """`max_rows`: how many summed rows stay in memory between questions."""
        self.book = reader
        self._merges = MergeCache(max_rows)

    def on(self, engine: sa.Engine) -> BudgetUseQueries:
        """A copy that answers through other connections to the same ledger; what is cached in memory is shared."""
        other = copy.copy(self)
        other.book = self.book.on(engine)
        return other

    def evaluation(self, connection: sa.Connection, queries: Sequence[BudgetQuery]) -> UsePass:
        """One evaluation of these questions in one snapshot; nothing may be asked of it outside their time ranges."""
        return UsePass(self.book, self._merges, connection, queries)

    def trim(self) -> None:
        """Drop what exceeds the limit of the cache."""
        self._merges.trim()

    def data_through(self) -> int:
        """The second up to which every node that reports has reported; 0 without a report."""
        with snapshot(self.book.engine) as connection:
            return data_through(node_spans(connection, self.book.cluster))

    def figures_through(self, through: int) -> int | None:
        """Up to which hour, at most the second `through`, hours have intensities of their own (own_figures.py)."""
        with snapshot(self.book.engine) as connection:
            return figures_through(connection, self.book, through)

    def budgets(self, queries: Sequence[BudgetQuery], most_workloads: int = _NAMED_WORKLOADS) -> list[BudgetAnswer]:
        """Each budget's answer, in order. One pass over the units serves all of them.

        Range by range, so that the memory depends on the rows of one time range, not on how many ranges are asked for.

        Raises:
            TooManyWorkloads: the answers would name more than `most_workloads`.
        """
        if not queries:
            return []
        answers: dict[int, BudgetAnswer] = {}
        named = 0
        with snapshot(self.book.engine) as connection:
            pass_ = self.evaluation(connection, queries)
            numbers = sorted(range(len(queries)), key=lambda number: common_range(queries[number]))
            for _, alike in groupby(numbers, key=lambda number: common_range(queries[number])):
                for number in alike:
                    answers[number] = _answer(queries[number], pass_)
                    named += len(answers[number].workloads)
                    if named > most_workloads:
                        raise TooManyWorkloads(f"the answers name more than {most_workloads} workloads: ask in parts")
                pass_.forget()
        self._merges.trim()
        return [answers[number] for number in range(len(queries))]


def common_range(query: BudgetQuery) -> tuple[int, int, int, int]:
    """What questions have in common that are answered from the same rows."""
    return query.start, query.end, query.wishes.settled_through, query.wishes.own_figures_through


def _answer(query: BudgetQuery, pass_: UsePass) -> BudgetAnswer:
    columns, wishes = BudgetColumns(query), query.wishes
    total, settled, own = [0] * COLUMNS, [0] * COLUMNS, [0] * COLUMNS
    factors: set[str] = set()
    workloads: dict[tuple[str, str], list[int]] = {}
    for selection, end in pass_.selections(query):
        sums = [total]
        if end <= wishes.settled_through:
            sums.append(settled)
        if end <= wishes.own_figures_through:
            sums.append(own)
        for figures in sums:
            for column, figure in enumerate(selection.figures):
                figures[column] += figure
        factors |= selection.factors
        if query.workloads:
            for row in selection.rows:
                use = workloads.setdefault((row.namespace, row.workload), [0, 0, 0])
                use[0] += columns.used_ug(row.figures)
                use[1] += columns.energy_uj(row.figures)
                if not columns.is_location:
                    use[2] += sum(row.figures[LOCATION_UG])
    used_ug, energy_uj, all_uj = columns.used_ug(total), columns.energy_uj(total), sum(total[ENERGY_UJ])
    most = nsmallest(query.workloads, workloads.items(), key=lambda item: (-item[1][0], item[0]))
    return BudgetAnswer(
        id=query.id,
        used_ug=used_ug,
        used_g=grams(used_ug),
        energy_uj=energy_uj,
        energy_kwh=kilowatt_hours(energy_uj),
        coverage_percent=pass_.coverage_percent(query.start, query.end),
        measured_percent=total[METERED_UJ] * 100 // all_uj if all_uj else 0,
        nodes_behind=pass_.nodes_behind(query),
        data_from=pass_.data_from(query.start, query.end),
        parts=columns.split(total),
        settled_ug=columns.used_ug(settled) if wishes.settled_through else None,
        settled_energy_uj=columns.energy_uj(settled) if wishes.settled_through else None,
        own_figures_ug=columns.used_ug(own) if wishes.own_figures_through else None,
        workloads=[
            WorkloadUse(
                namespace=namespace,
                workload=workload,
                used_ug=use[0],
                energy_uj=use[1],
                location_ug=None if columns.is_location else use[2],
            )
            for (namespace, workload), use in most
        ],
        factors=sorted(factors),
        pro_rata=pass_.pro_rata(query),
    )


class UsePass:
    """One evaluation in one snapshot: whatever does not differ between budgets is found once."""

    def __init__(
        self, reader: ValuedReader, merges: MergeCache, connection: sa.Connection, queries: Sequence[BudgetQuery]
    ) -> None:
        self._reader, self._merges, self._connection = reader, merges, connection
        self._spans = node_spans(connection, reader.cluster)
        self._through = data_through(self._spans)
        self._expected = expectations(connection, reader.cluster)
        first, last = min(query.start for query in queries), max(query.end for query in queries)
        self._plans = reader.plans(connection, first, min(last, self._through + _HOUR))
        self._loaded: dict[Key, ValuedUnit] = {}
        self._loaded_rows = 0
        self._merged: dict[tuple[int, int], list[MergedUnits]] = {}
        self._known_rows = self._new_rows = 0
        self._coverage: dict[tuple[int, int], int] = {}
        self._first_facts: dict[int, int | None] = {}
        self._behind: dict[int, list[frozenset[str]]] = {}
        self._instants = BudgetBoundaries(connection, queries)

    @property
    def revisions(self) -> Mapping[int, int]:
        """The hours with facts, and the revision of each."""
        return self._plans.revisions

    @property
    def through(self) -> int:
        """The second up to which every node that reports has reported; 0 without a report."""
        return self._through

    def selections(self, query: BudgetQuery) -> Iterator[tuple[SelectedGroups, int]]:
        """The groups that a budget counts, part by part of its span, and the end of their part.

        Its span is divided at `own_figures_through` and at `settled_through`.
        """
        # The cache is keyed by its digest, since a selector may be as long as a whole request.
        text = "" if query.selector is None else query.selector.model_dump_json()
        key = blake2b(text.encode(), digest_size=16).digest()
        end = min(query.end, self._through + _HOUR)
        inner = (query.wishes.own_figures_through, query.wishes.settled_through)
        borders = [query.start, *(max(query.start, min(border, end)) for border in sorted(inner)), end]
        for start, stop in pairwise(borders):
            for merged in self._of(start, stop) if start < stop else ():
                for namespace in dict.fromkeys(query.namespaces):
                    yield merged.select(self._load, namespace, query.selector, key), stop

    def coverage_percent(self, start: int, end: int) -> int:
        """Share of the node-time that was reported until now."""
        if (start, end) not in self._coverage:
            # Of a slice that is still open all that was reported lies before `through`.
            merged = self._of(start, min(end, self._through + _HOUR))
            reported_ms = sum(part.reported_ms(self._load) for part in merged)
            # A window counts where it starts, and none starts between a period's odd start and the next full
            # minute for certain: that time is not missing.
            since = -(-start // _LONGEST_WINDOW_SECONDS) * _LONGEST_WINDOW_SECONDS
            wanted_ms = expected_ms(self._expected, since, min(end, max(self._through, start)))
            self._coverage[(start, end)] = min(100, reported_ms * 100 // wanted_ms) if wanted_ms else 100
        return self._coverage[(start, end)]

    def nodes_behind(self, query: BudgetQuery) -> int:
        """How many nodes, with pods of the query's namespaces, fell silent before the end of a span that is over."""
        if query.end > self._through:  # of the present it says nothing yet
            return 0
        if query.end not in self._behind:
            self._behind[query.end] = silent_nodes(self._connection, self._reader.cluster, query.end)
        return sum(any(among(query.namespaces, name) for name in names) for names in self._behind[query.end])

    def pro_rata(self, query: BudgetQuery) -> list[int]:
        """Where the span starts or ends inside an hour whose facts are there and are not split at that instant."""
        hours = self._plans.revisions
        return [at for at in self._instants.uncut(query) if at < self._through and at - at % _HOUR in hours]

    def data_from(self, start: int, end: int) -> int:
        """When the first report of [start, end) begins, to the slice; 0 without any."""
        if start not in self._first_facts:
            self._first_facts[start] = first_fact(self._connection, self._reader.cluster, start, 2**62)
        first = self._first_facts[start]
        if first is None or first >= end:
            return 0
        return max(start, first, min((span.first_start for span in self._spans), default=0))

    def forget(self) -> None:
        """Drop what belongs to the time range that is answered, and what exceeds the limit of the cache.

        Rows that were cached before this pass do not count: many budgets would evict each other's ranges each minute.
        """
        self._new_rows += sum(merged.size for found in self._merged.values() for merged in found) - self._known_rows
        self._merged, self._known_rows = {}, 0
        self._plans.forget()
        if self._new_rows > self._merges.max_rows // 2:
            self._merges.trim()
            self._new_rows = 0
        if self._loaded_rows > _LOADED_ROWS:
            self._loaded, self._loaded_rows = {}, 0

    def _of(self, start: int, end: int) -> list[MergedUnits]:
        if (start, end) not in self._merged:
            found = list(self._merges.of(self._plans.units(start, end), start, end))
            self._known_rows += sum(merged.size for merged in found)
            self._merged[(start, end)] = found
        return self._merged[(start, end)]

    def _load(self, planned: PlannedUnit) -> ValuedUnit:
        unit = self._loaded.get(planned.key)
        if unit is None:
            unit = self._loaded[planned.key] = self._reader.unit(self._connection, *planned)
            self._loaded_rows += len(unit.rows)
        return unit
