"""Which factor applies to a node, and that each bundled figure says where it is from."""

import csv
from pathlib import Path

import pytest

import carbonbudget_operator.carbon
from carbonbudget_operator.carbon.grid_factors import (
    NO_PROVIDER,
    UnknownZone,
    bases_of_zones,
    check_zone,
    find_factor,
    providers,
)
from carbonbudget_operator.carbon.providers import Provider, find_provider, provider_ids, region_name

AWS = Provider("aws", "cloud")
DATA = Path(carbonbudget_operator.carbon.__file__).parent / "data"


@pytest.mark.parametrize("name", ["grid_intensity.csv", "cloud_regions.csv"])
def test_every_row_has_a_figure_a_year_a_basis_and_a_source(name: str) -> None:
    rows = list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 290
    for row in rows:
        assert int(row["mg_per_kwh"]) >= 0
        assert row["year"].isdigit()
        assert row["source"]
        assert row["basis"] in ("lifecycle", "direct")


def test_a_configured_zone_wins() -> None:
    factor = find_factor("us-east-1", AWS, "DE", 1200, "lifecycle")
    assert (factor.zone, factor.intensity_mg_per_kwh, factor.pue_permille) == ("DE", 329_650, 1200)
    assert "configured zone" in factor.why


def test_a_region_whose_figure_has_another_basis_falls_to_its_country_not_to_the_wrong_basis() -> None:
    factor = find_factor("us-east-1", AWS, "", None, "lifecycle")
    assert (factor.zone, factor.basis) == ("US", "lifecycle")
    assert "country of cloud region us-east-1" in factor.why
    direct = find_factor("us-east-1", AWS, "", None, "direct")
    assert (direct.intensity_mg_per_kwh, direct.basis, direct.pue_permille) == (244_760, "direct", 1150)


def test_a_region_is_known_by_its_name_alone_where_one_provider_has_it() -> None:
    assert "cloud region europe-west9" in find_factor("europe-west9", NO_PROVIDER, "", None, "direct").why


@pytest.mark.parametrize(
    ("region", "why"), [("", "the node has no region label"), ("moon-1", "region 'moon-1' is in no table")]
)
def test_what_cannot_be_placed_is_the_world_and_says_so(region: str, why: str) -> None:
    factor = find_factor(region, NO_PROVIDER, "", None, "lifecycle")
    assert (factor.zone, factor.intensity_mg_per_kwh, factor.pue_permille) == ("WORLD", 458_290, 1580)
    assert why in factor.why
    assert "Uptime Institute survey average, 2023" in factor.why


def test_a_basis_that_no_figure_has_is_named_not_swapped_in_silence() -> None:
    factor = find_factor("", NO_PROVIDER, "", None, "direct")
    assert factor.basis == "lifecycle"
    assert "no direct figure is bundled for WORLD: its life-cycle one stands in" in factor.why


def test_without_a_direct_figure_a_place_has_its_own_life_cycle_one_and_not_the_worlds() -> None:
    """The reported case: eu-north-1 had the world's 458 g/kWh, and was said to be in no table."""
    factor = find_factor("eu-north-1", AWS, "", None, "direct")
    assert (factor.zone, factor.intensity_mg_per_kwh, factor.basis) == ("SE-SE3", 27_000, "lifecycle")
    assert "no direct figure is bundled for SE-SE3: its life-cycle one stands in" in factor.why
    assert "cloud region eu-north-1" in factor.why
    assert "is in no table" not in factor.why
    configured = find_factor("us-east-1", AWS, "GB", None, "direct")
    assert (configured.zone, configured.basis) == ("GB", "lifecycle")
    assert "configured zone" in configured.why


def test_every_region_and_zone_of_the_tables_has_a_figure_of_its_own_by_either_basis() -> None:
    regions = [(row["region"], Provider(row["provider"], "cloud"), "") for row in _rows("cloud_regions.csv")]
    zones = [("", NO_PROVIDER, zone) for zone in bases_of_zones() if zone != "WORLD"]
    for basis in ("lifecycle", "direct"):
        for region, provider, zone in [*regions, *zones]:
            factor = find_factor(region, provider, zone, None, basis)
            assert factor.zone != "WORLD"
            assert ("is bundled for" in factor.why) == (factor.basis != basis)


def test_a_configured_zone_without_the_basis_has_its_countrys_figure_of_it_first() -> None:
    state = find_factor("", NO_PROVIDER, "US-CA", None, "lifecycle")
    assert (state.zone, state.basis) == ("US", "lifecycle")
    assert "country of configured zone" in state.why
    assert find_factor("", NO_PROVIDER, "CA-QC", None, "lifecycle").zone == "CA"
    assert find_factor("", NO_PROVIDER, "CA-QC", None, "direct").intensity_mg_per_kwh == 5_480


def test_a_figure_that_was_rounded_to_nothing_is_raised_to_the_floor() -> None:
    assert find_factor("", NO_PROVIDER, "CF", None, "lifecycle").intensity_mg_per_kwh == 11_000


def test_a_zone_without_a_figure_of_the_basis_is_no_place_of_an_estimate() -> None:
    check_zone("", "lifecycle")
    check_zone("fr", "lifecycle")
    with pytest.raises(UnknownZone, match="'ATLANTIS' has no lifecycle figure"):
        check_zone("ATLANTIS", "lifecycle")


def test_every_provider_of_the_region_table_is_known_by_an_id_with_an_example() -> None:
    found = {provider for _, _, provider in provider_ids() if provider}
    assert found == providers()


@pytest.mark.parametrize(("provider_id", "region", "provider"), provider_ids())
def test_each_example_of_an_id_belongs_to_its_provider_and_its_region_is_found(
    provider_id: str, region: str, provider: str
) -> None:
    found = find_provider(provider_id, region)
    assert found.name == provider
    if provider:
        assert found.owner == "cloud"
        assert "world mean" not in find_factor(region, found, "", None, "lifecycle").why


@pytest.mark.parametrize("provider_id", ["", "k3s://box-1", "kind://docker/kind/x", "vsphere://4212", "metal3://n/0"])
def test_a_node_of_ones_own_is_no_cloud_tenants_though_its_id_has_a_scheme(provider_id: str) -> None:
    assert find_provider(provider_id, "") == Provider("", "own")


@pytest.mark.parametrize("provider_id", ["openstack:///0f1e", "newcloud://1", "0f1e2d3c"])
def test_an_id_that_does_not_tell_is_decided_by_the_setting_and_said(provider_id: str) -> None:
    unclear = find_provider(provider_id, "RegionOne")
    assert unclear.owner == "unclear"
    assert "set carbon.provider" in unclear.why
    assert find_provider(provider_id, "RegionOne", "own") == Provider("", "own")
    assert find_provider(provider_id, "RegionOne", "gcp") == Provider("gcp", "cloud")


@pytest.mark.parametrize("provider_id", ["k3s://box-1", "rke2://box-1", "k3d://k3d-server-0", "docker://x"])
def test_a_distributions_id_is_the_same_on_anybodys_machines_so_that_the_setting_decides(provider_id: str) -> None:
    """Its factor says `set carbon.provider` where a region is of several providers: that must have an effect."""
    assert find_provider(provider_id, "eu-central-1") == Provider("", "own")
    unknown = find_factor("eu-central-1", find_provider(provider_id, "eu-central-1"), "", None, "lifecycle")
    assert "set carbon.provider" in unknown.why
    found = find_provider(provider_id, "eu-central-1", "aws")
    assert found == Provider("aws", "cloud")
    assert find_factor("eu-central-1", found, "", None, "lifecycle").zone == "DE"


@pytest.mark.parametrize("provider_id", ["vsphere://1", "metal3://n/0", "eks-hybrid:///eu-central-1/c/mi-0"])
def test_machines_that_only_their_owner_has_are_not_overruled_by_the_setting(provider_id: str) -> None:
    assert find_provider(provider_id, "", "aws") == Provider("", "own")


def test_an_id_that_tells_is_not_overruled_by_the_setting() -> None:
    assert find_provider("aws:///eu-central-1a/i-0", "eu-central-1", "gcp").name == "aws"


@pytest.mark.parametrize(
    ("provider", "name", "region"),
    [("oci", "iad", "us-ashburn-1"), ("oci", "phx", "us-phoenix-1"), ("ovhcloud", "GRA9", "GRA"),
     ("ovhcloud", "DE1", "LIM"), ("aws", "iad", "iad")],
)  # fmt: skip
def test_short_and_numbered_names_of_regions_are_those_of_the_table(provider: str, name: str, region: str) -> None:
    assert region_name(provider, name) == region


def test_every_other_name_of_a_region_leads_to_a_row_of_the_table() -> None:
    rows = {(row["provider"], row["region"]) for row in _rows("cloud_regions.csv")}
    assert {(row["provider"], row["region"]) for row in _rows("region_names.csv")} <= rows


def test_a_region_that_two_providers_have_says_so_instead_of_being_in_no_table() -> None:
    why = find_factor("eu-west-1", NO_PROVIDER, "", None, "lifecycle").why
    assert "exists at alibaba and aws" in why
    assert "set carbon.provider" in why
    assert find_factor("eu-west-1", Provider("alibaba", "cloud"), "", None, "lifecycle").zone == "GB"
    assert find_factor("eu-west-1", AWS, "", None, "lifecycle").zone == "IE"


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))
