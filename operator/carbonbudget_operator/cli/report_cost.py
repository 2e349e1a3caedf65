"""The costs of a report for people: lines of text, cells of CSV, rows of HTML; none without a price. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from carbonbudget_operator.budgets.price import money_text
from carbonbudget_operator.cli.covered_span import date_of

COST_COLUMNS: Final = ("energy_cost", "location_cost", "market_cost", "embodied_cost")
_NOT_ADDED: Final = (
    "costs of energy and emissions are not added up: the Scope 2 figures are two views of the same energy"
)


def cost_lines(result: Mapping[str, Any]) -> list[str]:
    """The total's costs and the prices they follow from; nothing without a price."""
    cost = result.get("cost")
    if cost is None:
        return []
    total = shown_costs(cost["total"], cost["currency"])
    lines = [
        f"cost: energy {total[0]}; emissions location-based {total[1]}, market-based {total[2]}; embodied {total[3]}"
    ]
    return [*lines, *price_lines(cost), _NOT_ADDED]


def price_lines(cost: Mapping[str, Any]) -> list[str]:
    """The prices in force, one line for each time: "from 2026-07-01: 85 EUR per t CO2e, 0.3 EUR per kWh"."""
    return [f"price from {date_of(one['from'])}: {_price_words(one, cost['currency'])}" for one in cost["prices"]]


def shown_costs(costs: Mapping[str, str], currency: str) -> list[str]:
    """The cells of a group, in the order of COST_COLUMNS."""
    return [money_text(Decimal(costs[column]), currency) for column in COST_COLUMNS]


def cost_cells(result: Mapping[str, Any]) -> dict[tuple[str, str], list[str]]:
    """CSV: the cells of COST_COLUMNS and the currency by the kind and name of their line."""
    cost = result.get("cost")
    if cost is None:
        return {}
    groups = {("total", "total"): cost["total"]}
    groups |= {("ownership", name): found for name, found in cost["ownership"].items()}
    groups |= {("namespace", name): found for name, found in cost["namespaces"].items()}
    return {key: [*(found[column] for column in COST_COLUMNS), cost["currency"]] for key, found in groups.items()}


def _price_words(one: Mapping[str, Any], currency: str) -> str:
    if one["per_tonne"] is None:
        return "none"
    return f"{one['per_tonne']} {currency} per t CO2e, {one['per_kwh']} {currency} per kWh"
