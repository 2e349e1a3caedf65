"""Market-based figures: contracts, suppliers, claims of providers, the residual mix, and zones that are none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.valuation.valued_nodes import AMOUNT, CONTRACT, HOUR, RATE, a_node, grams

from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.carbon.grid_factors import UnknownZone
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ledger.facts import DomainFacts, NodeSlice
from carbonbudget_operator.ledger.valued_rows import DIRECT_UG, LOCATION_UG, MARKET_UG, STOOD_IN_UG, UNSPLIT_UG
from carbonbudget_operator.market_settings import MarketRate, MarketSettings
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.valuation.node_factors import Places, check_places
from carbonbudget_operator.valuation.valuer import Valuer


def test_a_contract_covers_its_hour_at_its_factor_and_the_supplier_the_rest() -> None:
    # 7,200 kWh over November's 720 hours are 10 kWh an hour; 20 kWh x PUE 1.2 are 24 kWh, so 14 are the supplier's.
    carbon = CarbonSettings(zone="NL", pue=1.2, market=MarketSettings(contracts=[CONTRACT], supplier=RATE))
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(20, "", "")])
    assert grams(rows, MARKET_UG) == 14 * 100
    (factors,) = {row.factors for row in rows}
    assert "wind (GO-1), 0 g/kWh" in factors
    assert "market: supplier 100 g/kWh (bill, 2025)" in factors


@given(st.lists(AMOUNT, min_size=2, max_size=5), st.integers(0, 8 * 10**13), st.integers(0, 500))
def test_where_budgets_begin_or_end_changes_no_markets_figure(
    energies: list[int], delivered_uj: int, g_per_kwh: int
) -> None:
    """A contract of an hour covers the hour's energy, wherever cuts split it."""
    kwh = 720 * delivered_uj // UJ_PER_KWH + 1
    rate = MarketRate(g_per_kwh=Decimal(300), source="bill", year=2025)
    contract = CONTRACT.model_copy(update={"kwh": kwh, "g_per_kwh": Decimal(g_per_kwh)})
    carbon = CarbonSettings(zone="NL", pue=1.0, market=MarketSettings(contracts=[contract], supplier=rate))
    valuer = Valuer(Places(carbon), AllocationPolicy())

    def a_slice(start: int, end: int, uj: int) -> NodeSlice:
        facts = DomainFacts(uj, uj, 0, 0, 0, (end - start) * 1000)
        return replace(a_node(0, "", ""), start=start, end=end, domains={"cpu": facts})

    whole = valuer.value([a_slice(HOUR, HOUR + 3600, sum(energies))])
    cuts = [*(HOUR + 600 * at for at in range(len(energies))), HOUR + 3600]
    cut = valuer.value([a_slice(a, b, uj) for (a, b), uj in zip(pairwise(cuts), energies, strict=True)])
    figures = [sum(sum(row.figures[MARKET_UG]) for row in rows) for rows in (whole, cut)]
    assert abs(figures[0] - figures[1]) <= len(energies)  # each slice rounds by itself


def test_what_a_contract_covers_goes_to_the_parts_of_its_hour_by_their_energy() -> None:
    carbon = CarbonSettings(
        zone="NL", pue=1.0, market=MarketSettings(contracts=[CONTRACT], supplier=RATE)
    )  # 10 kWh an hour
    early = replace(a_node(9, "", ""), end=HOUR + 900)
    late = replace(a_node(11, "", ""), start=HOUR + 900)
    rows = Valuer(Places(carbon), AllocationPolicy()).value([early, late])
    assert [(row.start - HOUR, sum(row.figures[MARKET_UG]) / 1e6) for row in rows] == [(0, 450), (900, 550)]


def test_an_hour_that_is_still_open_has_what_a_contract_delivers_in_all_of_it() -> None:
    """So a market's figure only grows while the hour goes on."""
    carbon = CarbonSettings(zone="NL", pue=1.0, market=MarketSettings(contracts=[CONTRACT], supplier=RATE))
    half = replace(a_node(12, "", ""), end=HOUR + 1800)
    assert grams(Valuer(Places(carbon), AllocationPolicy()).value([half]), MARKET_UG) == 2 * 100


def test_without_any_market_factor_the_locations_stands_in_and_says_so() -> None:
    rows = Valuer(Places(CarbonSettings(zone="DE", pue=1.0)), AllocationPolicy()).value([a_node(2, "", "")])
    assert grams(rows, MARKET_UG) == grams(rows, LOCATION_UG) > 0
    assert any("noMarketFactor" in factor for factor in rows[0].factors)


def test_a_providers_claim_counts_only_where_it_is_attested() -> None:
    node = a_node(2, "us-east-1", "aws:///us-east-1a/i-1")
    claimed = Valuer(
        Places(CarbonSettings(market=MarketSettings(attested_providers=["aws"]))), AllocationPolicy()
    ).value([node])
    unclaimed = Valuer(Places(CarbonSettings()), AllocationPolicy()).value([node])
    assert grams(claimed, MARKET_UG) == 0
    assert grams(unclaimed, MARKET_UG) == grams(claimed, LOCATION_UG) > 0
    assert any("claim of aws for us-east-1 0 g/kWh" in f and f.endswith("attested") for f in claimed[0].factors)


def test_an_attested_claim_goes_before_the_suppliers_rate_and_both_before_the_residual_mix() -> None:
    """The supplier is that of one's own sites; a cloud's region has what its provider holds for it, or the mix."""
    given = {
        "supplier": {"g_per_kwh": 100, "source": "bill", "year": 2025},
        "residual_mixes": [{"zone": "US-VA", "g_per_kwh": 500, "source": "registry", "year": 2025}],
    }
    cloud, own = a_node(2, "us-east-1", "aws:///us-east-1a/i-1"), a_node(2, "us-east-1", "")

    def market_grams(node: NodeSlice, **market: object) -> float:
        carbon = CarbonSettings.model_validate({"pue": 1, "market": market})
        return grams(Valuer(Places(carbon), AllocationPolicy()).value([node]), MARKET_UG)

    assert market_grams(cloud, **given, attested_providers=["aws"]) == 0
    assert market_grams(own, **given, attested_providers=["aws"]) == 200
    assert market_grams(cloud, **given) == 1000
    assert market_grams(cloud, residual_mixes=given["residual_mixes"]) == 1000


OTHERS = [("auto", "gce://p/z/i"), ("auto", "openstack:///0f1e"), ("cloud", ""), ("leased", "")]


@pytest.mark.parametrize(("ownership", "provider_id"), OTHERS)
def test_neither_supplier_nor_contract_counts_for_electricity_that_another_company_buys(
    ownership: str, provider_id: str
) -> None:
    """The reported case: a company's wind contract made its cloud's electricity 0 g, and its supplier's rate too."""
    market = MarketSettings(contracts=[CONTRACT], supplier=RATE)
    carbon = CarbonSettings.model_validate({"zone": "NL", "pue": 1, "ownership": ownership, "market": market})
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(10, "europe-west4", provider_id)])
    assert grams(rows, MARKET_UG) == grams(rows, LOCATION_UG) == sum(row.figures[STOOD_IN_UG] for row in rows) / 1e6
    (factors,) = {row.factors for row in rows}
    assert any(factor.startswith("noMarketFactor: no attested claim or residual mix") for factor in factors)
    assert not any("wind" in factor or "supplier 100" in factor for factor in factors)


@pytest.mark.parametrize("ownership", ["auto", "owned"])
def test_energy_of_an_attested_claim_uses_up_no_contract(ownership: str) -> None:
    """10 kWh an hour are delivered; the cloud's node has its provider's certificates, and one's own has all 10."""
    market = MarketSettings(contracts=[CONTRACT], supplier=RATE, attested_providers=["gcp"])
    carbon = CarbonSettings.model_validate({"pue": 1, "ownership": ownership, "market": market})
    own = replace(a_node(10, "europe-west4", ""), node=replace(a_node(10, "europe-west4", "").node, id=2, name="own"))
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(10, "europe-west4", "gce://p/z/i"), own], True)
    assert grams([row for row in rows if row.node == "own"], MARKET_UG) == 0
    assert any("wind (GO-1)" in factor for row in rows if row.node == "own" for factor in row.factors)
    assert not any("wind (GO-1)" in factor for row in rows if row.node != "own" for factor in row.factors)


def test_the_name_of_a_region_makes_no_machine_of_ones_own_the_providers() -> None:
    """Its energy is bought, and the provider has no certificates for it."""
    carbon = CarbonSettings(pue=1.0, market=MarketSettings(supplier=RATE, attested_providers=["gcp"]))
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(2, "europe-west4", "")])
    assert grams(rows, MARKET_UG) == 200


def test_a_certificate_that_is_listed_twice_is_refused() -> None:
    again = CONTRACT.model_copy(update={"name": "wind again", "zone": "DE", "certificate": " go-1"})
    with pytest.raises(ValidationError, match=r"contracts wind and wind again are the same 7200 kWh of certificate"):
        MarketSettings(contracts=[CONTRACT, again])
    others = [{"certificate": "GO-2"}, {"kwh": 7201}, {"start": dt.date(2025, 11, 2)}]
    assert len(MarketSettings(contracts=[CONTRACT, *(again.model_copy(update=its) for its in others)]).contracts) == 4


@pytest.mark.parametrize("zone", ["US-VA", "US", "us"])
def test_an_instrument_counts_where_it_delivers_whatever_figure_the_location_falls_back_to(zone: str) -> None:
    """Virginia's grid has a direct figure alone: a lifecycle report falls to the country's."""
    contract = CONTRACT.model_copy(update={"zone": zone})
    for basis in ("lifecycle", "direct"):
        carbon = CarbonSettings.model_validate(
            {"pue": 1, "basis": basis, "ownership": "owned", "market": MarketSettings(contracts=[contract])}
        )
        rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(10, "us-east-1", "aws:///us-east-1a/i-1")])
        assert grams(rows, MARKET_UG) == 0  # ten kilowatt-hours an hour are what it delivers
        assert any("wind (GO-1)" in factor for factor in rows[0].factors)


def test_a_zone_of_an_instrument_that_is_none_stops_the_start() -> None:
    check_places(CarbonSettings(market=MarketSettings(contracts=[CONTRACT])))
    with pytest.raises(UnknownZone, match=r"contracts: 'NEVERLAND' is no grid zone"):
        check_places(
            CarbonSettings(market=MarketSettings(contracts=[CONTRACT.model_copy(update={"zone": "NEVERLAND"})]))
        )


def test_a_zone_of_a_source_that_no_node_can_stand_in_stops_the_start() -> None:
    source = {"type": "http", "name": "own", "url": "http://x", "value": "v", "time": "t", "basis": "lifecycle"}
    check_places(CarbonSettings.model_validate({"intensity": {"sources": [source | {"zones": {"de": "Germany"}}]}}))
    with pytest.raises(UnknownZone, match=r"intensity.sources of own: 'US-CAL-CISO' is no grid zone"):
        check_places(
            CarbonSettings.model_validate({"intensity": {"sources": [source | {"zones": {"US-CAL-CISO": "x"}}]}})
        )


@pytest.mark.parametrize(
    "carbon",
    [
        {"zone": "GB", "basis": "direct", "intensity": {"sources": [{"type": "neso"}]}},
        {
            "zone": "de", "basis": "direct",
            "intensity": {"sources": [{
                "type": "static", "figures": {"DE": 300}, "basis": "direct", "source": "s", "year": 2025,
            }]},
        },
        {"zone": "DE", "basis": "direct"},
        {"zone": "CA-QC"},
    ],
)  # fmt: skip
def test_a_zone_of_the_tables_is_taken_with_either_basis(carbon: dict[str, object]) -> None:
    """A source has its figures, and the bundled one of the other basis stands in where no source has the hour."""
    check_places(CarbonSettings.model_validate(carbon))
    with pytest.raises(UnknownZone, match=r"^carbon\.zone: 'ATLANTIS' is no grid zone of the bundled tables"):
        check_places(CarbonSettings.model_validate({**carbon, "zone": "ATLANTIS"}))


def test_a_life_cycle_figure_that_stands_in_for_a_direct_one_is_not_counted_as_direct() -> None:
    carbon = CarbonSettings(basis="direct", pue=1.0)
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(10, "eu-north-1", "aws:///eu-north-1a/i-1")])
    assert grams(rows, LOCATION_UG) == 270  # 27 g/kWh; the world's mean would be 4,583
    assert sum(row.figures[UNSPLIT_UG] for row in rows) == 270 * 10**6
    assert sum(row.figures[DIRECT_UG] for row in rows) == 0


@pytest.mark.parametrize("key", ["figures", "other_figures"])
def test_a_zone_of_a_stated_figure_that_no_node_can_stand_in_stops_the_start(key: str) -> None:
    source = {"type": "static", "figures": {"DE": 330}, "basis": "lifecycle", "source": "s", "year": 2025}
    check_places(CarbonSettings.model_validate({"intensity": {"sources": [source | {key: {"de": 300}}]}}))
    with pytest.raises(UnknownZone, match=r"^carbon\.intensity\.sources of static: 'D' is no grid zone"):
        check_places(CarbonSettings.model_validate({"intensity": {"sources": [source | {key: {"D": 300}}]}}))
