"""The costs of a report: its energy and emissions by the prices in force at each hour. Pure.

Nothing is added up over energy and emissions, or over the two Scope 2 figures: they are views of the same hours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from carbonbudget_operator.budgets.price import EMISSION_PARTS, ENERGY_PARTS, MICRO, Price, amount
from carbonbudget_operator.carbon_price import Prices, priced_parts


@dataclass(slots=True)
class GroupCosts:
    """Costs of one group, in the parts of `budgets.price`."""

    energy: int = 0
    location: int = 0
    market: int = 0
    embodied: int = 0

    def add(self, price: Price, energy_uj: int, location_ug: int, market_ug: int, embodied_ug: int) -> None:
        """Add a row of hours that have this price."""
        self.energy += price.of_energy(energy_uj)
        self.location += price.of_emissions(location_ug)
        self.market += price.of_emissions(market_ug)
        self.embodied += price.of_emissions(embodied_ug)

    def to_json(self) -> dict[str, str]:
        """Decimal strings with six decimals."""
        return {
            "energy_cost": f"{amount(self.energy, ENERGY_PARTS):f}",
            "location_cost": f"{amount(self.location, EMISSION_PARTS):f}",
            "market_cost": f"{amount(self.market, EMISSION_PARTS):f}",
            "embodied_cost": f"{amount(self.embodied, EMISSION_PARTS):f}",
        }


@dataclass(slots=True)
class ReportCosts:
    """The costs of one report, by owner and namespace. `prices` are those of the settings."""

    prices: Prices
    _total: GroupCosts = field(default_factory=GroupCosts)
    _owners: dict[str, GroupCosts] = field(default_factory=dict)
    _namespaces: dict[str, GroupCosts] = field(default_factory=dict)

    def add(
        self, start: int, owner: str, namespace: str, energy_uj: int, location_ug: int, market_ug: int, embodied_ug: int
    ) -> None:
        """Add a row that begins at the UTC second `start`. All its hours have one price: see `parts`."""
        price = self.prices.at(start)
        if price is None:
            return
        groups = (
            self._total, self._owners.setdefault(owner, GroupCosts()),
            self._namespaces.setdefault(namespace, GroupCosts()),
        )  # fmt: skip
        for group in groups:
            group.add(price, energy_uj, location_ug, market_ug, embodied_ug)

    def parts(self, borders: Iterable[int]) -> list[tuple[int, int]]:
        """The parts between these UTC seconds, each of one price."""
        ordered = sorted(set(borders))
        return [
            (since, until)
            for start, end in pairwise(ordered)
            for since, until, _ in priced_parts(self.prices, start, end)
        ]

    def to_json(self, start: int, end: int) -> dict[str, object] | None:
        """The costs of [start, end) and the prices in force; None where there is none."""
        parts = priced_parts(self.prices, start, end)
        currency = next((price.currency for *_, price in parts if price is not None), "")
        if not currency:
            return None
        return {
            "currency": currency,
            "prices": [
                {"from": since, **_words(price)}
                for since, _, price in parts
            ],
            "total": self._total.to_json(),
            "ownership": {name: group.to_json() for name, group in sorted(self._owners.items())},
            "namespaces": {name: group.to_json() for name, group in sorted(self._namespaces.items())},
        }  # fmt: skip


def _words(price: Price | None) -> dict[str, str | None]:
    if price is None:
        return {"per_tonne": None, "per_kwh": None}
    return {
        "per_tonne": f"{amount(price.per_tonne_micro, MICRO).normalize():f}",
        "per_kwh": f"{amount(price.per_kwh_micro, MICRO).normalize():f}",
    }
