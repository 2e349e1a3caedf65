"""Hardware: a cloud's node is a part of a host, and every bundled row says where it is from."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from carbonbudget_operator.carbon.embodied import YEAR_MS, EmbodiedDevice
from carbonbudget_operator.carbon.hardware import embodied_figures, find_hardware


def test_a_node_of_ones_own_is_a_whole_server_and_a_clouds_is_its_threads_of_a_host() -> None:
    own = find_hardware(cloud=False, threads=8, gpus=0, server_kg=None, gpu_kg=None, host_threads=96)
    cloud = find_hardware(cloud=True, threads=8, gpus=2, server_kg=960, gpu_kg=100, host_threads=96)
    assert (own.server.grams, own.gpus.grams) == (900_000, 0)
    assert (cloud.server.grams, cloud.gpus.grams) == (80_000, 200_000)
    assert cloud.why == "server 960 kg CO2e (configured), 8 of 96 threads of it; 2 GPUs of 100 kg CO2e (configured)"


def test_a_device_is_written_off_evenly_and_no_further() -> None:
    device = EmbodiedDevice(grams=876_600, life_years=1, since=1000)
    assert device.emissions_ug(3_600_000, 1000) == 100_000_000  # 876.6 kg over 8,766 hours
    assert device.emissions_ug(YEAR_MS, 1000) == 876_600 * 10**6
    assert device.emissions_ug(3_600_000, 1000 + YEAR_MS // 1000) == 0


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
