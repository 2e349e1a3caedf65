"""Costs in reports and series: each hour by the price in force, and a price moves no gram."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.emission_series import SeriesQuery, emission_series, version_of
from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.report_comparison import restatement
from carbonbudget_operator.budgets.price import EMISSION_PARTS, ENERGY_PARTS, amount
from carbonbudget_operator.cli.report_cost import cost_lines
from carbonbudget_operator.cli.report_csv import print_csv
from carbonbudget_operator.cli.report_html import report_html
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.derivation import changes, describe
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_761_868_800  # 2025-10-31T00:00Z
NOW = FIRST + 10 * DAY
CHANGE = "2025-10-31T04:00Z"
PRICES = {
    "price": [{"value": 40}, {"valid_from": CHANGE, "value": 100}], "tariff": 0.25, "currency": "EUR",
}  # fmt: skip


def settings(**carbon: Any) -> Settings:
    return Settings.model_validate({"carbon": {"zone": "DE", "pue": 1.0, **carbon}})


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Two days of a tenth of a kWh in each hour."""
    reports = (a_report(FIRST + n * HOUR, pods={"p": 240 * 10**9, "q": 10**9}) for n in range(48))
    book(Booker(engine), *reports)
    return engine


def report(engine: sa.Engine, given: Settings) -> dict[str, Any]:
    made = EmissionsReporter(engine, given)
    for _ in made.run(FIRST, FIRST + 2 * DAY, NOW):
        pass
    return made.result()


def series(engine: sa.Engine, given: Settings, step: Any = "all") -> Any:
    query = SeriesQuery((FIRST, FIRST + 2 * DAY), step, ("namespace",), (), None, compare=False, after=None, limit=100)
    return emission_series(ValuedReader(engine, given), query)


def stored(engine: sa.Engine, given: Settings) -> None:
    steps = UpkeepSteps(ValuedReader(engine, given), 90, 24)
    for _ in range(2):
        steps.begin(NOW)
        while steps.step(NOW) is not None:
            pass


@pytest.mark.parametrize("from_days", [False, True])
def test_a_report_costs_each_hour_by_its_price_also_where_days_are_stored(filled: sa.Engine, from_days: bool) -> None:
    given = settings(**PRICES)
    if from_days:
        stored(filled, given)
    found = report(filled, given)
    cost, total = found["cost"], found["total"]
    by_hand = (Decimal(40) * 4 + Decimal(100) * 44) / 48 * Decimal(total["location_g"]) / 1_000_000
    assert Decimal(cost["total"]["location_cost"]) == pytest.approx(by_hand, abs=Decimal("0.000001"))
    kwh = Decimal(total["it_energy_kwh"])
    assert Decimal(cost["total"]["energy_cost"]) == pytest.approx(kwh / 4, abs=Decimal("0.000001"))
    assert cost["currency"] == "EUR"
    assert [(one["from"], one["per_tonne"], one["per_kwh"]) for one in cost["prices"]] == [
        (FIRST, "40", "0.25"), (FIRST + 4 * HOUR, "100", "0.25"),
    ]  # fmt: skip


def test_a_price_moves_no_gram_of_a_report_and_values_no_row_again(filled: sa.Engine) -> None:
    plain, priced = settings(), settings(**PRICES)
    assert describe(plain) == describe(priced)
    assert changes(priced, FIRST, FIRST + DAY) == []
    with_price = report(filled, priced)
    cost = with_price.pop("cost")
    assert with_price == report(filled, plain)
    assert cost["total"]["location_cost"] != "0.000000"


def test_a_closed_report_without_costs_is_not_restated_by_a_price(filled: sa.Engine) -> None:
    closed = report(filled, settings())
    assert restatement(closed, report(filled, settings(**PRICES))) == []
    other = settings(**PRICES | {"price": 41})
    assert restatement(report(filled, settings(**PRICES)), report(filled, other)) != []


@pytest.mark.parametrize("step", ["all", "day", "hour"])
def test_a_series_costs_what_the_report_of_its_window_costs(filled: sa.Engine, step: str) -> None:
    given = settings(**PRICES)
    found, cost = series(filled, given, step), report(filled, given)["cost"]
    assert found.currency == "EUR"
    assert f"{amount(found.total.location_cost, EMISSION_PARTS):f}" == cost["total"]["location_cost"]
    assert f"{amount(found.total.energy_cost, ENERGY_PARTS):f}" == cost["total"]["energy_cost"]
    for name, group in cost["namespaces"].items():
        parts = sum(row.amounts.location_cost for row in found.rows if row.key == (name,))
        assert f"{amount(parts, EMISSION_PARTS):f}" == group["location_cost"]


def test_a_window_without_a_price_has_no_costs_and_another_price_makes_another_version(filled: sa.Engine) -> None:
    found = series(filled, settings())
    assert (found.currency, found.total.location_cost) == ("", 0)
    assert "cost" not in report(filled, settings())
    query = SeriesQuery((FIRST, FIRST + DAY), "all", (), (), None, compare=False, after=None, limit=1)
    versions = [
        version_of(ValuedReader(filled, given), query, "")
        for given in (settings(), settings(**PRICES), settings(**PRICES | {"price": 41}))
    ]
    assert len(set(versions)) == 3


def test_the_report_s_text_csv_and_html_have_its_costs(filled: sa.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(filled, settings(**PRICES))
    lines = cost_lines(found)
    assert lines[0].startswith("cost: energy ")
    assert "price from 2025-10-31 00:00 UTC: 40 EUR per t CO2e, 0.25 EUR per kWh" in lines[1]
    assert "100 EUR per t CO2e" in lines[2]
    print_csv(found, "")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    total = next(row for row in rows if row["kind"] == "total")
    assert (total["location_cost"], total["currency"]) == (found["cost"]["total"]["location_cost"], "EUR")
    assert sum(row["location_cost"] != "" for row in rows) == 2 + len(found["namespaces"])
    page = report_html(found, "2025-10")
    assert "<h2>Costs</h2>" in page
    assert "100 EUR per t CO2e" in page


def test_without_a_price_text_csv_and_html_are_as_before(filled: sa.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(filled, settings())
    assert cost_lines(found) == []
    print_csv(found, "")
    assert "cost" not in capsys.readouterr().out.splitlines()[0]
    assert "Costs" not in report_html(found, "2025-10")
    assert "cost" not in json.dumps(found)
