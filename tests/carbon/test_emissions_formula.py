"""Valuation: the formula, exact, and shares that add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.exact_division import share_out
from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.energy_units import UJ_PER_KWH


def test_one_kilowatt_hour_worked_by_hand() -> None:
    # 1 kWh x PUE 1.58 x 458.29 g/kWh = 724.0982 g
    assert emissions_ug(UJ_PER_KWH, 1580, 458_290) == 724_098_200


@pytest.mark.parametrize(("halves", "micrograms"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_halves_are_rounded_to_even(halves: int, micrograms: int) -> None:
    # At PUE 1 and 1 mg/kWh a thousandth of a kilowatt-hour is a microgram.
    assert emissions_ug(halves * UJ_PER_KWH // 2000, 1000, 1) == micrograms


@pytest.mark.parametrize("arguments", [(-1, 1000, 1), (1, 999, 1), (1, 1000, -1)])
def test_impossible_arguments_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        emissions_ug(*arguments)


@given(st.integers(0, 10**18), st.dictionaries(st.integers(0, 50), st.integers(1, 10**15), min_size=1))
def test_shares_add_up_to_the_last_microgram(total_ug: int, energies: dict[int, int]) -> None:
    assert sum(share_out(total_ug, energies).values()) == total_ug


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(1000, 3000), st.integers(0, 10**6))
def test_valuing_a_sum_or_summing_values_differs_by_rounding_alone(a: int, b: int, pue: int, mg: int) -> None:
    whole, parts = emissions_ug(a + b, pue, mg), emissions_ug(a, pue, mg) + emissions_ug(b, pue, mg)
    assert abs(whole - parts) <= 1
