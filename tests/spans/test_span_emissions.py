"""The valued hours of a pod are divided among its spans, to the microgram."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spans.worlds import NOON, minute, span, span_lists, window_lists

from carbonbudget_operator.spans import span_emissions
from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_division import divide
from carbonbudget_operator.spans.span_emissions import PodHour, SpanEmissions, divide_emissions
from carbonbudget_operator.spans.span_record import Span

HOUR = PodHour(NOON, (600, 120, 80), (300, 60, 40), 240, 700, 1000, 1000, 900, True)


@st.composite
def pod_hours(draw: st.DrawFn) -> list[PodHour]:
    """Valued hours around the windows; some are missing."""
    amount = st.integers(0, 10**12)
    found = []
    for number in sorted(draw(st.sets(st.integers(-1, 12)))):
        location = draw(st.tuples(amount, amount, amount))
        energy_uj = draw(amount)
        found.append(
            PodHour(
                NOON + number * HOUR_MS,
                location,
                draw(st.tuples(amount, amount, amount)),
                draw(amount),
                draw(st.integers(0, sum(location))),
                sum(location) + draw(amount),
                energy_uj,
                draw(st.integers(0, energy_uj)),
                draw(st.booleans()),
            )
        )
    return found


def figures(emissions: SpanEmissions) -> tuple[int, ...]:
    return astuple(emissions)[:5]


@given(window_lists(), span_lists(8), pod_hours())
def test_spans_and_rest_add_up_to_the_hours_in_every_figure(
    windows: list[PodWindow], spans: list[Span], hours: list[PodHour]
) -> None:
    divided = divide_emissions(hours, divide(windows, spans))
    sums = [sum(column) for column in zip(*map(figures, (*divided.spans.values(), divided.rest)), strict=True)]
    assert sums == [
        sum(sum(hour.location_ug) for hour in hours),
        sum(sum(hour.market_ug) for hour in hours),
        sum(hour.embodied_ug for hour in hours),
        sum(hour.low_ug for hour in hours),
        sum(hour.high_ug for hour in hours),
    ]


@given(window_lists(), span_lists(8), pod_hours())
def test_each_figure_lies_in_its_range_and_below_the_inclusive_one(
    windows: list[PodWindow], spans: list[Span], hours: list[PodHour]
) -> None:
    divided = divide_emissions(hours, divide(windows, spans))
    assert divided.spans.keys() == divided.inclusive.keys()
    for span_id, own in divided.spans.items():
        inclusive = divided.inclusive[span_id]
        for its in (own, inclusive):
            assert its.low_ug <= its.emissions_ug <= its.high_ug
            assert 0 <= its.measured_permille <= 1000
        assert own.emissions_ug <= inclusive.emissions_ug
        assert own.market_ug <= inclusive.market_ug
        assert own.embodied_ug <= inclusive.embodied_ug


def test_energy_divides_all_but_idle_and_embodied_emissions_which_time_divides() -> None:
    """Of the two minutes the span has the second: three quarters of the energy and half of the time."""
    divided = divide_emissions([HOUR], divide([minute(0, 20), minute(1, 60)], [span("a", 60, 120)]))
    assert divided.spans["a"] == SpanEmissions(570, 285, 120, 499, 713, 900, "final")
    assert divided.rest == SpanEmissions(230, 115, 120, 201, 287, 900, "final")


def test_a_span_is_final_when_all_its_hours_are() -> None:
    windows = [minute(59, 60), minute(60, 60)]
    division = divide(windows, [span("first", 3540, 3600), span("both", 3540, 3660)])
    second = replace(HOUR, start_ms=NOON + HOUR_MS)
    for hours, both in (([HOUR], "provisional"), ([HOUR, replace(second, final=False)], "provisional")):
        divided = divide_emissions(hours, division)
        assert (divided.spans["first"].state, divided.spans["both"].state) == ("final", both)
        assert divided.rest.state == "provisional"
    assert divide_emissions([HOUR, second], division).spans["both"].state == "final"


def test_a_span_whose_hours_are_not_valued_yet_has_no_figure() -> None:
    divided = divide_emissions([], divide([minute(0, 60)], [span("a", 0, 60)]))
    assert divided.spans == {}
    assert divided.rest.state == "provisional"


def test_an_hour_without_energy_goes_by_time_and_one_without_windows_to_the_rest() -> None:
    divided = divide_emissions([HOUR], divide([minute(0, 0)], [span("a", 0, 30)]))
    assert divided.spans["a"].emissions_ug == 400
    assert divide_emissions([HOUR], divide([], [])).rest.emissions_ug == 800


def test_an_epoch_with_steps_inside_has_its_whole_emissions_in_the_inclusive_figure() -> None:
    division = divide([minute(0, 60)], [span("epoch", 0, 60), span("step", 0, 60 - 0.001)])
    divided = divide_emissions([HOUR], division)
    assert divided.spans["epoch"].emissions_ug == 0
    assert divided.inclusive["epoch"] == SpanEmissions(800, 400, 240, 700, 1000, 900, "final")


def test_the_work_of_an_hour_grows_as_the_number_of_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in what is summed up, because a shared machine's time is no property of the code."""
    summed = 0

    def counted(values: Iterable[int]) -> int:
        nonlocal summed
        listed = list(values)
        summed += len(listed)
        return sum(listed)

    monkeypatch.setattr(span_emissions, "sum", counted, raising=False)
    windows = [minute(number, 60) for number in range(60)]
    for count in (100, 1_000):
        summed = 0
        spans = [span(f"s{number:04}", 3 * number, 3 * number + 2) for number in range(count)]
        divide_emissions([HOUR], divide(windows, spans))
        assert 0 < summed <= 10 * count
