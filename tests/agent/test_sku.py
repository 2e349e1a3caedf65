"""The CPU's own figures where its name tells them: found by name, moved towards the family, each with its error."""

from __future__ import annotations

import csv
import importlib
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest
from tests.agent.test_meters import found

from carbonbudget_agent.meters.cpu_sku import find_sku, towards_family
from carbonbudget_agent.meters.power_model import ModelMeter, detect_model, load_curves


@pytest.fixture
def power_model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark that made the rows."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.power_model")


def rows() -> list[dict[str, str]]:
    text = (resources.files("carbonbudget_agent") / "data" / "cpu_sku.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize(
    ("model_name", "sku"),
    [
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC 9654"),
        ("AMD EPYC 9654P 96-Core Processor", "AMD EPYC 9654P"),
        ("Intel(R) Xeon(R) Platinum 8490H", "Intel Xeon Platinum 8490H"),
        ("INTEL(R) XEON(R) PLATINUM 8592+", "Intel Xeon Platinum 8592+"),
        ("Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", "Intel Xeon Platinum 8280"),
        ("Intel(R) Xeon(R) 6787P", "Intel Xeon 6787P"),
        ("Intel(R) Xeon(R) CPU E5-2699 v4 @ 2.20GHz", "Intel Xeon E5-2699 v4"),
        ("Intel(R) Xeon(R) E-2488", "Intel Xeon E-2488"),
        ("Intel(R) Xeon(R) D-2776NT CPU @ 2.10GHz", "Intel Xeon D-2776NT"),
        ("Intel(R) Xeon(R) Platinum 8488C", None),  # a cloud's own
        ("AMD EPYC 9R14", None),
        ("AMD EPYC", None),
        ("AMD EPYC-Rome Processor", None),
        ("Intel Xeon Processor (Skylake, IBRS)", None),
        ("AMD 8490H", None),
        ("9654", None),
        ("", None),
    ],
)
def test_a_model_name_tells_its_sku_or_nothing(model_name: str, sku: str | None) -> None:
    row = find_sku(model_name)
    assert (row and row.name) == sku


def test_every_row_is_found_by_its_own_name_and_has_family_error_year_and_source() -> None:
    curves = load_curves()
    for row in rows():
        sku = find_sku(row["cpu"])
        assert sku is not None
        assert sku.name == row["cpu"]  # no two rows of one name
        assert sku.microarchitecture in curves
        assert 0 < sku.idle_mw_per_thread < sku.max_mw_per_thread
        assert (sku.results > 0, sku.error_permille > 0) == (True, True)
        assert row["year"].isdigit()
        assert row["source"]


def test_no_family_lacks_an_error() -> None:
    assert min(curve.error_permille for curve in load_curves().values()) > 0


def cpuinfo(path: Path, model_name: str, model: int) -> Path:
    (path / "cpuinfo").write_text(
        f"processor : 0\nvendor_id : GenuineIntel\ncpu family : 6\nmodel : {model}\nmodel name : {model_name}\n"
    )
    return path


def test_few_results_count_little_and_many_much(tmp_path: Path) -> None:
    assert [towards_family(300, 100, results) for results in (1, 3, 9, 32)] == [200, 250, 280, 293]
    detection = detect_model(cpuinfo(tmp_path, "Intel(R) Xeon(R) Gold 6428N", 143))
    meter = found(detection.meter)
    assert isinstance(meter, ModelMeter)
    assert (meter.curve.idle_mw_per_thread, meter.curve.max_mw_per_thread) == ((1057 + 900) // 2, (4562 + 3990) // 2)
    assert detection.reason.startswith(
        "Intel Sapphire Rapids (Intel Xeon Gold 6428N by its name, published results: 1), 1 threads, idle 978 mW"
    )


@pytest.mark.parametrize(
    ("model_name", "model", "source"),
    [
        ("Intel(R) Xeon(R) Platinum 8490H", 143, "by its name"),
        ("Intel(R) Xeon(R) Platinum 8490H", 0xFF, "by its name"),  # numbers that nobody knows
        ("Intel(R) Xeon(R) Platinum 8490H", 0xCF, "Intel Emerald Rapids (by CPU family and model)"),  # they contradict
        ("Intel(R) Xeon(R) Platinum 8488C", 143, "Intel Sapphire Rapids (by CPU family and model)"),
    ],
)
def test_numbers_go_before_a_name_that_they_contradict(
    tmp_path: Path, model_name: str, model: int, source: str
) -> None:
    assert source in detect_model(cpuinfo(tmp_path, model_name, model)).reason


def test_a_range_never_reaches_below_zero(tmp_path: Path) -> None:
    """Of the two results of this one, idle power of one was more than twice the other's."""
    meter = found(detect_model(cpuinfo(tmp_path, "Intel(R) Xeon(R) Gold 6252 CPU @ 2.10GHz", 0xFF)).meter)
    (domain,) = meter.energy("model", {"busy_us": 0}, {"busy_us": 500_000}, 1_000)
    assert domain.low_uj == 0
    assert domain.high_uj is not None
    assert domain.high_uj > 2 * domain.energy_uj


def test_the_bundled_rows_and_errors_are_those_of_the_published_servers(power_model: ModuleType) -> None:
    everything = power_model.servers()
    bundled = {row["cpu"]: row for row in rows()}
    for row in power_model.sku_rows(everything):
        assert bundled[row["cpu"]] == row
    curves = load_curves()
    for family, error_permille in power_model.family_errors(everything).items():
        assert curves[family].error_permille == error_permille


def test_servers_of_2023_and_later_are_predicted_to_twelve_per_cent_at_mid_load(power_model: ModuleType) -> None:
    name, count, before, after = power_model.table(power_model.servers())[-1]
    assert (name, count) == ("all", 266)
    assert after.mid < 0.12 < before.mid
