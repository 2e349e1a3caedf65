"""Masses: exact in, readable out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.quantity import UNITS_UG, QuantityError, format_mass, parse_mass


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
