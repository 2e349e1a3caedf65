"""Hardware: a cloud's node is a part of a host, and every bundled row says where it is from."""

from __future__ import annotations

import csv
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.carbon.embodied import YEAR_MS, EmbodiedDevice
from carbonbudget_operator.carbon.hardware import embodied_figures, find_hardware


def test_a_node_of_ones_own_is_a_whole_server_and_a_clouds_is_its_threads_of_a_host() -> None:
    own = find_hardware(cloud=False, threads=8, gpus=0, server_kg=None, gpu_kg=None, host_threads=96)
    cloud = find_hardware(cloud=True, threads=8, gpus=2, server_kg=960, gpu_kg=100, host_threads=96)
    assert (own.server.grams, own.gpus.grams) == (900_000, 0)
    assert (cloud.server.grams, cloud.gpus.grams) == (80_000, 200_000)
    assert cloud.why == "server 960 kg CO2e (configured), 8 of 96 threads of it; 2 GPUs of 100 kg CO2e (configured)"


def test_a_device_is_written_off_evenly_from_its_first_day_and_no_further() -> None:
    device = EmbodiedDevice(grams=876_600, life_years=1, since=10_000)
    assert device.emissions_ug(3_600_000, 10_000) == 100_000_000  # 876.6 kg over 8,766 hours
    assert device.emissions_ug(YEAR_MS, 10_000) == 876_600 * 10**6
    assert device.emissions_ug(3_600_000, 10_000 - 3600) == 0
    assert device.emissions_ug(3_600_000, 10_000 - 1800) == 50_000_000
    assert device.emissions_ug(3_600_000, 10_000 + YEAR_MS // 1000) == 0


@given(
    st.integers(0, 10**8),
    st.integers(1, 30),
    st.integers(1, 2 * 10**9),
    st.lists(st.integers(0, 31 * YEAR_MS // 1000), max_size=8),
    st.integers(0, 10**9),
)
def test_over_any_life_the_charges_are_the_device_whole_and_never_more(
    grams: int, life_years: int, since: int, cuts: list[int], early: int
) -> None:
    """The reported case: hours before the date were charged too, 1,124.8 of 900 kg."""
    device = EmbodiedDevice(grams, life_years, since)
    bounds = sorted({since - early, *(since + cut for cut in cuts), since + 31 * YEAR_MS // 1000})
    charges = [device.emissions_ug((end - at) * 1000, at) for at, end in pairwise(bounds)]
    assert sum(charges) == grams * 10**6
    assert min(charges) >= 0
    # A node that reports only a part of each span is charged no more.
    assert sum(device.emissions_ug((end - at) * 1000 // 3, at) for at, end in pairwise(bounds)) <= grams * 10**6


def test_every_hour_of_a_life_adds_up_to_the_device_to_the_microgram() -> None:
    device = EmbodiedDevice(grams=900_001, life_years=4, since=1_704_067_200)
    hours = range(-8766, 5 * 8766)
    assert sum(device.emissions_ug(3_600_000, device.since + hour * 3600) for hour in hours) == 900_001 * 10**6


def test_without_a_date_the_charge_has_no_end() -> None:
    device = EmbodiedDevice(grams=900_000, life_years=4)
    assert sum(device.emissions_ug(YEAR_MS, at * YEAR_MS // 1000) for at in range(6)) == 1_350_000 * 10**6


@pytest.mark.parametrize("gpus", [1, 8])
def test_no_model_of_the_table_lies_outside_the_range_of_a_node(gpus: int) -> None:
    """The reported case: eight H200 with their host, 14,236 kg, had a range of 1,772 to 6,688 kg."""
    found = find_hardware(cloud=False, threads=96, gpus=gpus, server_kg=None, gpu_kg=None, host_threads=96)
    rows = embodied_figures().values()
    made = [row.grams for row in rows if row.kind == "gpu"]
    hosts = [row.grams for row in rows if row.kind == "server" or (row.kind == "gpu_host" and gpus >= 8)]
    assert found.gpus.low_grams <= gpus * min(made) < gpus * max(made) <= found.gpus.high_grams
    assert found.server.low_grams <= min(hosts) < max(hosts) <= found.server.high_grams
    assert max(made) == 2_543_000  # B300
    low, high = (found.server.low_grams + found.gpus.low_grams, found.server.high_grams + found.gpus.high_grams)
    assert gpus == 1 or low < 5_700_000 + 8 * 1_067_000 == 14_236_000 < high


@pytest.mark.parametrize(("gpus", "grams"), [(7, 900_000 * 48 // 96), (8, 5_700_000), (16, 5_700_000)])
def test_from_eight_gpus_on_a_node_is_a_whole_host_of_that_class(gpus: int, grams: int) -> None:
    """Whoever has all GPUs of a host leaves nobody else a use of it."""
    found = find_hardware(cloud=True, threads=48, gpus=gpus, server_kg=None, gpu_kg=None, host_threads=96)
    assert (found.server.grams, found.gpus.grams) == (grams, gpus * 273_000)


def test_a_small_machine_that_offers_one_gpu_as_many_is_no_host_of_eight() -> None:
    """The reported case: a machine of four threads was charged with 5,700 kg for a GPU of eight time slices."""
    found = find_hardware(cloud=True, threads=4, gpus=8, server_kg=None, gpu_kg=None, host_threads=96, offered_gpus=8)
    assert found.server.grams == 900_000 * 4 // 96


@pytest.mark.parametrize("metered", [1, 7])
def test_a_host_whose_gpu_has_no_meter_for_a_while_stays_a_host(metered: int) -> None:
    of_all = find_hardware(cloud=True, threads=96, gpus=8, server_kg=None, gpu_kg=None, host_threads=96)
    found = find_hardware(
        cloud=True, threads=96, gpus=metered, server_kg=None, gpu_kg=None, host_threads=96, offered_gpus=8
    )
    assert found.server == of_all.server


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("grid_intensity", ("source", "year")),
        ("cloud_regions", ("source", "year", "pue_source", "pue_year")),
        ("embodied", ("source", "year")),
    ],
)
def test_each_row_of_each_table_has_its_source_and_year(name: str, columns: tuple[str, ...]) -> None:
    text = (resources.files("carbonbudget_operator") / "carbon" / "data" / f"{name}.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) > 50
    for row in rows:
        for column in columns:
            assert row[column] or (column.startswith("pue") and not row["pue_permille"]), row


def test_a_claim_that_is_bundled_has_its_source_and_year() -> None:
    text = (resources.files("carbonbudget_operator") / "carbon" / "data" / "cloud_regions.csv").read_text(
        encoding="utf-8"
    )
    rows = [row for row in csv.DictReader(text.splitlines()) if row["market_mg_per_kwh"]]
    assert len(rows) > 20
    assert all(row["market_source"] and row["market_year"] for row in rows)


def test_figures_with_a_range_lie_within_it() -> None:
    for figure in embodied_figures().values():
        assert figure.grams > 0
        assert (figure.low_grams or 0) <= figure.grams <= (figure.high_grams or figure.grams)
