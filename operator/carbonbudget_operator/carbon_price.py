"""The prices of the settings by time (`carbon.price`, `carbon.tariff`), and what a target's savings are worth. Pure."""

from __future__ import annotations

from decimal import Decimal

from carbonbudget_operator.budgets.price import MICRO, Price, money, money_text
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.timeline import Timeline

Prices = Timeline[Price | None]


def prices_of(carbon: Timeline[CarbonSettings]) -> Prices:
    """The prices in force at each hour; None where there is neither a price nor a tariff."""
    starts: list[int] = []
    values: list[Price | None] = []
    for start, section in carbon:
        price = _price(section)
        if not values or values[-1] != price:  # other keys change, too
            starts.append(start)
            values.append(price)
    return Timeline(tuple(starts), tuple(values))


def priced_parts(prices: Prices, start: int, end: int) -> list[tuple[int, int, Price | None]]:
    """[start, end) divided where the price changes; `start` is below `end`, both in UTC seconds."""
    return [
        (max(start, since), min(end, until), price)
        for since, until, price in prices.spans()
        if since < end and until > start
    ]


def savings_money(micrograms: int, microjoules: int, at: int, settings: Settings) -> str | None:
    """What a target's savings are worth by the prices in force at the UTC second `at`: "12.40 EUR".

    Negative where more was emitted. None where no price is in force.
    """
    price = _price(settings.carbon.at(at))
    return None if price is None else money_text(money(micrograms, microjoules, price), price.currency)


def _price(carbon: CarbonSettings) -> Price | None:
    if carbon.price is None and carbon.tariff is None:
        return None
    return Price(_micro(carbon.price), _micro(carbon.tariff), carbon.currency)


def _micro(value: Decimal | None) -> int:
    return 0 if value is None else int(value * MICRO)
