"""Decimal strings of integers: exact, and 0 for nothing alone."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.decimal_text import grams, kilograms, kilowatt_hours


@given(st.integers(0, 10**18) | st.integers(0, 20))
def test_an_energy_is_rounded_down_to_the_nanowatt_hour_and_is_0_for_nothing_alone(energy_uj: int) -> None:
    shown = Fraction(kilowatt_hours(energy_uj)) * 3_600_000_000_000
    assert 0 <= energy_uj - shown < Fraction(3_600_000_000_000, 10**12)
    assert (shown == 0) == (energy_uj == 0)


@given(st.integers(0, 10**18))
def test_a_mass_has_all_its_digits(micrograms: int) -> None:
    assert Fraction(grams(micrograms)) * 10**6 == micrograms
    assert Fraction(kilograms(micrograms)) * 10**9 == micrograms
