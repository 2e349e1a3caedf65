"""Valued rows: whatever is asked, in whatever way, the answers add up to the cluster's total, unit by unit."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.answers.grouping import FILTERED, allocation_json, group_rows
from carbonbudget_operator.carbon.emissions_formula import UJ_PER_KWH
from carbonbudget_operator.carbon.grid_factors import UnknownZone
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    DIRECT_UG,
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    STOOD_IN_UG,
    UNSPLIT_UG,
    UPSTREAM_UG,
    ValuedRow,
    rows_within,
)
from carbonbudget_operator.settings import CarbonSettings, ContractSettings, MarketRate, MarketSettings
from carbonbudget_operator.valuation.places import Places, check_places
from carbonbudget_operator.valuation.valuer import Valuer

HOUR = 1_764_000_000
HOUR_MS = 3_600_000
AMOUNT = st.integers(0, 10**13)
GROUPS = [
    PodGroup(namespace, workload, {"team": team} if team else {})
    for namespace in ("a", "b", "kube-system")
    for workload in ("Job/x", "Job/y")
    for team in ("", "red", "blue")
]
REGIONS = [("europe-west4", "gce://p/z/i"), ("us-east-1", "aws:///z/i"), ("", ""), ("nowhere", "")]
SHARED = st.dictionaries(
    st.sampled_from(["kube-system", "b"]),
    st.one_of(st.sampled_from(["proportional", "even", "separate"]), st.just({"a": 3, "b": 1})),
)
POLICIES = st.builds(AllocationPolicy, st.sampled_from(IdleRule), st.sampled_from(OverheadRule), SHARED)
CONTRACT = ContractSettings(
    name="wind", certificate="GO-1", zone="NL", start=dt.date(2025, 11, 1), end=dt.date(2025, 12, 1), kwh=7200
)
RATE = MarketRate(g_per_kwh=Decimal(100), source="bill", year=2025)
CARBONS = st.sampled_from(
    [
        CarbonSettings(),
        CarbonSettings(
            market=MarketSettings(
                contracts=[CONTRACT], supplier=MarketRate(g_per_kwh=Decimal("123.4"), source="bill", year=2025)
            )
        ),
        CarbonSettings(zone="NL", pue=1.2, market=MarketSettings(contracts=[CONTRACT])),
        CarbonSettings(market=MarketSettings(attested_providers=["aws", "gcp"])),
        CarbonSettings(
            basis="direct", market=MarketSettings(contracts=[CONTRACT, CONTRACT.model_copy(update={"zone": "US"})])
        ),
    ]
)


@st.composite
def clusters(draw: st.DrawFn) -> list[NodeSlice]:
    """Some nodes in an hour, one or two slices each."""
    found = []
    for index in range(draw(st.integers(1, 4))):
        region, provider = draw(st.sampled_from(REGIONS))
        node = NodeFacts(index, f"n{index}", provider, region, "", "", 64_000, 64, draw(st.integers(0, 4)))
        for start in draw(st.sampled_from([(HOUR,), (HOUR, HOUR + 900)])):
            names = draw(st.sampled_from([["cpu"], ["cpu", "gpu:x"]]))
            energies = st.dictionaries(st.sampled_from(names), AMOUNT)
            groups = tuple(
                PodGroupFacts(
                    GROUPS[at], draw(st.integers(1, 3)), draw(energies), draw(energies), draw(AMOUNT), draw(AMOUNT),
                    draw(st.integers(0, 2 * HOUR_MS)),
                )
                for at in draw(st.lists(st.integers(0, len(GROUPS) - 1), max_size=5, unique=True))
            )  # fmt: skip
            domains = {}
            for name in names:
                idle, system, unseen = draw(AMOUNT), draw(AMOUNT), draw(AMOUNT)
                total = sum(g.energy_uj.get(name, 0) + g.idle_uj.get(name, 0) for g in groups) + idle + system + unseen
                metered = draw(st.sampled_from([0, total, total // 3]))
                domains[name] = DomainFacts(total, idle, system, unseen, metered, draw(st.integers(0, HOUR_MS)))
            found.append(NodeSlice(node, start, start + 900, domains, groups))
    return found


def totals(rows: list[ValuedRow]) -> list[int]:
    return [sum(row.figures[column] for row in rows) for column in range(COLUMNS)]


GROUPINGS = st.lists(
    st.sampled_from(["namespace", "workload", "node", "label:team", "label:none"]), min_size=1, max_size=3, unique=True
)
FILTERS = st.lists(
    st.sampled_from(
        [("namespace", "a"), ("workload", "Job/x"), ("label:team", "red"), ("node", "n0"), ("namespace", "-")]
    ),
    max_size=2,
)


@settings(max_examples=300)
@given(clusters(), POLICIES, CARBONS, GROUPINGS, FILTERS)
def test_under_every_policy_grouping_and_filter_the_rows_add_up_to_the_clusters_total(
    slices: list[NodeSlice],
    policy: AllocationPolicy,
    carbon: CarbonSettings,
    group_by: list[str],
    filters: list[tuple[str, str]],
) -> None:
    measured_uj = sum(domain.measured_uj for item in slices for domain in item.domains.values())
    rows = Valuer(Places(carbon), policy).value(slices, by_node=True)
    assert sum(sum(row.figures[ENERGY_UJ]) for row in rows) == measured_uj
    plain = Valuer(Places(carbon), AllocationPolicy()).value(slices)
    # The grams of the cluster are those of its energy: no policy makes or loses any, nor does any question.
    for part in (LOCATION_UG, MARKET_UG):
        assert sum(sum(row.figures[part]) for row in rows) == sum(sum(row.figures[part]) for row in plain)
    assert sum(row.figures[EMBODIED_UG] for row in rows) == sum(row.figures[EMBODIED_UG] for row in plain)
    assert min((min(row.figures) for row in rows), default=0) >= 0
    # Split by what their factors have, each row's grams are the same grams; shared namespaces round once a column.
    for some in [rows] if policy.shared else [rows, *([row] for row in rows)]:
        parts = sum(row.figures[DIRECT_UG] + row.figures[UPSTREAM_UG] + row.figures[UNSPLIT_UG] for row in some)
        assert parts == sum(sum(row.figures[LOCATION_UG]) for row in some)
        assert sum(row.figures[STOOD_IN_UG] for row in some) <= sum(sum(row.figures[MARKET_UG]) for row in some)
    found = allocation_json(group_rows(rows, group_by, filters), (0, 3600))
    for figure in ("energy_uj", "location_ug", "market_ug", "embodied_ug"):
        assert sum(row[figure] for row in found["rows"]) == found["total"][figure]
    assert found["total"]["energy_uj"] == measured_uj


@settings(max_examples=200)
@given(clusters(), POLICIES, CARBONS, GROUPINGS)
def test_a_groups_figure_depends_neither_on_the_grouping_nor_on_the_filter(
    slices: list[NodeSlice], policy: AllocationPolicy, carbon: CarbonSettings, group_by: list[str]
) -> None:
    rows = Valuer(Places(carbon), policy).value(slices, by_node=True)
    by_namespace = {g.key["namespace"]: g.energy_uj for g in group_rows(rows, ["namespace"], [])}
    finer: Counter[str] = Counter()
    for part in group_rows(rows, ["namespace", *(field for field in group_by if field != "namespace")], []):
        finer[part.key["namespace"]] += part.energy_uj
    assert finer == Counter(by_namespace)
    for part in group_rows(rows, ["namespace"], [("namespace", "a")]):
        assert part.key["namespace"] in ("a", FILTERED)
        if part.key["namespace"] == "a":
            assert part.energy_uj == by_namespace["a"]


@settings(max_examples=100)
@given(clusters(), POLICIES, CARBONS)
def test_summing_up_the_nodes_changes_no_figure(
    slices: list[NodeSlice], policy: AllocationPolicy, carbon: CarbonSettings
) -> None:
    apart, summed = (Valuer(Places(carbon), policy).value(slices, by_node) for by_node in (True, False))
    assert totals(apart) == totals(summed)
    assert by_group(apart) == by_group(summed)


def by_group(rows: list[ValuedRow]) -> dict[object, tuple[list[int], frozenset[str]]]:
    """Every figure of every group, and its factors."""
    found: dict[object, tuple[list[int], frozenset[str]]] = {}
    for row in rows:
        key = (row.start, row.scope, row.namespace, row.workload, str(row.labels))
        figures, factors = found.get(key, ([0] * COLUMNS, frozenset()))
        found[key] = ([a + b for a, b in zip(figures, row.figures, strict=True)], factors | row.factors)
    return {key: value for key, value in found.items() if any(value[0])}


def a_node(
    energy_kwh: int, region: str, provider: str, gpus: int = 0, groups: tuple[PodGroupFacts, ...] = ()
) -> NodeSlice:
    """One node in one hour, all of it idle."""
    energy_uj = energy_kwh * UJ_PER_KWH
    node = NodeFacts(1, "n", provider, region, "", "", 64_000, 64, gpus)
    return NodeSlice(node, HOUR, HOUR + 3600, {"cpu": DomainFacts(energy_uj, energy_uj, 0, 0, 0, HOUR_MS)}, groups)


def grams(rows: list[ValuedRow], part: slice) -> float:
    return sum(sum(row.figures[part]) for row in rows) / 1e6


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
    """The supplier is that of one's own sites; a cloud's region has what its provider holds for it."""
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
    assert market_grams(cloud, **given) == 200
    assert market_grams(cloud, residual_mixes=given["residual_mixes"]) == 1000


@pytest.mark.parametrize("zone", ["US-VA", "US", "us"])
def test_an_instrument_counts_where_it_delivers_whatever_figure_the_location_falls_back_to(zone: str) -> None:
    """Virginia's grid has a direct figure alone: a lifecycle report falls to the country's."""
    contract = CONTRACT.model_copy(update={"zone": zone})
    for basis in ("lifecycle", "direct"):
        carbon = CarbonSettings(pue=1.0, basis=basis, market=MarketSettings(contracts=[contract]))
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


@pytest.mark.parametrize("key", ["figures", "other_figures"])
def test_a_zone_of_a_stated_figure_that_no_node_can_stand_in_stops_the_start(key: str) -> None:
    source = {"type": "static", "figures": {"DE": 330}, "basis": "lifecycle", "source": "s", "year": 2025}
    check_places(CarbonSettings.model_validate({"intensity": {"sources": [source | {key: {"de": 300}}]}}))
    with pytest.raises(UnknownZone, match=r"^carbon\.intensity\.sources of static: 'D' is no grid zone"):
        check_places(CarbonSettings.model_validate({"intensity": {"sources": [source | {key: {"D": 300}}]}}))


def test_a_provider_that_is_none_stops_the_start_and_names_those_that_are_known() -> None:
    check_places(CarbonSettings(provider="own"))
    with pytest.raises(UnknownZone, match=r"carbon.provider 'amazon' is not known: use one of own, alibaba, aws"):
        check_places(CarbonSettings(provider="amazon"))


def test_a_node_whose_owner_is_not_clear_says_so_with_its_factors_and_the_setting_decides() -> None:
    node = a_node(10, "RegionOne", "openstack:///0f1e").node
    unclear, own = Places(CarbonSettings()), Places(CarbonSettings(provider="own"))
    assert any("set carbon.provider" in factor for factor in unclear.of(node, 0).factors)
    assert unclear.scope(node) == "Scope 3, category 1"
    assert not any("set carbon.provider" in factor for factor in own.of(node, 0).factors)
    assert own.scope(node) == "Scope 2"


def test_who_bears_a_shared_namespace_has_the_factors_of_its_nodes() -> None:
    shared = PodGroup("kube-system", "Deployment/dns", {})
    nodes = [
        replace(a_node(2, "europe-west9", "", groups=(PodGroupFacts(shared, 1, {"cpu": 0}, {}, 0, 64_000 * HOUR_MS),))),
        replace(
            a_node(2, "europe-north1", "", groups=(PodGroupFacts(GROUPS[0], 1, {"cpu": 0}, {}, 0, 64_000 * HOUR_MS),))
        ),
    ]
    rows = Valuer(Places(CarbonSettings()), AllocationPolicy(shared={"kube-system": "proportional"})).value(nodes)
    assert {row.namespace for row in rows} == {"a"}
    assert {"FR", "FI"} <= {factor[:2] for factor in rows[0].factors}


def test_embodied_carries_the_range_between_sources_and_none_where_the_figure_is_ones_own() -> None:
    bundled = Valuer(Places(CarbonSettings()), AllocationPolicy()).value([a_node(1, "", "", gpus=8)])
    low, figure, high = (
        sum(row.figures[at] for row in bundled) for at in (EMBODIED_LOW_UG, EMBODIED_UG, EMBODIED_HIGH_UG)
    )
    kg = (459.9 + 8 * 164, 900 + 8 * 273, 2087 + 8 * 575.1)
    assert (low / figure, high / figure) == (pytest.approx(kg[0] / kg[1]), pytest.approx(kg[2] / kg[1]))
    assert any("459.9 to 2087 kg by others" in factor for factor in bundled[0].factors)
    own = CarbonSettings.model_validate({"embodied": {"server_kg": 1000, "gpu_kg": 200}})
    for row in Valuer(Places(own), AllocationPolicy()).value([a_node(1, "", "", gpus=8)]):
        assert row.figures[EMBODIED_LOW_UG] == row.figures[EMBODIED_UG] == row.figures[EMBODIED_HIGH_UG]


def test_gpus_that_show_after_their_node_have_embodied_emissions_from_then_on() -> None:
    """A device plugin comes up minutes after the node's first report."""
    valuer = Valuer(Places(CarbonSettings()), AllocationPolicy())
    before, after = (
        sum(row.figures[EMBODIED_UG] for row in valuer.value([a_node(1, "", "", gpus=gpus)])) for gpus in (0, 8)
    )
    assert after == pytest.approx(before * (900 + 8 * 273) / 900)


@pytest.mark.parametrize("offered", [0, 2, 8])
def test_gpus_bear_the_same_however_many_shares_of_them_a_node_offers(offered: int) -> None:
    """Two GPUs: cut up under names of their own, whole, and time-sliced by four; a pod holds half of one."""
    carbon = CarbonSettings.model_validate({"embodied": {"server_kg": 0, "gpu_kg": 8766, "life_years": 1}})
    gpus = {"gpu:x": DomainFacts(200, 50, 0, 0, 0, HOUR_MS), "gpu:y": DomainFacts(100, 100, 0, 0, 0, HOUR_MS)}
    held = PodGroupFacts(GROUPS[0], 1, {}, {"gpu:x": 50}, 0, 0, 0)
    node = a_node(1, "", "", gpus=offered, groups=(held,))
    rows = Valuer(Places(carbon), AllocationPolicy()).value([replace(node, domains={**node.domains, **gpus})])
    assert {row.namespace: row.figures[EMBODIED_UG] / 1e9 for row in rows} == {"a": 0.5, "__idle__": 1.5}
    assert all("2 GPUs of" in str(row.factors) for row in rows)


@given(st.lists(st.integers(0, 10**14), min_size=1, max_size=5), st.lists(st.integers(-50, 3650), max_size=6))
def test_spans_that_follow_one_another_add_up(figures: list[int], cuts: list[int]) -> None:
    row = ValuedRow(HOUR, HOUR + 3600, "", "", "a", "", {}, figures, frozenset())
    bounds = sorted({HOUR - 50, HOUR + 3650, *(HOUR + cut for cut in cuts)})
    parts = [part for span in pairwise(bounds) for part in rows_within([row], *span)]
    assert [sum(column) for column in zip(*(part.figures for part in parts), strict=True)] == figures


def test_embodied_goes_by_what_is_reserved_and_the_rest_is_nobodys() -> None:
    """A server of 8766 kg over one year of 8766 hours: a kilogram an hour; two GPUs of as much each."""
    carbon = CarbonSettings.model_validate({"embodied": {"server_kg": 8766, "gpu_kg": 8766, "life_years": 1}})
    groups = (
        PodGroupFacts(GROUPS[0], 1, {}, {}, 0, 16_000 * HOUR_MS, 1 * HOUR_MS),
        PodGroupFacts(GROUPS[9], 1, {}, {}, 0, 32_000 * HOUR_MS, 0),
    )
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(1, "", "", gpus=2, groups=groups)])
    assert {row.namespace: row.figures[EMBODIED_UG] / 1e9 for row in rows} == {
        "a": 0.25 + 1,
        "b": 0.5,
        "__idle__": 0.25 + 1,
    }


def test_past_its_life_hardware_has_no_embodied_emissions_left() -> None:
    carbon = CarbonSettings.model_validate({"embodied": {"life_years": 3, "in_service": "2020-01-01"}})
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(1, "", "")])
    assert sum(row.figures[EMBODIED_UG] for row in rows) == 0
