"""An hour's first figure is use, whenever it comes; a revised figure is not. Whole months are played."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.settled_use import (
    FIGURES_WAIT_S,
    OwnFigures,
    SettledUse,
    own_figures_end,
    settled_hour_end,
)
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord, ReportedUse, UseEvaluation, evaluate_use
from carbonbudget_operator.budgets.verdict import Action, BudgetLimit, EnforcementTerms, State, Threshold

HOUR, DAY = 3600, 86_400
KWH_UJ, KILO = 3_600_000 * 10**6, 10**9
TERMS = EnforcementTerms(6 * HOUR)
MONTH = BudgetLimit(400 * KILO, Period(0, 30 * DAY), (Threshold(100, Action.BLOCK),), generation=1, counted_hash="a")
EVENING = {15: 150, 16: 212, 17: 275, 18: 337, 19: 400}  # g/kWh by the hour of the day; 150 at all other times


@dataclass
class Grid:
    """A source that publishes an hour's figure `lag_s` after its end, and the revised one at `revised_at`."""

    lag_s: int
    revised: dict[int, int] = field(default_factory=dict)  # by hour: g/kWh
    revised_at: int = 2**60
    away: tuple[int, int] = (0, 0)  # publishes nothing then, and all of it afterwards
    yearly: int = 300

    def published(self, hour: int, now: int) -> bool:
        at = hour + HOUR + self.lag_s
        start, end = self.away
        return now >= (max(at, end) if start <= at < end else at)

    def g_per_kwh(self, hour: int, now: int) -> int:
        for age in range(25):
            its = hour - age * HOUR
            if its < 0 or self.published(its, now):
                if now >= self.revised_at and its in self.revised:
                    return self.revised[its]
                return EVENING.get(its // HOUR % 24, 150)
        return self.yearly

    def figures_through(self, now: int) -> int:
        hour = max(0, now // HOUR * HOUR - 100 * HOUR)
        while hour + HOUR <= now and self.published(hour, now):
            hour += HOUR
        return hour


@dataclass
class Played:
    """A team uses 10 kWh in each of the five hours of the evening. A kilowatt-hour at 1 g/kWh is a gram."""

    grid: Grid
    kwh: dict[int, int] = field(default_factory=lambda: dict.fromkeys(EVENING, 10))  # by hour of the day
    record: EvaluationRecord | None = None
    made: UseEvaluation | None = None
    figures: int | None = 0

    def use(self, end: int, now: int) -> tuple[int, int]:
        used_ug = energy_uj = 0
        for hour in (day + HOUR * of for day in range(0, end, DAY) for of in self.kwh):
            if hour < end:
                kwh = self.kwh[hour // HOUR % 24]
                part = min(end - hour, HOUR)
                energy_uj += KWH_UJ * kwh * part // HOUR
                used_ug += kwh * self.grid.g_per_kwh(hour, now) * 10**6 * part // HOUR
        return used_ug, energy_uj

    def evaluate(self, now: int) -> UseEvaluation:
        """As the controller asks and compares: old borders to compare, new ones to record."""
        before = self.record.settled if self.record is not None else None
        new = max(settled_hour_end(MONTH.period, now), before.through if before else 0)
        known = new if self.figures is None else self.figures
        own = own_figures_end(new, known, before.own_through if before else 0)
        used_ug, energy_uj = self.use(now, now)
        settled = None
        if new:
            ug, uj = (used_ug, energy_uj) if new == now else self.use(new, now)
            settled = SettledUse(new, ug, uj, OwnFigures(own, self.use(own, now)[0]) if own < new else None)
        reported = ReportedUse(used_ug, 0, now, settled=settled)
        if before is not None:
            ug, uj = self.use(before.through, now)
            own_ug = self.use(before.own_through, now)[0] if before.own is not None else None
            reported = replace(reported, settled_ug=ug, settled_energy_uj=uj, own_figures_ug=own_ug)
        self.made = evaluate_use(MONTH, reported, None, now, TERMS, self.record)
        self.record = self.made.record
        self.figures = None if self.figures is None else self.grid.figures_through(now)
        return self.made

    def until(self, end: int, start: int = 900, step: int = 900) -> EvaluationRecord:
        for now in range(start, end, step):
            self.evaluate(now)
        assert self.record is not None
        return self.record


def exceeded_at(played: Played) -> int:
    for now in range(900, 30 * DAY, 900):
        if played.evaluate(now).record.verdict.state is State.EXCEEDED:
            return now
    raise AssertionError("the budget was never exceeded")


def _above(g_per_kwh: int) -> int:
    return sum(10 * (own - g_per_kwh) for own in EVENING.values())


@functools.cache
def _at_once() -> int:
    return exceeded_at(Played(Grid(0)))


@pytest.mark.parametrize("lag_hours", [0.25, 1, 2, 5])
def test_a_figure_that_comes_late_blocks_late_by_no_more_than_it_lags(lag_hours: float) -> None:
    lag_s = int(lag_hours * HOUR)
    at_once, late = _at_once(), exceeded_at(played := Played(Grid(lag_s)))
    assert at_once <= late <= at_once + lag_s + HOUR
    assert played.record is not None
    assert played.record.verdict.action is Action.BLOCK
    assert played.record.verdict.revised_ug == 0


def test_a_source_that_is_away_for_a_day_blocks_when_its_figures_come() -> None:
    played = Played(Grid(HOUR, away=(10 * DAY, 11 * DAY)))
    record = played.until(30 * DAY)
    assert (record.verdict.state, record.verdict.revised_ug) == (State.EXCEEDED, 0)


def test_an_hour_waits_two_days_for_its_figure_and_what_comes_later_is_a_revision() -> None:
    played = Played(Grid(HOUR, away=(10 * DAY, 20 * DAY), yearly=100))
    before = played.until(20 * DAY)
    assert before.settled is not None
    assert before.settled.through - before.settled.own_through == FIGURES_WAIT_S
    after = played.until(20 * DAY + HOUR, start=20 * DAY)
    assert after.verdict.revised_ug == (7 * _above(100) + _above(150)) * 10**6  # the last figure stood in for a day


def test_a_provider_that_revises_a_published_figure_tightens_nothing() -> None:
    revised = dict.fromkeys(range(2 * DAY, 3 * DAY, HOUR), 800)
    played = Played(Grid(2 * HOUR, revised, revised_at=5 * DAY))
    before = played.until(5 * DAY)
    after = played.until(5 * DAY + 1, start=5 * DAY)
    assert after.verdict.used_ug - before.verdict.used_ug == -_above(800) * 10**6
    assert after.verdict.revised_ug == after.verdict.used_ug - before.verdict.used_ug


def test_a_figure_below_the_one_that_stood_in_lets_go() -> None:
    night = Played(Grid(2 * HOUR), kwh={20: 600})  # right after the peak, whose 400 g/kWh stand in
    high = night.until(22 * HOUR)
    assert high.verdict.used_ug > 600 * 300 * 10**6
    low = night.until(24 * HOUR, start=22 * HOUR)
    assert (low.verdict.used_ug, low.verdict.revised_ug) == (600 * 150 * 10**6, 0)


def test_a_server_that_does_not_say_it_is_evaluated_as_before() -> None:
    """All settled hours count as valued by their own figures then, so what is valued again is set aside."""
    played = Played(Grid(2 * HOUR), figures=None)
    record = played.until(2 * DAY)
    assert record.settled is not None
    assert record.settled.own is None
    assert record.verdict.revised_ug > 0


def test_a_controller_that_starts_again_sets_no_first_figure_aside() -> None:
    played = Played(Grid(2 * HOUR))
    for now in range(900, 3 * DAY, 900):
        played.figures = 0 if now % (7 * 900) == 0 else played.figures  # it knows nothing of the server yet
        assert played.evaluate(now).record.verdict.revised_ug == 0


use_by_hour = st.lists(st.integers(0, 500), min_size=24, max_size=24).map(lambda kwh: dict(enumerate(kwh)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5 * 4), use_by_hour, st.integers(1, 8))
def test_whatever_the_lag_no_first_figure_is_set_aside(quarters: int, kwh: dict[int, int], step: int) -> None:
    played = Played(Grid(quarters * 900), kwh)
    record = played.until(2 * DAY, start=step * 900, step=step * 900)
    assert record.verdict.revised_ug == 0
    assert record.settled is not None
    known_ug, _ = played.use(record.settled.own_through, 2 * DAY)
    assert record.verdict.used_ug >= known_ug


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5 * 4), use_by_hour, st.dictionaries(st.integers(0, 23), st.integers(400, 900), min_size=1))
def test_whatever_the_lag_a_revision_upwards_moves_no_threshold(
    quarters: int, kwh: dict[int, int], changed: dict[int, int]
) -> None:
    """The first day is revised on the third: from then on the use without it is that of a grid that revises nothing."""
    revised = {hour * HOUR: g_per_kwh for hour, g_per_kwh in changed.items()}
    played = Played(Grid(quarters * 900, revised, revised_at=2 * DAY + 12 * HOUR), kwh)
    twin = Played(Grid(quarters * 900), kwh)
    for now in range(HOUR, 3 * DAY, HOUR):
        one, other = played.evaluate(now), twin.evaluate(now)
        assert one.record.verdict.use.unrevised_ug == other.record.verdict.used_ug
