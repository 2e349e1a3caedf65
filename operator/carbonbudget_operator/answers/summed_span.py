"""The sums of one span of a target's question, and the answer that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.answers.budget_use import BudgetColumns
from carbonbudget_operator.answers.target_parts import SpanPart, left_out_namespaces, share_percent, summed
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, WorkloadUse
from carbonbudget_operator.api.target_query_bodies import TargetQuery, TargetSpanAnswer
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, ENERGY_UJ, METERED_UJ

_SHOWN_NAMESPACES: Final = 5


@dataclass(slots=True)
class SummedSpan:
    """One span of one question; `end` is cut to what is reported."""

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
    methods: list[int] = field(default_factory=list)  # numbers of the answers' methods

    @property
    def hours(self) -> int:
        """Whole hours up to what is reported."""
        return (self.end - self.start) // HOUR

    @property
    def known_hours(self) -> int:
        """The mean of the namespaces, rounded down: one alone cannot make the hours of all others unknown."""
        return self.hours - -(-self.lacking // self.selections) if self.selections else self.hours

    def add_namespace_hours(self, names: tuple[str, ...], known: bytes) -> None:
        """One namespace's hours, or none's. Those of which all hours are known are one part, summed once."""
        self.selections += 1
        self.lacking += known.count(0)
        if self.parts and self.parts[-1].known == known and 0 not in known:
            self.parts[-1].names += names
        else:
            self.parts.append(SpanPart(names, known))

    @property
    def is_first(self) -> bool:
        """Whether it is the first of its question's spans, whose workloads are named."""
        first = self.asked.spans[0]
        return (self.query.start, self.query.end) == (first.start, first.end)

    def end_of(self, names: tuple[str, ...]) -> int:
        """Up to when a part of it counts: to its end, but for a namespace that does not count any more."""
        if len(names) != 1 or names[0] not in self.asked.until:
            return self.end
        return max(self.start, min(self.end, self.asked.until[names[0]]))

    def answer(self, start: int, end: int) -> TargetSpanAnswer:
        """The figures, as the answer to the span [start, end) that was asked for."""
        figures, whole = summed(part.figures for part in self.parts), summed(part.whole for part in self.parts)
        left_out = left_out_namespaces(self.parts, self.columns.used_ug)
        all_uj = sum(figures[ENERGY_UJ])
        return TargetSpanAnswer.model_construct(
            start=start,
            end=end,
            emissions_ug=self.columns.used_ug(figures),
            embodied_ug=figures[EMBODIED_UG] if self.columns.embodied else 0,
            energy_uj=self.columns.energy_uj(figures),
            units_micro=self.units_micro,
            hours=self.hours,
            known_hours=self.known_hours,
            measured_percent=figures[METERED_UJ] * 100 // all_uj if all_uj else 0,
            coverage_percent=self.coverage_percent,
            missing=self.missing,
            all_emissions_ug=self.columns.used_ug(whole),
            known_percent=share_percent(
                (self.columns.used_ug(figures), self.columns.used_ug(whole)),
                (self.columns.energy_uj(figures), self.columns.energy_uj(whole)),
                (self.known_hours, self.hours),
            ),
            left_out=sorted(left_out[:_SHOWN_NAMESPACES]),
            left_out_count=len(left_out),
            methods=self.methods,
        )
