"""Counting: what raw samples say, no more and no less."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.units.histories import FIRST, Samples, histories, in_open_range, in_range, plain_growth, pod_series

from carbonbudget_operator.units.counting import (
    HOUR,
    MICRO,
    HourUnits,
    RawSeries,
    UnusableAnswer,
    count_hour,
    count_vector,
    growth_of,
    micro_of,
)

MOST = 10**12


def counted(*series: RawSeries, hour: int = FIRST, lookback: int = HOUR, most: int = MOST) -> HourUnits:
    return count_hour(series, "team-a", hour, lookback, "namespace", "pod", most)


def test_growth_between_samples_belongs_to_the_hour_of_the_later_one() -> None:
    samples: Samples = [
        (FIRST - 30, "100"),
        (FIRST + 30, "107"),
        (FIRST + HOUR - 30, "110"),
        (FIRST + HOUR + 30, "115"),
    ]
    assert growth_of(samples, FIRST - HOUR, HOUR).micro == 0
    assert growth_of(samples, FIRST, HOUR).micro == 10 * MICRO
    assert growth_of(samples, FIRST + HOUR, HOUR).micro == 5 * MICRO


def test_a_sample_at_the_end_of_an_hour_is_of_that_hour_and_one_at_its_start_is_not() -> None:
    samples: Samples = [(FIRST, "1"), (FIRST + HOUR, "3"), (FIRST + 2 * HOUR, "10")]
    assert growth_of(samples, FIRST, HOUR).micro == 2 * MICRO
    assert growth_of(samples, FIRST + HOUR, HOUR).micro == 7 * MICRO


def test_a_counter_that_fell_was_reset_and_counts_from_zero() -> None:
    samples: Samples = [(FIRST + 1, "100"), (FIRST + 2, "130"), (FIRST + 3, "4"), (FIRST + 4, "9"), (FIRST + 5, "0")]
    assert growth_of(samples, FIRST, HOUR).micro == (30 + 4 + 5) * MICRO


def test_the_first_sample_of_a_series_counts_nothing() -> None:
    assert growth_of([(FIRST + 1, "1000000")], FIRST, HOUR) == (0, True, True, False, False)


def test_a_gap_within_the_lookback_is_bridged_and_a_longer_one_is_not() -> None:
    samples: Samples = [(FIRST - HOUR + 1, "10"), (FIRST + HOUR - 1, "25")]
    assert growth_of(samples, FIRST, HOUR).micro == 15 * MICRO
    assert growth_of(samples, FIRST, HOUR - 1).micro == 0


@pytest.mark.parametrize("bad", ["NaN", "+Inf", "-Inf", "-5", "-0", "1e400", "9" * 40, "", "0x10", "1_0", "\u0663"])
def test_a_sample_that_no_counter_can_have_is_passed_over_and_told(bad: str) -> None:
    samples = [(FIRST + 1, "10"), (FIRST + 2, bad), (FIRST + 3, bad), (FIRST + 4, "16")]
    found = counted(pod_series("team-a", "p", samples))
    assert found.micro == {("team-a", "p"): 6 * MICRO}
    assert found.gaps
    assert "negative or no numbers" in found.refused


@pytest.mark.parametrize("bad", ["NaN", "+Inf", "-5", "1e400"])
def test_an_hour_of_a_pod_with_such_samples_alone_is_not_known_and_never_zero(bad: str) -> None:
    series = pod_series("team-a", "p", [(FIRST - 1, "10"), (FIRST + 1, bad), (FIRST + 2, bad), (FIRST + 3, bad)])
    with pytest.raises(UnusableAnswer, match="team-a/p counted more than") as refused:
        counted(series, pod_series("team-a", "q", [(FIRST + 1, "10"), (FIRST + 2, "11")]))
    assert refused.value.of_counter
    assert counted(series, hour=FIRST - HOUR).micro == {}  # the hour before has no such sample


@given(histories(), st.sampled_from([300, HOUR]), st.data())
def test_marks_that_a_series_has_ended_are_no_samples(samples: Samples, lookback: int, data: st.DataObject) -> None:
    """VictoriaMetrics answers with them, Prometheus leaves them out."""
    marked: Samples = []
    for (at, value), (following, _) in zip(samples, [*samples[1:], (samples[-1][0] + 60, "")], strict=True):
        marked.append((at, value))
        if round(following * 1000) - round(at * 1000) > 1 and data.draw(st.booleans()):
            marked.append((round(at * 1000 + 1) / 1000, "NaN"))
    for hour in range(FIRST - HOUR, int(samples[-1][0]) + 2 * HOUR, HOUR):
        ranges = [in_range(one, hour, lookback) for one in (samples, marked)]
        plain, with_marks = (growth_of(one, hour, lookback) for one in ranges)
        assert plain == with_marks


@pytest.mark.parametrize("jump", ["1000000000011", "1e18", "1000000000000000000", "1e24"])
def test_an_hour_with_a_jump_beyond_what_can_be_true_is_not_known_and_never_zero(jump: str) -> None:
    jumps = pod_series("team-a", "jumps", [(FIRST + 1, "10"), (FIRST + 2, jump)])
    others = pod_series("team-a", "sound", [(FIRST + 1, "10"), (FIRST + 2, "11")])
    with pytest.raises(UnusableAnswer, match="team-a/jumps counted more than") as refused:
        counted(jumps, others)
    assert refused.value.of_counter
    assert counted(pod_series("team-a", "most", [(FIRST + 1, "10"), (FIRST + 2, "1000000000010")])).micro == {
        ("team-a", "most"): 10**12 * MICRO
    }


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pqr"), st.integers(0, 2000) | st.just("NaN"))),
)
def test_of_a_query_each_hour_of_a_namespace_is_counted_whole_or_not_known(
    values: list[tuple[str, str, int | str]],
) -> None:
    """No pod that is refused counts zero, and no namespace loses an hour by the pods of another one."""
    found = count_vector(
        [({"namespace": name, "pod": pod}, str(value)) for name, pod, value in values], "namespace", "pod", 1000
    )
    sums: dict[tuple[str, str], int] = {}
    bad = {name for name, _, value in values if value == "NaN"}
    for name, pod, value in values:
        sums[name, pod] = sums.get((name, pod), 0) + (value if isinstance(value, int) else 0)
    bad |= {name for (name, _), units in sums.items() if units > 1000}
    assert found.unknown == bad
    assert found.gaps == bool(bad)
    assert found.micro == {key: units * MICRO for key, units in sums.items() if units and key[0] not in bad}


def test_a_label_that_is_too_long_for_a_pod_is_no_pod_and_spoils_its_namespace_alone() -> None:
    long = "p" * 254
    with pytest.raises(UnusableAnswer, match="254 characters, which is no pod's name"):
        counted(pod_series("team-a", long, [(FIRST + 1, "1")]), pod_series("team-a", "p", [(FIRST + 1, "1")]))
    found = count_vector(
        [
            ({"namespace": "a", "pod": long}, "1"), ({"namespace": "a", "pod": "p"}, "1"),
            ({"namespace": "b", "pod": "p"}, "1"), ({"namespace": "n" * 254, "pod": "p"}, "1"),
        ], "namespace", "pod", 1000,
    )  # fmt: skip
    assert (found.micro, found.unknown) == ({("b", "p"): MICRO}, {"a"})
    assert len(found.refused) < 400


def test_a_query_whose_whole_cannot_be_is_not_known() -> None:
    with pytest.raises(UnusableAnswer, match="the query as a whole counted more than 1000 units"):
        count_vector([({}, "1001"), ({"namespace": "a", "pod": "p"}, "1")], "namespace", "pod", 1000)


def test_series_of_one_pod_are_added_up_and_pods_are_kept_apart() -> None:
    """vLLM counts requests by finished_reason: each is a series."""
    found = counted(
        pod_series("team-a", "p", [(FIRST + 1, "0"), (FIRST + 2, "3")], finished_reason="stop"),
        pod_series("team-a", "p", [(FIRST + 1, "0"), (FIRST + 2, "4")], finished_reason="length"),
        pod_series("team-a", "q", [(FIRST + 1, "0"), (FIRST + 2, "5")]),
        pod_series("team-a", "idle", [(FIRST + 1, "7"), (FIRST + 2, "7")]),
    )
    assert found == ({("team-a", "p"): 7 * MICRO, ("team-a", "q"): 5 * MICRO}, False, True, False, "", frozenset())


def test_an_answer_with_series_of_another_namespace_is_refused_whole() -> None:
    with pytest.raises(UnusableAnswer, match="does not obey matchers"):
        counted(pod_series("team-b", "p", [(FIRST + 1, "0")]), pod_series("team-a", "p", [(FIRST + 1, "0")]))


def test_series_without_a_pod_are_no_zero_but_an_error() -> None:
    aggregate = RawSeries({"namespace": "team-a"}, [(FIRST + 1, "0"), (FIRST + 2, "5")])
    with pytest.raises(UnusableAnswer, match=r"units\.pod_label"):
        counted(aggregate)
    with_pod = pod_series("team-a", "p", [(FIRST + 1, "0"), (FIRST + 2, "5")])
    assert counted(aggregate, with_pod).micro == {("team-a", "p"): 5 * MICRO}


def test_no_series_is_absent_and_series_of_before_are_not_sampled() -> None:
    assert counted() == HourUnits({}, is_absent=True, is_sampled=False)
    assert counted(pod_series("team-a", "p", [(FIRST - 10, "5")])) == HourUnits({}, False, False)


@given(histories(), st.data())
def test_samples_that_are_there_twice_count_once(samples: Samples, data: st.DataObject) -> None:
    """As where a sender repeats a request, or two write one series: the largest of an instant counts."""
    doubled: Samples = []
    for at, value in samples:
        smaller = data.draw(st.lists(st.sampled_from([value, "0", str(int(value) // 2), "NaN", "-1"]), max_size=3))
        doubled += [(at, one) for one in data.draw(st.permutations([value, *smaller]))]
    for hour in range(FIRST - HOUR, int(samples[-1][0]) + 2 * HOUR, HOUR):
        assert growth_of(doubled, hour, HOUR) == growth_of(samples, hour, HOUR)


def test_samples_out_of_order_are_an_error() -> None:
    with pytest.raises(UnusableAnswer, match="order"):
        growth_of([(FIRST + 2, "1"), (FIRST + 1, "2")], FIRST, HOUR)


@given(st.integers(0, 10**18), st.integers(0, 6), st.integers(-20, 20))
def test_values_are_read_exactly(digits: int, places: int, exponent: int) -> None:
    text = str(digits) if not places else f"{digits // 10**places}.{digits % 10**places:0{places}d}"
    exact = Fraction(text) * Fraction(10) ** exponent * MICRO
    found = micro_of(f"{text}e{exponent:+03d}")
    assert found == (exact.__floor__() if exact.__floor__() <= 10**30 else None)
    assert micro_of(text) == Fraction(text) * MICRO


@given(histories(), st.sampled_from([300, HOUR, 6 * HOUR]), st.sampled_from([in_range, in_open_range]))
def test_each_hour_is_what_the_plain_reading_of_the_samples_gives(
    samples: Samples, lookback: int, answered: Callable[[Samples, int, int], Samples]
) -> None:
    """Whether the store's ranges hold their start, as up to Prometheus 2, or not."""
    expected = plain_growth(samples, lookback)
    hours = range(FIRST - HOUR, int(samples[-1][0]) + 2 * HOUR, HOUR)
    found = {hour: growth_of(answered(samples, hour, lookback), hour, lookback).micro for hour in hours}
    assert {hour: Fraction(micro, MICRO) for hour, micro in found.items() if micro} == expected


@given(histories(longest_gap=HOUR - 1))
def test_hours_add_up_to_the_whole_growth_while_gaps_are_shorter_than_the_lookback(samples: Samples) -> None:
    whole = sum(
        int(later) - int(earlier) if int(later) >= int(earlier) else int(later)
        for (_, earlier), (_, later) in pairwise(samples)
    )
    hours = range(FIRST - HOUR, int(samples[-1][0]) + 2 * HOUR, HOUR)
    assert sum(growth_of(in_range(samples, hour, HOUR), hour, HOUR).micro for hour in hours) == whole * MICRO


@given(st.lists(histories(longest_gap=HOUR - 1), min_size=1, max_size=4), st.integers(1, 59))
def test_pods_that_restart_with_new_series_add_up_too(histories_: list[Samples], parts: int) -> None:
    """Series end and begin anew under another instance; fractions of a unit add up to the last millionth."""
    series = [
        pod_series("team-a", f"p-{n % 2}", [(at, f"{value}.{parts:02d}") for at, value in one], instance=str(n))
        for n, one in enumerate(histories_)
    ]
    last = max(int(one[-1][0]) for one in histories_)
    total = sum(
        sum(
            counted(*(RawSeries(one.labels, in_range(list(one.samples), hour, HOUR)) for one in series), hour=hour)
            .micro.values()
        )
        for hour in range(FIRST - HOUR, last + 2 * HOUR, HOUR)
    )  # fmt: skip
    grown = [plain_growth(list(one.samples), HOUR) for one in series]
    assert total == sum(sum(one.values()) for one in grown) * MICRO


def test_a_query_counts_by_its_labels_and_refuses_what_is_no_count() -> None:
    vector = [
        ({"namespace": "a", "pod": "p", "model": "m"}, "2.5"), ({"namespace": "a", "pod": "p"}, "1"),
        ({}, "7"), ({"pod": "q", "namespace": "b"}, "NaN"), ({"pod": "r", "namespace": "c"}, "2000"),
        ({"pod": "s", "namespace": "c"}, "1"),
    ]  # fmt: skip
    found = count_vector(vector, "namespace", "pod", 1000)
    assert found.micro == {("a", "p"): 3_500_000, ("", ""): 7 * MICRO}
    assert (found.gaps, found.unknown) == (True, {"b", "c"})
    assert "b/q and 1 more counted more than 1000 units in the hour (units.most_units_per_hour)" in found.refused
    assert count_vector([], "namespace", "pod", 1000).is_absent


@pytest.mark.parametrize("labels", [{"namespace": "a"}, {"pod": "p"}, {"namespace": "a", "pod": ""}])
def test_a_query_whose_series_name_no_pod_is_refused_and_never_zero(labels: dict[str, str]) -> None:
    """Units of a namespace as a whole are of no pod: they would be given to nobody, and the hour would be known."""
    with pytest.raises(UnusableAnswer, match=r"sum by \(namespace, pod\)"):
        count_vector([(labels, "5")], "namespace", "pod", 1000)
