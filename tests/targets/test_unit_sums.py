"""Sums of spans, and emissions per unit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.targets.figures import some_sums, sums

from carbonbudget_operator.targets.unit_sums import UnitSums, format_units, parse_units, rate_ug


def test_100_g_for_4000_units_are_25_g_per_1000() -> None:
    assert rate_ug(100_000_000, 4_000_000_000, 1000) == 25_000_000


def test_without_units_there_is_no_rate() -> None:
    with pytest.raises(ZeroDivisionError):
        rate_ug(1, 0, 1)


@given(some_sums(least_units=1), some_sums(least_units=1))
def test_the_rate_of_two_spans_lies_between_their_own(a: UnitSums, b: UnitSums) -> None:
    rates = sorted(rate_ug(one.emissions_ug, one.units_micro, 7) for one in (a, b))
    assert rates[0] <= rate_ug(a.emissions_ug + b.emissions_ug, a.units_micro + b.units_micro, 7) <= rates[1]


@given(some_sums(least_units=1), st.integers(1, 10**9))
def test_the_rate_times_the_units_is_what_was_emitted(one: UnitSums, per: int) -> None:
    assert rate_ug(one.emissions_ug, one.units_micro, per) * Fraction(one.units_micro, per * 10**6) == one.emissions_ug


def test_more_embodied_emissions_than_emissions_leave_nothing_operational() -> None:
    assert sums(5, 1, embodied=9).operational_ug == 0


def test_known_hours_are_told_in_whole_per_cent_never_rounded_up() -> None:
    assert [sums(1, 1, hours=h, known=k).known_percent for h, k in ((168, 168), (168, 167), (3, 1), (0, 0))] == [
        100, 99, 33, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(("share", "percent"), [(None, 50), (0, 0), (97, 97)])
def test_the_share_of_the_emissions_counts_where_it_is_known_and_the_hours_where_not(
    share: int | None, percent: int
) -> None:
    one = replace(sums(1, 1, hours=24, known=12), known_share=share)
    assert one.known_percent == percent
    told = "units of 12 of the 24 hours" if share is None else f"units of {share} % of the emissions"
    assert one.known_text == told


@given(st.integers(0, 10**30))
def test_units_are_written_with_all_their_digits_and_read_back(units_micro: int) -> None:
    assert parse_units(format_units(units_micro)) == units_micro


def test_units_are_written_without_zeros_at_the_end() -> None:
    assert [format_units(one) for one in (0, 1, 1_500_000, 20_000_000)] == ["0", "0.000001", "1.5", "20"]


@pytest.mark.parametrize("text", ["", "x", "0.0000001"])
def test_what_is_no_number_of_units_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_units(text)
