"""The energy of a pod is divided among its spans: what each owns, by which weights, and that it always adds up."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spans.worlds import (
    MINUTE,
    NOON,
    divided_energy,
    energy_of,
    instants,
    minute,
    span,
    span_lists,
    window_lists,
)

from carbonbudget_operator.spans import span_division
from carbonbudget_operator.spans.innermost_spans import MAX_OPEN, InnermostSpans
from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_division import Division, divide
from carbonbudget_operator.spans.span_record import Span


def joules(division_spans: object, span_id: str) -> tuple[float, float]:
    energy = division_spans[span_id]  # type: ignore[index]
    return energy.energy_uj / 10**6, energy.inclusive_energy_uj / 10**6


@given(window_lists(), span_lists())
def test_spans_and_rest_add_up_to_the_windows_under_any_nesting_overlap_and_weights(
    windows: list[PodWindow], spans: list[Span]
) -> None:
    division = divide(windows, spans)
    assert divided_energy(division) == energy_of(windows)
    assert all(amount >= 0 for its in division.spans.values() for amount in its.exclusive_uj.values())
    by_hour = [(sum(hour.exclusive_uj.values()) + hour.rest_uj) for hour in division.hours.values()]
    assert sum(by_hour) == sum(energy_of(windows).values())
    time_ms = sum(sum(hour.exclusive_ms.values()) + hour.rest_ms for hour in division.hours.values())
    assert time_ms == sum(window.end_ms - window.start_ms for window in windows)


@given(window_lists(), span_lists())
def test_the_hours_of_a_span_add_up_to_it(windows: list[PodWindow], spans: list[Span]) -> None:
    division = divide(windows, spans)
    for span_id, energy in division.spans.items():
        hours = division.hours.values()
        assert sum(hour.exclusive_uj.get(span_id, 0) for hour in hours) == energy.energy_uj
        assert sum(hour.inclusive_uj.get(span_id, 0) for hour in hours) == energy.inclusive_energy_uj
        assert sum(hour.inclusive_ms.get(span_id, 0) for hour in hours) == energy.covered_ms


@given(window_lists(), span_lists())
def test_an_hour_is_divided_in_the_same_way_alone_as_with_others(windows: list[PodWindow], spans: list[Span]) -> None:
    """An answer about some hours reads the spans that touch these hours and no others."""
    windows = [its for its in windows if its.start_ms // HOUR_MS == (its.end_ms - 1) // HOUR_MS]
    for hour_ms, expected in divide(windows, spans).hours.items():
        end_ms = hour_ms + HOUR_MS
        inside = [its for its in windows if hour_ms <= its.start_ms < end_ms]
        touching = [its for its in spans if its.end_ms > hour_ms and its.start_ms < end_ms]
        alone = divide(inside, touching).hours[hour_ms]
        assert alone.rest_uj == expected.rest_uj
        assert {its.id: alone.exclusive_uj[its.id] for its in touching} == {
            its.id: expected.exclusive_uj[its.id] for its in touching
        }


def test_readings_of_another_hour_decide_nothing() -> None:
    """`c` has no readings; those of `a`, in the hour before, do not tell what was used in its time."""
    windows = [minute(59, 60, cpu_s=60), minute(60, 60, cpu_s=60)]
    second = [span("b", 3610, 3620, cpu=(20, 30)), span("c", 3600, 3610)]
    together = divide(windows, [span("a", 3540, 3550, cpu=(0, 10)), *second])
    assert joules(together.spans, "c") == joules(divide(windows[1:], second).spans, "c") == (10, 10)


@given(window_lists(), span_lists())
def test_no_span_owns_more_than_lies_inside_it(windows: list[PodWindow], spans: list[Span]) -> None:
    division = divide(windows, spans)
    for energy in division.spans.values():
        for domain, inclusive_uj in energy.inclusive_uj.items():
            assert energy.exclusive_uj[domain] <= inclusive_uj <= energy_of(windows)[domain]


@given(window_lists(), span_lists(), st.randoms(use_true_random=False))
def test_neither_the_order_of_spans_nor_that_of_windows_matters(
    windows: list[PodWindow], spans: list[Span], chance: random.Random
) -> None:
    expected = divide(windows, spans)
    chance.shuffle(windows)
    chance.shuffle(spans)
    assert divide(windows, spans) == expected


@given(window_lists(), span_lists(6), instants, instants)
def test_a_span_that_is_added_gives_others_energy_only_of_spans_that_it_lies_in(
    windows: list[PodWindow], spans: list[Span], start_ms: int, end_ms: int
) -> None:
    """A span around it is innermost no more: those that shared with that one share with one less."""
    spans = [Span(its.id, "step", None, its.start_ms, its.end_ms) for its in spans]  # no counters: time decides
    before = divide(windows, spans)
    after = divide(windows, [*spans, Span("new", "step", None, start_ms, end_ms)])
    around = {
        its.id
        for its in spans
        if its.start_ms <= start_ms and its.end_ms >= end_ms and (its.start_ms, its.end_ms) != (start_ms, end_ms)
    }
    rounding_uj = 1_000  # a microjoule for each piece and domain
    for its in spans:
        if its.id in around or not around:
            assert after.spans[its.id].energy_uj <= before.spans[its.id].energy_uj + rounding_uj
    assert sum(after.rest_uj.values()) <= sum(before.rest_uj.values()) + rounding_uj


@given(span_lists(10), instants)
def test_the_innermost_spans_are_those_that_contain_no_other_open_one(spans: list[Span], at_ms: int) -> None:
    sweep = InnermostSpans(spans)
    for edge in sorted({edge for its in spans for edge in (its.start_ms, its.end_ms) if edge <= at_ms}):
        sweep.move_to(edge)
    sweep.move_to(at_ms)
    is_open = [its for its in spans if its.start_ms <= at_ms < its.end_ms]

    def contains(outer: Span, inner: Span) -> bool:
        bounds, others = (outer.start_ms, outer.end_ms), (inner.start_ms, inner.end_ms)
        return bounds != others and bounds[0] <= others[0] and bounds[1] >= others[1]

    expected = [its.id for its in is_open if not any(contains(its, other) for other in is_open)]
    assert sweep.ids == sorted(expected)


def test_the_worked_example_of_the_design_page() -> None:
    """Two minutes of 60 J: an epoch of 90 s with two steps inside, which overlap for 10 s."""
    spans = [span("epoch", 0, 90), span("a", 10, 40), span("b", 30, 70)]
    division = divide([minute(0, 60), minute(1, 60)], spans)
    assert joules(division.spans, "epoch") == (30, 90)
    assert joules(division.spans, "a") == (25, 30)
    assert joules(division.spans, "b") == (35, 40)
    assert division.rest_uj == {"cpu": 30 * 10**6}


def test_counters_at_the_edges_divide_a_window_and_what_they_leave_is_outside() -> None:
    """40 of the minute's 50 CPU seconds lie in the span; the 10 others before and after it, by time."""
    division = divide([minute(0, 100, cpu_s=50)], [span("a", 30, 40, cpu=(1000, 1040))])
    assert joules(division.spans, "a") == (80, 80)
    assert division.rest_uj == {"cpu": 20 * 10**6}
    assert division.spans["a"].resolution == "weighted"


def test_time_between_two_spans_has_what_the_counter_grew_there() -> None:
    spans = [span("a", 0, 20, cpu=(0, 30)), span("b", 40, 60, cpu=(40, 60))]
    division = divide([minute(0, 60, cpu_s=60)], spans)
    assert joules(division.spans, "a") == (30, 30)
    assert joules(division.spans, "b") == (20, 20)
    assert division.rest_uj == {"cpu": 10 * 10**6}


def test_idle_energy_is_divided_by_time() -> None:
    division = divide([minute(0, 0, cpu_s=10, idle=60)], [span("a", 0, 15, cpu=(0, 10))])
    assert joules(division.spans, "a") == (15, 15)


def test_claims_above_the_measured_time_are_bounded_by_it() -> None:
    """Twelve seconds claimed of ten: the span has all of the minute's energy, never more."""
    division = divide([minute(0, 60, cpu_s=10)], [span("a", 0, 15, cpu=(0, 12))])
    assert joules(division.spans, "a") == (60, 60)


@pytest.mark.parametrize(
    "cpu",
    [None, (50, 10), (0, 10**6), (0, 0)],
    ids=["missing", "going back", "far more than measured", "none, all used"],
)
def test_counters_that_cannot_be_true_leave_the_window_to_time_or_to_the_rest(cpu: tuple[int, int] | None) -> None:
    division = divide([minute(0, 60, cpu_s=30)], [span("a", 0, 15, cpu=cpu)])
    assert joules(division.spans, "a")[0] == (0 if cpu == (0, 0) else 15)
    assert division.spans["a"].resolution == ("weighted" if cpu == (0, 0) else "window")


def test_a_counter_that_was_reset_between_two_spans_leaves_that_time_to_what_is_left() -> None:
    spans = [span("a", 0, 20, cpu=(900, 910)), span("b", 40, 60, cpu=(0, 20))]
    division = divide([minute(0, 60, cpu_s=60)], spans)
    assert (joules(division.spans, "a")[0], joules(division.spans, "b")[0]) == (10, 20)
    assert division.rest_uj == {"cpu": 30 * 10**6}


def test_a_gpu_goes_by_its_own_counter_without_its_idle_energy() -> None:
    """100 J of a GPU are idle and go by time; the counter saw 130 J in the first half, of which 50 were idle."""
    window = PodWindow(NOON, NOON + MINUTE, {"gpu:0": 100 * 10**6}, {"gpu:0": 100 * 10**6}, 0)
    spans = [Span("a", "step", 1, NOON, NOON + MINUTE // 2, None, (7_000_000, 137_000_000))]
    division = divide([window], spans)
    assert joules(division.spans, "a") == (130, 130)
    assert division.spans["a"].resolution == "weighted"


def test_a_span_of_whole_windows_needs_no_weights() -> None:
    division = divide([minute(0, 60), minute(1, 80), minute(2, 90)], [span("a", 60, 120)])
    assert joules(division.spans, "a") == (80, 80)
    assert division.spans["a"].resolution == "window"


def test_a_span_without_windows_or_on_hourly_ones_is_prorated() -> None:
    hour = PodWindow(NOON, NOON + HOUR_MS, {"cpu": 3600}, {}, 0, hourly=True)
    assert divide([], [span("a", 0, 60)]).spans["a"].resolution == "prorated"
    division = divide([hour], [span("a", 60, 120)])
    assert (division.spans["a"].energy_uj, division.spans["a"].resolution) == (60, "prorated")


def test_an_empty_a_reversed_and_a_year_long_span_cost_and_own_what_they_should() -> None:
    year = 365 * 86_400
    division = divide([minute(0, 60)], [span("empty", 10, 10), span("back", 50, 20), span("year", -year, year)])
    assert (joules(division.spans, "empty"), joules(division.spans, "back")) == ((0, 0), (0, 0))
    assert joules(division.spans, "year") == (60, 60)
    assert len(division.hours) == 1


def test_an_empty_and_a_reversed_span_cut_no_window() -> None:
    windows, whole = [minute(0, 7, cpu_s=3)], span("a", 0, 60)
    expected = divide(windows, [whole]).spans["a"]
    assert divide(windows, [whole, span("empty", 10, 10), span("back", 50, -9000)]).spans["a"] == expected
    assert divide([], [span("back", 50, 20)]).spans["back"].covered_ms == 0


def test_spans_beyond_the_most_at_one_instant_own_nothing_and_are_listed() -> None:
    spans = [span(f"s{number:04}", 0, 60 - number / 1000) for number in range(10 * MAX_OPEN)]
    division = divide([minute(0, 60)], spans)
    assert len(division.uncounted) == 9 * MAX_OPEN
    assert divided_energy(division) == {"cpu": 60 * 10**6}
    assert all(division.spans[span_id].energy_uj == 0 for span_id in division.uncounted)
    assert all(division.spans[span_id].inclusive_energy_uj for span_id in division.uncounted)


def test_two_spans_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="one id"):
        divide([], [span("a", 0, 1), span("a", 2, 3)])


def hostile_spans(count: int) -> list[Span]:
    """All overlap, contain each other by turns, and have counters that jump to and fro."""
    length = 600 * MINUTE
    return [
        Span(f"s{n}", "x", n, NOON + n, NOON + length - n * (1 if n % 2 else -1), (n * 7919 % 10**6, 10**12 - n))
        for n in range(count)
    ]


def test_the_work_of_hostile_spans_grows_as_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in what the sweep looks at, because a shared machine's time is no property of the code."""
    looked = 0
    find = InnermostSpans._find

    def counted(sweep: InnermostSpans) -> list[str]:
        nonlocal looked
        looked += len(sweep._open)
        return list(find(sweep))

    monkeypatch.setattr(InnermostSpans, "_find", counted)
    windows = [minute(number, 60, cpu_s=60) for number in range(600)]
    for count in (500, 5_000):
        looked = 0
        division = divide(windows, hostile_spans(count))
        assert divided_energy(division) == energy_of(windows)
        assert 0 < looked <= 2 * count * MAX_OPEN


@given(window_lists(), span_lists(), st.integers(0, 60), st.integers(1, 20))
def test_a_bounded_division_adds_up_hour_by_hour(
    windows: list[PodWindow], spans: list[Span], most_parts: int, most_hours: int
) -> None:
    whole = divide(windows, spans)
    with pytest.MonkeyPatch.context() as bounds:
        bounds.setattr(span_division, "MAX_PARTS", most_parts)
        divided = divide(windows, spans)
        bounds.setattr(span_division, "MAX_SPAN_HOURS", most_hours)
        both = divide(windows, spans)
    for one in (divided, both):
        assert divided_energy(one) == energy_of(windows)
        for hour_ms, hour in one.hours.items():
            assert sum(hour.exclusive_uj.values()) + hour.rest_uj == hour_energy(whole, hour_ms)
            assert sum(hour.exclusive_ms.values()) + hour.rest_ms == hour_time(whole, hour_ms)


def hour_energy(division: Division, hour_ms: int) -> int:
    hour = division.hours[hour_ms]
    return sum(hour.exclusive_uj.values()) + hour.rest_uj


def hour_time(division: Division, hour_ms: int) -> int:
    hour = division.hours[hour_ms]
    return sum(hour.exclusive_ms.values()) + hour.rest_ms


def test_beyond_the_most_parts_hours_are_divided_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hours; in the second one many spans overlap, and their energy is all in its first minute."""
    windows = [minute(0, 60), minute(60, 600), minute(61, 0), minute(120, 60)]
    crowd = [span(f"c{number}", 3600, 3720 - number) for number in range(20)]
    spans = [span("first", 0, 30), *crowd, span("short", 3600, 3660), span("last", 7200, 7230)]
    whole = divide(windows, spans)
    monkeypatch.setattr(span_division, "MAX_PARTS", 10)
    bounded = divide(windows, spans)
    first, second, third = sorted(bounded.hours)
    assert bounded.hours[first] == whole.hours[first]
    assert (bounded.spans["first"].resolution, bounded.spans["last"].resolution) == ("window", "prorated")
    # The crowd has some 110 s each of the hour's 120 s, the short one 60 s, and no time is without a span.
    hour = bounded.hours[second]
    assert hour.rest_uj == 0
    assert hour.exclusive_uj["short"] == pytest.approx(600 * 10**6 * 60 / (sum(range(101, 121)) + 60), abs=1)
    assert hour.inclusive_uj["short"] == pytest.approx(300 * 10**6, abs=1)
    assert sum(hour.exclusive_uj.values()) == 600 * 10**6
    assert bounded.hours[third].exclusive_uj["last"] == bounded.hours[third].rest_uj == 30 * 10**6


def test_spans_that_touch_very_many_hours_own_nothing_where_others_touch_as_many_as_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = [minute(60 * hour, 60) for hour in range(10)]
    spans = [span(f"long{number}", number, 36_000) for number in range(5)]
    spans += [span(f"step{number}", 3600 * number, 3600 * number + 60) for number in range(10)]
    monkeypatch.setattr(span_division, "MAX_SPAN_HOURS", 35)
    division = divide(windows, spans)
    assert division.uncounted == {"long2", "long3", "long4"}
    assert joules(division.spans, "long4") == (0, 596)
    assert sum(len(hour.inclusive_uj) for hour in division.hours.values()) <= 35
    assert divided_energy(division) == energy_of(windows)


def test_however_spans_overlap_the_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = 0
    share = span_division.share_list

    def counted(amount: int, weights: Sequence[int]) -> list[int]:
        nonlocal parts
        parts += len(weights)
        return share(amount, weights)

    monkeypatch.setattr(span_division, "share_list", counted)
    monkeypatch.setattr(span_division, "MAX_PARTS", 10_000)
    windows = [minute(number, 60, cpu_s=60) for number in range(600)]
    division = divide(windows, hostile_spans(2_000))
    assert 0 < parts <= 10_000
    assert divided_energy(division) == energy_of(windows)
