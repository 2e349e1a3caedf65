"""Energy and emissions to the end of a run, from its last steps and the forecast of intensities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.spans.worlds import NOON

from carbonbudget_operator.spans.intensity_profile import profile_forecast
from carbonbudget_operator.spans.pod_windows import HOUR_MS
from carbonbudget_operator.spans.step_prediction import DoneStep, ForecastHour, predict

KWH = 3_600_000_000_000
HALF = HOUR_MS // 2
amounts = st.integers(0, 10**14)
step_lists = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), amounts), min_size=1, max_size=8).map(
    lambda all_: [DoneStep(NOON - start - length, NOON - start, energy) for start, length, energy in all_]
)
forecasts = st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=3).map(sorted), min_size=1, max_size=30).map(
    lambda all_: [ForecastHour(NOON + n * HOUR_MS, mid, low, high) for n, (low, mid, high) in enumerate(all_)]
)


def hours(*mg: tuple[int, int, int]) -> list[ForecastHour]:
    return [ForecastHour(NOON + n * HOUR_MS, mid, low, high) for n, (low, mid, high) in enumerate(mg)]


def steps(*kwh: int) -> list[DoneStep]:
    """Steps of half an hour, one after the other, until noon."""
    first = NOON - len(kwh) * HALF
    return [DoneStep(first + n * HALF, first + (n + 1) * HALF, energy * KWH) for n, energy in enumerate(kwh)]


def test_a_prediction_by_hand() -> None:
    """Steps of 2 and 4 kWh; three are left: 9 kWh in 90 minutes, 6 at 100 g and 3 at 200 g per kWh, PUE 1.5."""
    found = predict(steps(2, 4), 3, NOON, hours((80_000, 100_000, 110_000), (150_000, 200_000, 300_000)), 1500)
    assert found is not None
    assert (found.low_uj, found.energy_uj, found.high_uj) == (6 * KWH, 9 * KWH, 12 * KWH)
    assert found.ends_at_ms == NOON + 3 * HALF
    assert [hour.energy_uj for hour in found.hours] == [6 * KWH, 3 * KWH]
    assert [hour.emissions_ug for hour in found.hours] == [900 * 10**6, 900 * 10**6]
    assert found.low_ug == (4 * 80 + 2 * 150) * 1500 * 10**3
    assert found.high_ug == (8 * 110 + 4 * 300) * 1500 * 10**3


def test_only_the_last_steps_count_in_any_order() -> None:
    done = steps(90, 1, 1, 1, 1, 1)
    found = predict(done, 2, NOON, hours((1, 1, 1)))
    assert found is not None
    assert (found.low_uj, found.energy_uj, found.high_uj) == (2 * KWH, 2 * KWH, 2 * KWH)
    assert predict(done[::-1], 2, NOON, hours((1, 1, 1))) == found


def test_one_step_alone_gives_half_to_twice_its_energy() -> None:
    found = predict(steps(2), 1, NOON, hours((1, 1, 1)))
    assert found is not None
    assert (found.low_uj, found.energy_uj, found.high_uj) == (KWH, 2 * KWH, 4 * KWH)


def test_an_hour_beyond_the_forecast_has_its_mean_and_its_whole_range() -> None:
    found = predict(steps(1, 1), 6, NOON, hours((50_000, 100_000, 200_000), (20_000, 200_000, 250_000)))
    assert found is not None
    assert [hour.emissions_ug for hour in found.hours] == [200 * 10**6, 400 * 10**6, 300 * 10**6]
    assert (found.hours[2].low_ug, found.hours[2].high_ug) == (40 * 10**6, 500 * 10**6)


def test_nothing_is_predicted_without_a_step_or_a_forecast_and_nothing_is_left_at_the_end() -> None:
    assert predict([], 3, NOON, hours((1, 1, 1))) is None
    assert predict(steps(1), 3, NOON, []) is None
    found = predict(steps(1), 0, NOON, hours((1, 1, 1)))
    assert found is not None
    assert (found.energy_uj, found.hours, found.ends_at_ms) == (0, (), NOON)


def test_steps_without_number_or_of_no_length_stay_bounded() -> None:
    found = predict([DoneStep(NOON, NOON, KWH)], 2**40, NOON, hours((1, 1, 1)))
    assert found is not None
    assert found.energy_uj == 2**40 * KWH
    assert len(found.hours) <= 31 * 24 + 1


@given(step_lists, st.integers(0, 50), st.integers(0, 5), forecasts, st.integers(1000, 3000), st.integers(0, HOUR_MS))
def test_more_steps_left_never_need_less(
    done: list[DoneStep], left: int, more: int, forecast: list[ForecastHour], pue_permille: int, after_ms: int
) -> None:
    fewer = predict(done, left, NOON + after_ms, forecast, pue_permille)
    found = predict(done, left + more, NOON + after_ms, forecast, pue_permille)
    assert fewer is not None
    assert found is not None
    for name in ("energy_uj", "low_uj", "high_uj", "emissions_ug", "low_ug", "high_ug", "ends_at_ms"):
        assert getattr(fewer, name) <= getattr(found, name)


@given(step_lists, st.integers(0, 50), forecasts, st.integers(0, HOUR_MS))
def test_the_range_holds_the_figure_and_the_hours_add_up(
    done: list[DoneStep], left: int, forecast: list[ForecastHour], after_ms: int
) -> None:
    found = predict(done, left, NOON + after_ms, forecast)
    assert found is not None
    assert found.low_uj <= found.energy_uj <= found.high_uj
    assert found.low_ug <= found.emissions_ug <= found.high_ug
    assert sum(hour.energy_uj for hour in found.hours) == found.energy_uj
    counted = sorted(done, key=lambda step: (step.end_ms, step.start_ms, step.energy_uj))[-5:]
    assert found.energy_uj == sum(step.energy_uj for step in counted) * left // len(counted)


def test_without_a_source_a_coming_hour_has_the_mean_of_the_same_hours_of_the_week() -> None:
    week = 168 * HOUR_MS
    past = {NOON - 2 * week: 100, NOON - week: 300, NOON - week + HOUR_MS: 50, NOON - 23 * HOUR_MS: 70}
    assert profile_forecast(past, NOON + 5, 2) == [
        ForecastHour(NOON, 200, 100, 300),
        ForecastHour(NOON + HOUR_MS, 50, 50, 50),
    ]
    assert profile_forecast(past, NOON + 25 * HOUR_MS, 1) == [ForecastHour(NOON + 25 * HOUR_MS, 60, 50, 70)]
    assert profile_forecast(past, NOON + 2 * HOUR_MS, 1) == [ForecastHour(NOON + 2 * HOUR_MS, 130, 50, 300)]
    assert profile_forecast({}, NOON, 3) == []


def test_what_is_expected_inside_a_period_is_cut_at_both_of_its_ends() -> None:
    """9 kWh in 90 minutes from noon at 100 g per kWh: 6 of them in the first hour."""
    found = predict(steps(2, 4), 3, NOON, hours((100_000, 100_000, 100_000), (100_000, 100_000, 100_000)))
    assert found is not None
    whole = found.within(NOON, 0, NOON + 9 * HOUR_MS)
    assert (whole.energy_uj, whole.low_uj, whole.high_uj) == (found.energy_uj, found.low_uj, found.high_uj)
    assert (whole.emissions_ug, whole.low_ug, whole.high_ug) == (found.emissions_ug, found.low_ug, found.high_ug)
    assert found.within(NOON, NOON + HALF, NOON + HOUR_MS).emissions_ug == 300 * 10**6
    assert found.within(NOON, NOON + HALF, NOON + HOUR_MS + HALF // 2).emissions_ug == (300 + 150) * 10**6
    assert found.within(NOON, NOON + HALF, NOON + HOUR_MS + HALF // 2).energy_uj == 4.5 * KWH
    assert found.within(NOON, found.ends_at_ms, NOON + 9 * HOUR_MS).high_ug == 0


@given(step_lists, st.integers(0, 40), forecasts, st.integers(-(10**7), 10**8))
def test_the_parts_of_a_prediction_add_up_to_it(
    done: list[DoneStep], left: int, forecast: list[ForecastHour], cut: int
) -> None:
    found = predict(done, left, NOON, forecast)
    assert found is not None
    before, after = found.within(NOON, 0, NOON + cut), found.within(NOON, NOON + cut, found.ends_at_ms + 1)
    for name in ("energy_uj", "low_uj", "high_uj", "emissions_ug", "low_ug", "high_ug"):
        assert 0 <= getattr(found, name) - getattr(before, name) - getattr(after, name) <= 1
