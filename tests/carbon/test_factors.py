"""Which factor applies to a node, and that each bundled figure says where it is from."""

import csv
from pathlib import Path

import pytest

import carbonbudget_operator.carbon
from carbonbudget_operator.carbon.factors import UnknownZone, check_zone, find_factor

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
    factor = find_factor("us-east-1", "aws:///x", "DE", 1200, "lifecycle")
    assert (factor.zone, factor.intensity_mg_per_kwh, factor.pue_permille) == ("DE", 329_650, 1200)
    assert "configured zone" in factor.why


def test_a_region_whose_figure_has_another_basis_falls_to_its_country_not_to_the_wrong_basis() -> None:
    factor = find_factor("us-east-1", "aws:///us-east-1a/i-0", "", None, "lifecycle")
    assert (factor.zone, factor.basis) == ("US", "lifecycle")
    assert "country of cloud region us-east-1" in factor.why
    direct = find_factor("us-east-1", "aws:///us-east-1a/i-0", "", None, "direct")
    assert (direct.intensity_mg_per_kwh, direct.basis, direct.pue_permille) == (244_760, "direct", 1150)


def test_a_region_is_known_by_its_name_alone_where_one_provider_has_it() -> None:
    assert "cloud region europe-west9" in find_factor("europe-west9", "", "", None, "direct").why


@pytest.mark.parametrize(
    ("region", "why"), [("", "the node has no region label"), ("moon-1", "region 'moon-1' is in no table")]
)
def test_what_cannot_be_placed_is_the_world_and_says_so(region: str, why: str) -> None:
    factor = find_factor(region, "", "", None, "lifecycle")
    assert (factor.zone, factor.intensity_mg_per_kwh, factor.pue_permille) == ("WORLD", 458_290, 1580)
    assert why in factor.why
    assert "Uptime Institute survey average, 2023" in factor.why


def test_a_basis_that_no_figure_has_is_named_not_swapped_in_silence() -> None:
    factor = find_factor("", "", "", None, "direct")
    assert factor.basis == "lifecycle"
    assert "no direct figure is bundled" in factor.why


def test_a_figure_that_was_rounded_to_nothing_is_raised_to_the_floor() -> None:
    assert find_factor("", "", "CF", None, "lifecycle").intensity_mg_per_kwh == 11_000


def test_a_zone_that_is_in_no_table_stops_the_start() -> None:
    check_zone("", "lifecycle")
    check_zone("fr", "lifecycle")
    with pytest.raises(UnknownZone, match="'ATLANTIS' has no lifecycle figure"):
        check_zone("ATLANTIS", "lifecycle")
