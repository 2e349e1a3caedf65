"""Masses: exact in, readable out."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.quantity import (
    UNITS_UG,
    QuantityError,
    exact_mass,
    format_beside,
    format_energy,
    format_mass,
    format_pair,
    format_percent,
    parse_mass,
)


@pytest.mark.parametrize(
    ("text", "micrograms"),
    [
        ("5kg", 5_000_000_000),
        ("0.5g", 500_000),
        ("312mg", 312_000),
        ("1.000001g", 1_000_001),
        ("2t", 2 * 10**12),
        ("0g", 0),
    ],
)
def test_a_mass_is_read_exactly(text: str, micrograms: int) -> None:
    assert parse_mass(text) == micrograms


@pytest.mark.parametrize(
    "text", ["", "5", "5 kg", "kg", "-5kg", "5KG", "1e3g", "5kg ", "1.2.3g", "\u0661g", "0.0001mg"]
)
def test_what_is_no_mass_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(QuantityError, match=r"must be a number with a unit|finer than a microgram"):
        parse_mass(text)


@pytest.mark.parametrize(
    ("micrograms", "text"),
    [
        (0, "0mg"),
        (1, "0.001mg"),
        (99, "0.099mg"),
        (450, "0.45mg"),
        (400, "0.4mg"),
        (4_100_000_000, "4.1kg"),
        (312_000_000, "312g"),
        (999_999_999, "999g"),
        (10**12, "1t"),
    ],
)
def test_a_mass_is_written_in_the_unit_that_reads_best(micrograms: int, text: str) -> None:
    assert format_mass(micrograms) == text


@given(st.integers(0, 10**17))
def test_what_is_shown_is_never_more_than_what_was_used_and_close_to_it(micrograms: int) -> None:
    shown = parse_mass(format_mass(micrograms))
    assert shown <= micrograms
    assert micrograms - shown < max(UNITS_UG["mg"] // 10, micrograms // 10)
    assert micrograms - shown <= micrograms // 10


def last_digit(number: str) -> Fraction:
    """One in the last digit of a decimal number."""
    _, _, fraction = number.partition(".")
    return Fraction(1, 10 ** len(fraction))


@given(st.integers(0, 10**17) | st.integers(0, 2000))
def test_a_mass_reads_back_within_its_last_digit_and_is_0_only_for_nothing(micrograms: int) -> None:
    text = format_mass(micrograms)
    unit = next(name for name in ("mg", "kg", "g", "t") if text.endswith(name))
    assert 0 <= micrograms - parse_mass(text) < last_digit(text.removesuffix(unit)) * UNITS_UG[unit]
    assert (parse_mass(text) == 0) == (micrograms == 0)


@given(st.integers(0, 10**15))
def test_an_exact_mass_has_all_its_digits(micrograms: int) -> None:
    assert parse_mass(exact_mass(micrograms - micrograms % 1000)) == micrograms - micrograms % 1000


NEAR = st.integers(0, 10**14).flatmap(lambda ug: st.tuples(st.just(ug), st.integers(max(0, ug - 2000), ug + 2000)))


def order(first: int, second: int) -> int:
    return (first > second) - (first < second)


@given(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)) | NEAR)
def test_what_is_shown_beside_a_limit_is_above_it_exactly_if_it_is(both: tuple[int, int]) -> None:
    """To a milligram above a tonne, which is nine decimals."""
    used_ug, limit_ug = (ug if ug < 10**12 else ug - ug % 1000 for ug in both)
    assert order(parse_mass(format_beside(used_ug, limit_ug)), limit_ug) == order(used_ug, limit_ug)
    first, second = format_pair(used_ug, limit_ug)
    assert order(parse_mass(first), parse_mass(second)) == order(used_ug, limit_ug)


def test_digits_are_added_only_where_two_masses_would_read_the_wrong_way_round() -> None:
    assert format_beside(1_255_000, 1_250_000) == "1.255g"
    assert format_beside(5_999_999_999, 5 * 10**9) == "5.9kg"
    assert format_pair(1_390_000_000, 900_000_000) == ("1.3kg", "900g")
    assert format_pair(1_390_000_000, 1_310_000_000) == ("1.39kg", "1.31kg")


@pytest.mark.parametrize(
    ("energy_uj", "text"),
    [
        (0, "0 J"),
        (1, "0.000001 J"),
        (999_999, "0.999 J"),
        (35_999_999, "35.9 J"),
        (71_999_999, "71.9 J"),
        (3_599_999_999, "3599 J"),
        (3_600_000_000, "1.00 Wh"),
        (35_999_999_999, "9.99 Wh"),
        (36_000_000_000, "10.00 Wh"),
        (2_808_000_000_000, "0.78 kWh"),
        (3_600_000_000_000, "1.00 kWh"),
        (12_345_000_000_000_000, "3429.16 kWh"),
    ],
)
def test_energy_is_written_in_the_unit_that_reads_best(energy_uj: int, text: str) -> None:
    assert format_energy(energy_uj) == text


@given(st.integers(0, 10**19) | st.integers(0, 10**8))
def test_an_energy_reads_back_within_its_last_digit_and_is_0_only_for_nothing(energy_uj: int) -> None:
    number, unit = format_energy(energy_uj).split()
    unit_uj = {"J": 10**6, "Wh": 3_600 * 10**6, "kWh": 3_600 * 10**9}[unit]
    shown_uj = Fraction(number) * unit_uj
    assert 0 <= energy_uj - shown_uj < last_digit(number) * unit_uj
    assert energy_uj < 1000 or energy_uj - shown_uj <= Fraction(energy_uj, 100)
    assert (shown_uj == 0) == (energy_uj == 0)


def test_per_cent_of_any_use_is_not_0() -> None:
    assert [format_percent(0, 0), format_percent(0, 1), format_percent(82, 1)] == ["0", "<1", "82"]
