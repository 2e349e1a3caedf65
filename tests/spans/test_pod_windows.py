"""Windows are made of hourly facts where none are stored, so that both together have the energy of the facts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.spans.worlds import MINUTE, NOON, energies, energy_of, minute

from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow, fill_gaps


def hour(number: int, joules: int, cpu_s: int = 0) -> PodWindow:
    start = NOON + number * HOUR_MS
    return PodWindow(start, start + HOUR_MS, {"cpu": joules * 10**6}, {}, cpu_s * 10**6)


def test_time_without_windows_has_what_the_windows_of_the_hour_lack() -> None:
    stored = [minute(10, 60, cpu_s=30), minute(11, 40, cpu_s=30)]
    filled = fill_gaps(stored, [hour(0, 1000, cpu_s=90)], NOON, NOON + 20 * MINUTE)
    assert [(its.start_ms - NOON, its.end_ms - NOON, its.hourly) for its in filled] == [
        (0, 10 * MINUTE, True),
        (10 * MINUTE, 11 * MINUTE, False),
        (11 * MINUTE, 12 * MINUTE, False),
        (12 * MINUTE, 20 * MINUTE, True),
    ]
    assert [its.energy_uj["cpu"] // 10**6 for its in filled] == [500, 60, 40, 400]
    assert sum(its.cpu_us for its in filled) == 90 * 10**6


def test_an_hour_whose_windows_are_all_stored_stays_as_it_is() -> None:
    stored = [minute(number, 60) for number in range(60)]
    assert fill_gaps(stored, [hour(0, 3600)], NOON, NOON + HOUR_MS) == stored


def test_windows_that_cover_all_the_time_are_raised_by_what_they_lack() -> None:
    stored = [minute(number, 60) for number in range(60)]
    filled = fill_gaps(stored, [hour(0, 7200)], NOON, NOON + HOUR_MS)
    assert [its.energy_uj["cpu"] for its in filled] == [120 * 10**6] * 60
    assert not any(its.hourly for its in filled)


def test_an_hour_that_has_less_than_its_windows_takes_nothing_from_them() -> None:
    stored = [minute(0, 60)]
    assert fill_gaps(stored, [hour(0, 30)], NOON, NOON + HOUR_MS) == stored


@given(
    st.sets(st.integers(0, 119), max_size=20),
    energies,
    st.lists(st.tuples(energies, energies), min_size=2, max_size=2),
    st.integers(0, 60),
    st.integers(60, 120),
)
def test_windows_and_what_fills_their_gaps_have_the_energy_of_the_hours(
    minutes: set[int], each: dict[str, int], more: list[tuple[dict[str, int], dict[str, int]]], first: int, last: int
) -> None:
    stored = [
        PodWindow(NOON + number * MINUTE, NOON + (number + 1) * MINUTE, each, each, 5) for number in sorted(minutes)
    ]
    hours = []
    for number, (energy_uj, idle_uj) in enumerate(more):
        start = NOON + number * HOUR_MS
        inside = sum(start <= its.start_ms < start + HOUR_MS for its in stored)
        hours.append(
            PodWindow(
                start,
                start + HOUR_MS,
                {key: energy_uj.get(key, 0) + inside * each.get(key, 0) for key in {*energy_uj, *each}},
                {key: idle_uj.get(key, 0) + inside * each.get(key, 0) for key in {*idle_uj, *each}},
                7 + inside * 5,
            )
        )
    filled = fill_gaps(stored, hours, NOON + first * MINUTE, NOON + last * MINUTE)
    expected = {domain: energy_uj for domain, energy_uj in energy_of(hours).items() if energy_uj}
    assert {domain: energy_uj for domain, energy_uj in energy_of(filled).items() if energy_uj} == expected
    assert sum(its.cpu_us for its in filled) == sum(its.cpu_us for its in hours)
