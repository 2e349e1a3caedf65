"""What emissions and energy cost: exact sums, and amounts that people read."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.price import EMISSION_PARTS, ENERGY_PARTS, MICRO, Price, amount, money, money_text
from carbonbudget_operator.carbon_price import priced_parts, prices_of, savings_money
from carbonbudget_operator.settings import Settings

TONNE_UG, KWH_UJ = 10**12, 3_600_000_000_000
EUR = Price(85 * MICRO, 300_000, "EUR")
figures = st.integers(-(2**63), 2**63)


def test_a_tonne_and_a_kwh_cost_their_price_and_their_tariff() -> None:
    assert money(TONNE_UG, 0, EUR) == 85
    assert money(0, KWH_UJ, EUR) == Decimal("0.3")
    assert money(2 * TONNE_UG, -KWH_UJ, EUR) == Decimal("169.7")


@given(figures, figures, st.integers(0, 10**12), st.integers(0, 10**9))
def test_money_is_the_exact_amount_rounded_half_to_even_to_six_decimals(
    ug: int, uj: int, per_tonne: int, per_kwh: int
) -> None:
    exact = Fraction(ug * per_tonne, TONNE_UG) + Fraction(uj * per_kwh, KWH_UJ)  # in millionths
    assert money(ug, uj, Price(per_tonne, per_kwh, "EUR")) == Decimal(round(exact)).scaleb(-6)


@given(st.lists(st.tuples(figures, st.integers(0, 10**12)), max_size=20))
def test_costs_of_hours_with_different_prices_add_up_before_they_are_rounded(hours: list[tuple[int, int]]) -> None:
    parts = sum(Price(price, 0, "EUR").of_emissions(ug) for ug, price in hours)
    exact = sum((Fraction(ug * price, TONNE_UG) for ug, price in hours), Fraction(0))
    assert amount(parts, EMISSION_PARTS) == Decimal(round(exact)).scaleb(-6)


def test_half_of_the_last_decimal_is_rounded_to_even() -> None:
    assert [amount(parts, 2 * MICRO) for parts in (1, 3, -1, -3)] == list(
        map(Decimal, ("0.000000", "0.000002", "0.000000", "-0.000002"))
    )
    assert amount(ENERGY_PARTS, ENERGY_PARTS) == 1


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0", "0.00 EUR"), ("1234.5", "1,234.50 EUR"), ("-12.345", "-12.34 EUR"), ("0.1", "0.10 EUR"),
        ("0.0432", "0.0432 EUR"), ("0.000012", "0.000012 EUR"), ("-0.004", "-0.0040 EUR"),
    ],
)  # fmt: skip
def test_an_amount_is_written_with_its_currency_and_never_as_nothing_where_it_is_something(
    cost: str, text: str
) -> None:
    assert money_text(Decimal(cost), "EUR") == text


def _settings(**carbon: object) -> Settings:
    return Settings.model_validate({"carbon": carbon})


DATED = [{"value": 50}, {"valid_from": "2026-07-01", "value": 85.5}]
JULY = 1_782_864_000


def test_savings_are_worth_the_price_in_force_at_their_time() -> None:
    settings = _settings(price=DATED, tariff="0.3", currency="EUR")
    assert savings_money(TONNE_UG, KWH_UJ, JULY - 1, settings) == "50.30 EUR"
    assert savings_money(TONNE_UG, KWH_UJ, JULY, settings) == "85.80 EUR"
    assert savings_money(-TONNE_UG, 0, JULY, settings) == "-85.50 EUR"


def test_without_a_price_savings_have_no_worth_instead_of_a_worth_of_nothing() -> None:
    assert savings_money(TONNE_UG, KWH_UJ, JULY, _settings()) is None
    begun = _settings(price=[{"value": None}, {"valid_from": "2026-07-01", "value": 0}], currency="EUR")
    assert savings_money(TONNE_UG, 0, JULY - 1, begun) is None
    assert savings_money(TONNE_UG, 0, JULY, begun) == "0.00 EUR"


def test_a_span_is_divided_where_the_price_changes_and_nowhere_else() -> None:
    pue = [{"value": 1.2}, {"valid_from": "2026-06-30", "value": 1.1}]
    prices = prices_of(_settings(price=DATED, pue=pue, currency="EUR").carbon)
    parts = priced_parts(prices, JULY - 7200, JULY + 3600)
    assert [(start, end, price.per_tonne_micro if price else 0) for start, end, price in parts] == [
        (JULY - 7200, JULY, 50_000_000), (JULY, JULY + 3600, 85_500_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("carbon", "sentence"),
    [
        ({"price": 5}, "needs carbon.currency"),
        ({"tariff": 0.3}, "needs carbon.currency"),
        ({"price": -1, "currency": "EUR"}, "must be at least 0"),
        ({"price": "much", "currency": "EUR"}, "must be a number"),
        ({"price": float("nan"), "currency": "EUR"}, "must be a number"),
        ({"price": "0.0000001", "currency": "EUR"}, "at most 6 digits"),
        ({"price": 1, "currency": "euro"}, "must match"),
    ],
)
def test_a_price_that_is_none_is_refused(carbon: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _settings(**carbon)
