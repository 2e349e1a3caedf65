"""What the pods of targets emitted in each span, and how many units they served in the same hours.

A figure per unit is only true if emissions and units are of the same hours. A span is therefore split into the runs of
hours whose units are known, by namespace; the use of the selected pods in those runs is added up, and so are the units.
An hour of a namespace whose units are not known adds neither. So a namespace that has no counter weighs as much as it
emits, and no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import nsmallest
from typing import Final, TypeVar

import sqlalchemy as sa

from carbonbudget_operator.answers.budget_use import BudgetColumns, BudgetUseQueries, UsePass
from carbonbudget_operator.answers.selected_units import DAY, SelectedUnits, UnitHours, UnitSelection, runs_of
from carbonbudget_operator.answers.target_parts import (
    SpanPart,
    left_out_namespaces,
    share_percent,
    summed,
)
from carbonbudget_operator.answers.told_reason import told_reason
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, WorkloadUse
from carbonbudget_operator.api.target_query_bodies import TargetAnswer, TargetAnswers, TargetQuery, TargetSpanAnswer
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger.store import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, ENERGY_UJ, METERED_UJ
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE, is_special

# Of one span: with more, hours are added up one by one, and those are the same hours for all targets.
_MAX_RUNS: Final = 24
_SHOWN_NAMESPACES: Final = 5
_DAYS_AT_ONCE: Final = 50_000  # of units in memory, besides those that are remembered: some 900 bytes each
_OTHERS: Final = bytes([1]) + bytes(255)  # for bytes.translate: the hours that are not known
# The digest of a source's expression, as counters are registered under it.
_T = TypeVar("_T")
Digest = Callable[[ClusterUnitSource], str]


@dataclass(slots=True)
class _Span:
    """One span of one question; `end` is cut to what is reported."""

    number: int
    asked: TargetQuery
    start: int
    end: int
    query: BudgetQuery
    columns: BudgetColumns
    parts: list[SpanPart] = field(default_factory=list)
    units_micro: int = 0
    selections: int = 0
    lacking: int = 0  # of the selections' hours: units are not known
    missing: str = ""
    coverage_percent: int = 100
    namespaces: tuple[str, ...] = ()  # those that have pods of the selection in the span
    workloads: list[WorkloadUse] = field(default_factory=list)  # of a question's first span

    @property
    def hours(self) -> int:
        """Whole hours up to what is reported."""
        return (self.end - self.start) // HOUR

    @property
    def known_hours(self) -> int:
        """The mean of the namespaces, rounded down: one alone cannot make the hours of all others unknown."""
        return self.hours - -(-self.lacking // self.selections) if self.selections else self.hours

    def add_part(self, names: tuple[str, ...], known: bytes) -> None:
        """One namespace's hours, or none's. Those of which all hours are known are one part, summed once."""
        self.selections += 1
        self.lacking += known.count(0)
        if self.parts and self.parts[-1].known == known and 0 not in known:
            self.parts[-1].names += names
        else:
            self.parts.append(SpanPart(names, known))


class TargetFigures:
    """Answers questions about targets. Threads share it."""

    def __init__(self, queries: BudgetUseQueries, units: SelectedUnits, digest: Digest) -> None:
        self._queries, self._units, self._digest = queries, units, digest

    def answers(self, asked: Sequence[TargetQuery]) -> TargetAnswers:
        """The figures of each target's spans, in order. Spans are whole hours, and their end is after their start."""
        spans = [(query, span) for query in asked for span in query.spans]
        if not spans:
            through = self._queries.data_through()
            return TargetAnswers(data_through=through, answers=[TargetAnswer(id=query.id, spans=[]) for query in asked])
        first, last = min(span.start for _, span in spans), max(span.end for _, span in spans)
        with snapshot(self._queries.book.engine) as connection:
            pass_ = self._queries.evaluation(connection, [_whole(asked[0], first, last)])
            limit = pass_.through - pass_.through % HOUR
            made = [
                _Span(number, query, span.start, max(span.start, min(span.end, limit)),
                      _whole(query, span.start, span.end), BudgetColumns(_whole(query, span.start, span.end)))
                for number, (query, span) in enumerate(spans)
            ]  # fmt: skip
            reported = [one for one in made if one.end > one.start]
            self._find_namespaces(pass_, reported)
            self._add_figures(pass_, reported, connection)
        self._queries.trim()
        return TargetAnswers(data_through=pass_.through, answers=_in_order(asked, made))

    @staticmethod
    def _find_namespaces(pass_: UsePass, spans: Iterable[_Span]) -> None:
        """Where a target has several namespaces, those count that have pods of it: others need no counter."""
        for (start, end), alike in _by_range((one.start, one.end, one) for one in spans):
            for one in alike:
                names = one.asked.namespaces
                if len(names) > 1 or names[0] == EVERY_NAMESPACE:
                    part = one.query.model_copy(update={"start": start, "end": end})
                    found = {row.namespace for selection, _ in pass_.selections(part) for row in selection.rows}
                    one.namespaces = tuple(sorted(name for name in found if not is_special(name)))
                else:
                    one.namespaces = tuple(names)
            pass_.forget()

    def _units_of(
        self, pass_: UsePass, spans: Iterable[_Span], connection: sa.Connection
    ) -> Iterator[tuple[_Span, tuple[str, ...], UnitHours]]:
        """Each span with its namespaces and their hours, read for some selections at a time.

        A target of a thousand namespaces with a baseline of a year has 366,000 days: together they would take more
        memory than the server has.
        """
        wanted: dict[Hashable, tuple[UnitSelection, set[int], list[tuple[_Span, tuple[str, ...]]]]] = {}
        for one in spans:
            days = range(one.start // DAY, -(-one.end // DAY))
            for selection, names in self._selections(one):
                found = wanted.setdefault(selection.key, (selection, set(), []))
                found[1].update(days)
                found[2].append((one, names))
        batch: list[Hashable] = []
        size = 0
        for number, (key, (_, days_of, _)) in enumerate(wanted.items(), 1):
            batch.append(key)
            size += len(days_of)
            if size < _DAYS_AT_ONCE and number < len(wanted):
                continue
            asked = {its: wanted[its][:2] for its in batch}
            hours = self._units.read(connection, asked, pass_.revisions, pass_.through - pass_.through % HOUR)
            for its in batch:
                yield from ((one, names, hours[its]) for one, names in wanted[its][2])
            batch, size = [], 0

    def _selections(self, one: _Span) -> Iterator[tuple[UnitSelection, tuple[str, ...]]]:
        """Where the span's units are counted, and the namespaces whose hours that settles.

        Each namespace has hours of its own: what one's pods expose settles no hour of the others.
        """
        source, selector = one.asked.source, one.asked.selector
        text = "" if selector is None else selector.model_dump_json()
        key = blake2b(text.encode(), digest_size=16).digest()
        if source.client is not None:
            for name in one.namespaces:
                yield UnitSelection(("", ""), source.client, (name,), selector, key), (name,)
            return
        try:
            digest = self._digest(source)
        except ValueError as error:  # no counter can have this name: it counts nothing
            one.missing = str(error)
            digest = ""
        if source.query is not None:
            yield UnitSelection(("", digest), "", (), selector, key), ()
        for name in one.namespaces:
            counter = ("" if source.query is not None else name, digest)
            yield UnitSelection(counter, "", (name,), selector, key), (name,)

    def _add_figures(self, pass_: UsePass, spans: Sequence[_Span], connection: sa.Connection) -> None:
        pieces: list[tuple[int, int, tuple[_Span, SpanPart | None, tuple[list[int], ...]]]] = []
        for one, names, hours in self._units_of(pass_, spans, connection):
            end = _end_of(one, names)
            known = hours.known(one.start, end)
            one.units_micro += hours.units_micro(one.start, end)
            if 0 in known:
                one.missing = one.missing or told_reason(hours.reason(one.start, end))
            if not names and one.namespaces:
                continue  # what names no pods: it has no emissions of its own
            one.add_part(names, known)
        for one in spans:
            for part in one.parts:
                if not part.names:
                    continue  # no namespace has pods of it
                unknown = part.known.translate(_OTHERS)
                for hours_of, rows in ((part.known, [part.figures, part.whole]), (unknown, [part.whole])):
                    runs = runs_of(hours_of, one.start)
                    for first, last in runs if len(runs) <= _MAX_RUNS else runs_of(hours_of, one.start, longest=1):
                        pieces.append((first, last, (one, part, tuple(rows))))
        for one in spans:
            pieces.append((one.start, one.end, (one, None, ())))  # for the coverage of the whole span
        for (start, end), alike in _by_range(pieces):
            for one, its, sums in alike:
                if its is None:
                    one.coverage_percent = pass_.coverage_percent(start, end)
                    one.workloads = _largest_workloads(pass_, one)
                    continue
                asked = one.query.model_copy(update={"start": start, "end": end, "namespaces": list(its.names)})
                for groups, _ in pass_.selections(asked):
                    for column, figure in enumerate(groups.figures):
                        for figures in sums:
                            figures[column] += figure
            pass_.forget()


def _largest_workloads(pass_: UsePass, one: _Span) -> list[WorkloadUse]:
    """Those that emitted most in the span, as many as the question asks for; none for spans after its first."""
    most, names = one.asked.workloads, [name for name in one.namespaces if name not in one.asked.until]
    if not most or not names or (one.query.start, one.query.end) != _first_span(one.asked):
        return []
    found: dict[tuple[str, str], list[int]] = {}
    for groups, _ in pass_.selections(one.query.model_copy(update={"end": one.end, "namespaces": names})):
        for row in groups.rows:
            use = found.setdefault((row.namespace, row.workload), [0, 0])
            use[0] += one.columns.used_ug(row.figures)
            use[1] += one.columns.energy_uj(row.figures)
    largest = nsmallest(most, found.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        WorkloadUse(namespace=namespace, workload=workload, used_ug=use[0], energy_uj=use[1])
        for (namespace, workload), use in largest
    ]


def _first_span(query: TargetQuery) -> tuple[int, int]:
    return query.spans[0].start, query.spans[0].end


def _whole(query: TargetQuery, start: int, end: int) -> BudgetQuery:
    return BudgetQuery.model_construct(
        id=query.id, namespaces=query.namespaces, selector=query.selector, start=start, end=end,
        accounting=query.accounting, include=query.include, settled_through=0, workloads=0,
    )  # fmt: skip


def _end_of(one: _Span, names: tuple[str, ...]) -> int:
    """Up to when a part of a span counts: to its end, but for a namespace that does not count any more."""
    if len(names) != 1 or names[0] not in one.asked.until:
        return one.end
    return max(one.start, min(one.end, one.asked.until[names[0]]))


def _by_range(pieces: Iterable[tuple[int, int, _T]]) -> Iterator[tuple[tuple[int, int], list[_T]]]:
    """Pieces of the same time range together, in order of time, so that its rows are summed up once."""
    found: dict[tuple[int, int], list[_T]] = defaultdict(list)
    for start, end, piece in pieces:
        found[(start, end)].append(piece)
    yield from sorted(found.items(), key=lambda item: item[0])


def _in_order(asked: Sequence[TargetQuery], spans: Sequence[_Span]) -> list[TargetAnswer]:
    answers, following = [], iter(spans)
    for query in asked:
        its = [next(following) for _ in query.spans]
        answers.append(
            TargetAnswer.model_construct(
                id=query.id,
                spans=[_answer(one, span.start, span.end) for one, span in zip(its, query.spans, strict=True)],
                workloads=its[0].workloads if its else [],
            )
        )
    return answers


def _answer(one: _Span, start: int, end: int) -> TargetSpanAnswer:
    figures, whole = summed(part.figures for part in one.parts), summed(part.whole for part in one.parts)
    left_out = left_out_namespaces(one.parts, one.columns.used_ug)
    all_uj = sum(figures[ENERGY_UJ])
    return TargetSpanAnswer.model_construct(
        start=start,
        end=end,
        emissions_ug=one.columns.used_ug(figures),
        embodied_ug=figures[EMBODIED_UG] if one.columns.embodied else 0,
        energy_uj=one.columns.energy_uj(figures),
        units_micro=one.units_micro,
        hours=one.hours,
        known_hours=one.known_hours,
        measured_percent=figures[METERED_UJ] * 100 // all_uj if all_uj else 0,
        coverage_percent=one.coverage_percent,
        missing=one.missing,
        all_emissions_ug=one.columns.used_ug(whole),
        known_percent=share_percent(
            (one.columns.used_ug(figures), one.columns.used_ug(whole)),
            (one.columns.energy_uj(figures), one.columns.energy_uj(whole)),
            (one.known_hours, one.hours),
        ),
        left_out=sorted(left_out[:_SHOWN_NAMESPACES]),
        left_out_count=len(left_out),
    )
