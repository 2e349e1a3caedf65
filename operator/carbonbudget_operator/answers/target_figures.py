"""What the pods of targets emitted in each span, and how many units they served in the same hours.

A figure per unit is only true if emissions and units are of the same hours. A span is therefore split into the runs of
hours whose units are known, by namespace; the use of the selected pods in those runs is added up, and so are the units.
An hour of a namespace whose units are not known adds neither. So a namespace that has no counter weighs as much as it
emits, and no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import Final, TypeVar

import sqlalchemy as sa

from carbonbudget_operator.answers.budget_use import BudgetColumns, BudgetUseQueries, UsePass
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.settings_by_hour import SettingsByHour
from carbonbudget_operator.answers.summed_span import SummedSpan
from carbonbudget_operator.answers.target_parts import SpanPart
from carbonbudget_operator.answers.target_units import Digest, TargetUnits
from carbonbudget_operator.answers.told_reason import told_reason
from carbonbudget_operator.answers.unit_hours import runs_of
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, BudgetWishes, WorkloadUse
from carbonbudget_operator.api.target_query_bodies import TargetAnswer, TargetAnswers, TargetQuery
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE, is_special
from carbonbudget_operator.targets.counted_method import Method

# Of one span: with more, hours are added up one by one, and those are the same hours for all targets.
_MAX_RUNS: Final = 24
_OTHERS: Final = bytes([1]) + bytes(255)  # for bytes.translate: the hours that are not known
_T = TypeVar("_T")


class TargetFigures:
    """Answers questions about targets. Threads share it."""

    def __init__(self, queries: BudgetUseQueries, units: SelectedUnits, digest: Digest) -> None:
        self._queries, self._units = queries, TargetUnits(units, digest)

    def answers(self, asked: Sequence[TargetQuery]) -> TargetAnswers:
        """The figures of each target's spans, in order. Spans are whole hours, and their end is after their start."""
        spans = [(query, span) for query in asked for span in query.spans]
        if not spans:
            through = self._queries.data_through()
            return TargetAnswers(data_through=through, answers=_in_order(asked, ()))
        first, last = min(span.start for _, span in spans), max(span.end for _, span in spans)
        with snapshot(self._queries.book.engine) as connection:
            pass_ = self._queries.evaluation(connection, [_whole(asked[0], first, last)])
            limit = pass_.through - pass_.through % HOUR
            made = [
                SummedSpan(query, span.start, max(span.start, min(span.end, limit)),
                      _whole(query, span.start, span.end), BudgetColumns(_whole(query, span.start, span.end)))
                for query, span in spans
            ]  # fmt: skip
            reported = [one for one in made if one.end > one.start]
            self._find_namespaces(pass_, reported)
            self._add_figures(pass_, reported, connection, limit)
            methods = _add_methods(SettingsByHour(connection, self._queries.book, pass_.revisions), reported)
        self._queries.trim()
        return TargetAnswers(
            data_through=pass_.through, answers=_in_order(asked, made), methods=[list(one) for one in methods]
        )

    @staticmethod
    def _find_namespaces(pass_: UsePass, spans: Iterable[SummedSpan]) -> None:
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

    def _add_figures(self, pass_: UsePass, spans: Sequence[SummedSpan], connection: sa.Connection, limit: int) -> None:
        pieces: list[tuple[int, int, tuple[SummedSpan, SpanPart | None, tuple[list[int], ...]]]] = []
        for one, names, hours in self._units.read(spans, connection, pass_.revisions, limit):
            end = one.end_of(names)
            known = hours.known(one.start, end)
            one.units_micro += hours.units_micro(one.start, end)
            if 0 in known:
                one.missing = one.missing or told_reason(hours.reason(one.start, end))
            if not names and one.namespaces:
                continue  # what names no pods: it has no emissions of its own
            one.add_namespace_hours(names, known)
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


def _add_methods(by_hour: SettingsByHour, spans: Iterable[SummedSpan]) -> list[Method]:
    """Give each span the numbers of its methods; returns the methods, each once: thousands of spans share them."""
    numbers: dict[Method, int] = {}
    for (start, end), alike in _by_range((one.start, one.end, one) for one in spans):
        found = [numbers.setdefault(method, len(numbers)) for method in by_hour.methods(start, end)]
        for one in alike:
            one.methods = found
    return list(numbers)


def _largest_workloads(pass_: UsePass, one: SummedSpan) -> list[WorkloadUse]:
    """The workloads that emitted most in the span, as many as the question asks for; none after its first span."""
    most, names = one.asked.wishes.workloads, [name for name in one.namespaces if name not in one.asked.until]
    if not most or not names or not one.is_first:
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


def _whole(query: TargetQuery, start: int, end: int) -> BudgetQuery:
    return BudgetQuery.model_construct(
        id=query.id, namespaces=query.namespaces, selector=query.selector, start=start, end=end,
        accounting=query.accounting, include=query.include, wishes=BudgetWishes(), workloads=0,
    )  # fmt: skip


def _by_range(pieces: Iterable[tuple[int, int, _T]]) -> Iterator[tuple[tuple[int, int], list[_T]]]:
    """Pieces of the same time range together, in order of time, so that its rows are summed up once."""
    found: dict[tuple[int, int], list[_T]] = defaultdict(list)
    for start, end, piece in pieces:
        found[(start, end)].append(piece)
    yield from sorted(found.items(), key=lambda item: item[0])


def _in_order(asked: Sequence[TargetQuery], spans: Sequence[SummedSpan]) -> list[TargetAnswer]:
    answers, following = [], iter(spans)
    for query in asked:
        its = [next(following) for _ in query.spans]
        answers.append(
            TargetAnswer.model_construct(
                id=query.id,
                spans=[one.answer(span.start, span.end) for one, span in zip(its, query.spans, strict=True)],
                workloads=(its[0].workloads if its else []) if query.wishes.workloads else None,
            )
        )
    return answers
