"""Valued rows: whatever is asked, in whatever way, the answers add up to the cluster's total, unit by unit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.valuation.valued_nodes import (
    CARBONS,
    CONTRACT,
    FILTERS,
    GROUPINGS,
    GROUPS,
    HOUR,
    HOUR_MS,
    POLICIES,
    a_node,
    by_group,
    clusters,
    totals,
)

from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.answers.allocation_groups import FILTERED, allocation_json, group_rows
from carbonbudget_operator.carbon.grid_factors import UnknownZone
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityHours
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ledger.facts import DomainFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.ledger.valued_rows import (
    DIRECT_UG,
    DIRECT_UJ,
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    ENERGY_UJ,
    FACILITY_UJ,
    LOCATION_UG,
    MARKET_UG,
    MARKET_UJ,
    STOOD_IN_DIRECT_UG,
    STOOD_IN_UG,
    STOOD_IN_UPSTREAM_UG,
    UNSPLIT_UG,
    UPSTREAM_UG,
    UPSTREAM_UJ,
    ValuedRow,
    rows_within,
)
from carbonbudget_operator.market_settings import MarketSettings
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.valuation.node_factors import Places, check_places
from carbonbudget_operator.valuation.valuer import Valuer


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
        # No row of an inventory covers more energy than there is, nor emits anything of energy that it does not cover.
        for column, ug in ((DIRECT_UJ, DIRECT_UG), (UPSTREAM_UJ, UPSTREAM_UG)):
            covered_uj = sum(row.figures[column] for row in some)
            assert covered_uj <= sum(row.figures[FACILITY_UJ] for row in some)
            assert covered_uj or not sum(row.figures[ug] for row in some)
    found = allocation_json(group_rows(rows, group_by, filters), (0, 3600))
    for figure in ("energy_uj", "location_ug", "market_ug", "embodied_ug"):
        assert sum(row[figure] for row in found["rows"]) == found["total"][figure]
    assert found["total"]["energy_uj"] == measured_uj


@given(
    clusters(), st.integers(0, 900_000), st.integers(0, 900_000), st.sampled_from(["lifecycle", "direct"]),
    st.integers(1, 72_000),
)  # fmt: skip
def test_where_both_bases_are_known_what_stands_in_on_the_market_is_split_row_by_row(
    slices: list[NodeSlice], one_mg: int, other_mg: int, basis: str, kwh: int
) -> None:
    """A contract covers a part of the energy. The parts of the rest add up, and every row's energy is covered."""
    direct_mg, whole_mg = sorted((one_mg, other_mg))
    figures = (whole_mg, direct_mg) if basis == "lifecycle" else (direct_mg, whole_mg)
    hours = IntensityHours({}, {"static": "static"}, 0, basis, None, {"static": {"NL": figures}})
    market = MarketSettings(contracts=[CONTRACT.model_copy(update={"kwh": kwh})])
    carbon = CarbonSettings.model_validate(
        {"zone": "NL", "pue": 1.2, "basis": basis, "ownership": "owned", "market": market}
    )
    rows = Valuer(Places(carbon), AllocationPolicy()).value(slices, by_node=True, hours=hours)
    for row in rows:
        direct_ug, upstream_ug = row.figures[STOOD_IN_DIRECT_UG], row.figures[STOOD_IN_UPSTREAM_UG]
        assert direct_ug + upstream_ug == row.figures[STOOD_IN_UG] <= sum(row.figures[MARKET_UG])
        assert basis == "lifecycle" or not upstream_ug
        for column in (DIRECT_UJ, UPSTREAM_UJ, MARKET_UJ):
            assert row.figures[column] == row.figures[FACILITY_UJ]


@pytest.mark.parametrize(("kwh", "covered_kwh"), [(0, 0), (5, 5), (10, 10), (20, 10)])
def test_without_a_direct_factor_the_market_covers_what_a_contract_delivers(kwh: int, covered_kwh: int) -> None:
    """A contract of 0 g has no emissions to tell it by."""
    contracts = [CONTRACT.model_copy(update={"kwh": 720 * kwh})] if kwh else []
    carbon = CarbonSettings(zone="NL", pue=1.0, market=MarketSettings(contracts=contracts))
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(10, "", "")])
    assert sum(row.figures[MARKET_UJ] for row in rows) == covered_kwh * UJ_PER_KWH
    assert sum(row.figures[DIRECT_UJ] for row in rows) == 0


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
    kg = (275.3 + 8 * 63.22, 5700 + 8 * 273, 5700 + 8 * 2543)
    assert (low / figure, high / figure) == (pytest.approx(kg[0] / kg[1]), pytest.approx(kg[2] / kg[1]))
    assert any("63.22 to 2543 kg for other models and sources" in factor for factor in bundled[0].factors)
    own = CarbonSettings.model_validate({"embodied": {"server_kg": 1000, "gpu_kg": 200}})
    for row in Valuer(Places(own), AllocationPolicy()).value([a_node(1, "", "", gpus=8)]):
        assert row.figures[EMBODIED_LOW_UG] == row.figures[EMBODIED_UG] == row.figures[EMBODIED_HIGH_UG]


def test_gpus_that_show_after_their_node_have_embodied_emissions_from_then_on() -> None:
    """A device plugin comes up minutes after the node's first report."""
    valuer = Valuer(Places(CarbonSettings()), AllocationPolicy())
    before, after = (
        sum(row.figures[EMBODIED_UG] for row in valuer.value([a_node(1, "", "", gpus=gpus)])) for gpus in (0, 8)
    )
    assert after == pytest.approx(before * (5700 + 8 * 273) / 900)


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


@pytest.mark.parametrize("in_service", ["2020-01-01", "2025-12-01"])
def test_before_it_is_in_service_and_past_its_life_hardware_has_no_embodied_emissions(in_service: str) -> None:
    carbon = CarbonSettings.model_validate({"embodied": {"life_years": 3, "in_service": in_service}})
    rows = Valuer(Places(carbon), AllocationPolicy()).value([a_node(1, "", "")])
    assert sum(row.figures[EMBODIED_UG] for row in rows) == 0
