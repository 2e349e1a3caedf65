"""Power sources: RAPL from a true small tree, the model by its formula."""

from __future__ import annotations

import csv
import itertools
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.node import FakeNode

from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import Counters, Detection, Meter, MeterError
from carbonbudget_agent.meters.calibration import parse_calibration
from carbonbudget_agent.meters.detect import choose_meters, detect_meters, winners
from carbonbudget_agent.meters.instance_types import find_by_instance_type
from carbonbudget_agent.meters.microarchitecture import find_microarchitecture, first_processor
from carbonbudget_agent.meters.power_model import ModelMeter, PowerCurve, detect_model, load_curves
from carbonbudget_agent.meters.rapl import detect_rapl
from carbonbudget_agent.work_counters import WorkCounters

RANGE = 262_143_328_850  # a Skylake package: 61 uJ x 2**32


def powercap(root: Path, zones: dict[str, tuple[str, int]]) -> None:
    """The kernel's tree: `intel-rapl:0` with `name`, `energy_uj`, `max_energy_range_uj`."""
    for path, (name, energy_uj) in zones.items():
        zone = root / "class" / "powercap" / path
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy_uj}\n")
        (zone / "max_energy_range_uj").write_text(f"{RANGE}\n")


def rapl(meter: Meter, domain: str = "cpu") -> Counters:
    return meter.read(0).counters[f"rapl:{domain}"]


def found(meter: Meter | None) -> Meter:
    assert meter is not None
    return meter


def test_package_and_dram_of_both_sockets_count_and_nothing_else(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": ("package-0", 100), "intel-rapl:0/intel-rapl:0:0": ("core", 7),
        "intel-rapl:0/intel-rapl:0:1": ("dram", 30), "intel-rapl:1": ("package-1", 200),
        "intel-rapl:1/intel-rapl:1:0": ("dram", 40), "intel-rapl:2": ("psys", 999),
        "intel-rapl-mmio:0": ("package-0", 100),
    }  # fmt: skip
    powercap(tmp_path, zones)
    meter = found(detect_rapl(tmp_path).meter)
    before = meter.read(0).counters
    powercap(tmp_path, {path: (name, value + 10) for path, (name, value) in zones.items()})
    after = meter.read(0).counters
    assert before.keys() == after.keys() == {"rapl:cpu", "rapl:dram"}
    energies = [e for unit in after for e in meter.energy(unit, before[unit], after[unit], 5_000)]
    assert {(e.name, e.energy_uj, e.method, e.boundary) for e in energies} == {
        ("cpu", 20, "rapl", "package"), ("dram", 20, "rapl", "package"),
    }  # fmt: skip


def test_a_wrapped_counter_goes_on_and_one_that_may_have_wrapped_twice_is_unknown(tmp_path: Path) -> None:
    powercap(tmp_path, {"intel-rapl:0": ("package-0", RANGE - 50)})
    meter = found(detect_rapl(tmp_path).meter)
    before = rapl(meter)
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 70)})
    assert meter.energy("rapl:cpu", before, rapl(meter), 5_000)[0].energy_uj == 120
    with pytest.raises(MeterError, match="may have wrapped unseen"):
        meter.energy("rapl:cpu", before, rapl(meter), 500_000)


def test_amds_packages_without_dram_count_and_wrap_within_a_minute(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": ("package-0", 5), "intel-rapl:0/intel-rapl:0:0": ("core", 9),
             "intel-rapl:1": ("package-1", 5)}  # fmt: skip
    powercap(tmp_path, zones)
    for path in zones:
        (tmp_path / "class/powercap" / path / "max_energy_range_uj").write_text("65532610987")  # 15.3 uJ x 2**32
    meter = found(detect_rapl(tmp_path).meter)
    before = rapl(meter)
    powercap(tmp_path, {path: (name, value + 10) for path, (name, value) in zones.items()})
    assert [d.energy_uj for d in meter.energy("rapl:cpu", before, rapl(meter), 60_000)] == [20]
    with pytest.raises(MeterError, match="may have wrapped unseen in 66 s"):
        meter.energy("rapl:cpu", before, rapl(meter), 66_000)


@pytest.mark.parametrize("junk", ["", "x\n", "-5\n", "1.5\n", "9" * 30, "9" * 5000, "\u0661\n"])
def test_an_unreadable_zone_fails_the_reading_rather_than_undercount(tmp_path: Path, junk: str) -> None:
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 1), "intel-rapl:1": ("package-1", 1)})
    meter = found(detect_rapl(tmp_path).meter)
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").write_text(junk)
    reading = meter.read(0)
    assert (reading.counters, "not a number" in reading.failed["rapl:cpu"]) == ({}, True)


def test_a_dram_zone_that_cannot_be_read_or_wraps_sooner_takes_no_package_with_it(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": ("package-0", 100), "intel-rapl:0/intel-rapl:0:0": ("dram", 30)}
    powercap(tmp_path, zones)
    dram = tmp_path / "class/powercap/intel-rapl:0/intel-rapl:0:0"
    (dram / "max_energy_range_uj").write_text("65712999613\n")  # Intel servers count their DRAM in 15.3 uJ
    meter = found(detect_rapl(tmp_path).meter)
    before = meter.read(0).counters
    assert meter.energy("rapl:cpu", before["rapl:cpu"], before["rapl:cpu"], 200_000)[0].energy_uj == 0
    with pytest.raises(MeterError, match="dram/package-0 may have wrapped"):
        meter.energy("rapl:dram", before["rapl:dram"], before["rapl:dram"], 200_000)
    (dram / "energy_uj").write_text("x")
    reading = meter.read(0)
    assert (reading.counters.keys(), reading.failed.keys()) == ({"rapl:cpu"}, {"rapl:dram"})
    assert meter.energy("rapl:cpu", before["rapl:cpu"], reading.counters["rapl:cpu"], 5_000)[0].energy_uj == 0


@pytest.mark.parametrize(
    ("package_uj", "dram_uj", "psys_uj", "doubt"),
    [
        (400_000_000, 100_000_000, 600_000_000, ""),
        (500_000_000, 100_000_000, 600_000_000, ""),
        (506_000_000, 100_000_000, 600_000_000, ""),  # 1 %: read some microseconds apart
        (600_000_000, 100_000_000, 600_000_000, "package and dram drew 140000 mW, more than the 120000 mW of psys"),
        (600_000_000, 100_000_000, 0, ""),  # a psys that counts nothing is none
    ],
)
def test_psys_is_a_check_of_the_sum_and_never_a_part_of_it(
    tmp_path: Path, package_uj: int, dram_uj: int, psys_uj: int, doubt: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = ("intel-rapl:0", "intel-rapl:0/intel-rapl:0:0", "intel-rapl:1")
    names = ("package-0", "dram", "psys")
    powercap(tmp_path, {path: (name, 7) for path, name in zip(paths, names, strict=True)})
    detection = detect_rapl(tmp_path)
    assert (
        detection.reason
        == "2 zones: cpu/package-0, dram/package-0; psys covers these, is never added and serves as a check"
    )
    assert detection.kinds == ("cpu", "dram")
    counts = WorkCounters()
    metering = Metering([found(detection.meter)], counts)
    stamps = metering.read(0, 0, {})
    for step in (1, 2):
        energies = (package_uj, dram_uj, psys_uj)
        powercap(tmp_path, {p: (n, 7 + step * e) for p, n, e in zip(paths, names, energies, strict=True)})
        before, stamps = stamps, metering.read(step * 5_000, 0, stamps)
        assert {d.name: d.energy_uj for d in metering.energies(before, stamps)} == {"cpu": package_uj, "dram": dram_uj}
    assert counts.meter_doubts == (2 if doubt else 0)
    assert [doubt in record.message for record in caplog.records] == ([True] if doubt else [])  # told once


def test_a_psys_that_cannot_be_read_is_no_failure_of_the_packages(tmp_path: Path) -> None:
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 1), "intel-rapl:1": ("psys", 1)})
    meter = found(detect_rapl(tmp_path).meter)
    before = rapl(meter)
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").write_text("x")
    reading = meter.read(0)
    assert reading.failed == {}
    (domain,) = meter.energy("rapl:cpu", before, reading.counters["rapl:cpu"], 5_000)
    assert (domain.energy_uj, domain.doubt) == (0, "")


def test_psys_alone_is_no_meter_and_a_counter_without_a_range_neither(tmp_path: Path) -> None:
    powercap(tmp_path, {"intel-rapl:0": ("psys", 1)})
    assert detect_rapl(tmp_path).meter is None
    powercap(tmp_path, {"intel-rapl:1": ("package-0", 1)})
    (tmp_path / "class/powercap/intel-rapl:1/max_energy_range_uj").write_text("0")
    assert "a counter without a range" in detect_rapl(tmp_path).reason


def test_whatever_is_found_no_kind_of_domain_is_measured_by_two_meters() -> None:
    """Every combination of sources that are there or not, with every set of kinds that they give."""

    class Some:
        def __init__(self, name: str) -> None:
            self.name = name

    offers = {
        "rapl": [(), ("cpu",), ("cpu", "dram")],
        "hwmon": [(), ("cpu",)],
        "nvml": [(), ("gpu",)],
        "model": [("cpu",)],
    }
    for kinds in itertools.product(*offers.values()):
        detections = [
            Detection(name, Some(name) if given else None, "", given)  # type: ignore[arg-type]
            for name, given in zip(offers, kinds, strict=True)
        ]
        given = {detection.name: detection.kinds for detection in detections}
        measured = [kind for meter in choose_meters(detections) for kind in given[meter.name]]
        assert len(measured) == len(set(measured)), kinds
        assert set(measured) == {kind for some in kinds for kind in some}


def test_without_rapl_the_model_is_taken_and_both_say_why(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    detections = detect_meters(tmp_path / "sys", node.procfs)
    assert "no RAPL (usual in a virtual machine)" in detections[0].reason
    assert [meter.name for meter in choose_meters(detections)] == ["model"]
    assert winners(detections) == {"cpu": "model"}
    assert detections[-1].reason.startswith("AMD EPYC Milan (Zen 3) (by CPU family and model), 2 threads")


@pytest.mark.parametrize(
    ("busy_us", "total_uj"),
    [
        (0, 840 * 1000),  # idle: 420 mW x 2 threads x 1 s
        (2_000_000, 3840 * 1000),  # full: 1920 mW x 2
        (1_000_000, 840_000 + 3000 * 506_500 // 1000),  # half: 0.5 + 0.026 x 0.5 x 0.5 = 0.5065
    ],
)
def test_the_curve_is_the_published_one(busy_us: int, total_uj: int) -> None:
    meter = ModelMeter(PowerCurve("Milan", 420, 1920, 26, 159), threads=2)
    (domain,) = meter.energy("model", {"busy_us": 5}, {"busy_us": 5 + busy_us}, 1000)
    assert (domain.energy_uj, domain.idle_uj) == (total_uj, 840_000)
    assert (domain.low_uj, domain.high_uj) == (total_uj * 841 // 1000, total_uj * 1159 // 1000)


@given(st.sampled_from(sorted(load_curves())), st.integers(1, 512), st.integers(1, 10**8), st.integers(0, 10**6))
def test_every_familys_model_lies_between_idle_and_full(
    name: str, threads: int, elapsed_ms: int, permille: int
) -> None:
    curve = load_curves()[name]
    meter = ModelMeter(curve, threads)
    busy_us = elapsed_ms * threads * permille // 1000
    (domain,) = meter.energy("model", {"busy_us": 0}, {"busy_us": busy_us}, elapsed_ms)
    assert domain.idle_uj is not None
    assert domain.idle_uj <= domain.energy_uj <= curve.max_mw_per_thread * threads * elapsed_ms
    assert domain.low_uj is not None
    assert domain.high_uj is not None
    assert domain.low_uj <= domain.energy_uj <= domain.high_uj


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 1\n", "AMD EPYC Milan (Zen 3)"),
        ("vendor_id : AuthenticAMD\ncpu family : 23\nmodel : 49\n", "AMD EPYC Rome (Zen 2)"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nstepping : 4\n", "Intel Skylake-SP"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nstepping : 7\n", "Intel Cascade Lake-SP"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 143\n", "Intel Sapphire Rapids"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nstepping : 11\n", "Intel Cooper Lake"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 158\nstepping : 9\n", "Intel Kaby Lake (E3 v6)"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 158\nstepping : 10\n", "Intel Coffee Lake (E-21xx/22xx)"),
        ("CPU implementer : 0x41\nCPU part : 0xd40\n", "AWS Graviton3 (Neoverse V1)"),
        ("vendor_id : AuthenticAMD\ncpu family : 99\nmodel : 1\n", None),
        ("", None),
    ],
)
def test_a_microarchitecture_is_told_by_numbers(text: str, name: str | None) -> None:
    assert find_microarchitecture(first_processor(text)) == name
    assert name is None or name in load_curves()


def test_an_unknown_cpu_takes_the_stated_default(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nvendor_id : NewVendor\n")
    assert "default (no known CPU family and model: stated default), 1 threads" in detect_model(tmp_path).reason


@pytest.mark.parametrize(
    ("instance_type", "name"),
    [
        ("m5.large", "Intel Skylake-SP"),
        ("m5dn.xlarge", "Intel Cascade Lake-SP"),
        ("t3a.small", "AMD EPYC Naples (Zen 1)"),
        ("c6a.48xlarge", "AMD EPYC Milan (Zen 3)"),
        ("m6idn.metal", "Intel Ice Lake-SP"),
        ("c7gn.large", "AWS Graviton3 (Neoverse V1)"),
        ("r8g.large", "AWS Graviton4 (Neoverse V2)"),
        ("p5.48xlarge", "AMD EPYC Milan (Zen 3)"),
        ("n2-standard-4", "Intel Cascade Lake-SP"),
        ("t2d-standard-1", "AMD EPYC Milan (Zen 3)"),
        ("c4a-highcpu-8", "Google Axion (Neoverse V2)"),
        ("c4-standard-8", "Intel Emerald Rapids"),
        ("Standard_D4s_v5", "Intel Ice Lake-SP"),
        ("Standard_D4as_v5", "AMD EPYC Milan (Zen 3)"),
        ("Standard_E96-24ads_v5", "AMD EPYC Milan (Zen 3)"),
        ("Standard_D8pls_v6", "Microsoft Cobalt 100 (Neoverse N2)"),
        ("Standard_ND96isr_H100_v5", "Intel Sapphire Rapids"),
        ("n1-standard-4", None), ("e2-small", None), ("m5", None), ("xm5.large", None), ("", None),
    ],
)  # fmt: skip
def test_a_clouds_machine_type_tells_the_microarchitecture(instance_type: str, name: str | None) -> None:
    assert find_by_instance_type(instance_type) == name


def test_every_row_of_machine_types_leads_to_a_curve() -> None:
    text = (resources.files("carbonbudget_agent") / "data" / "instance_types.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["microarchitecture"] for row in rows} <= load_curves().keys()
    assert all(row["source"] for row in rows)


def test_the_machine_type_stands_in_for_unknown_numbers_and_never_against_known_ones(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nvendor_id : NewVendor\n")
    assert detect_model(tmp_path, "c6a.large").reason.startswith("AMD EPYC Milan (Zen 3) (by instance type c6a.large)")
    (tmp_path / "cpuinfo").write_text("processor : 0\nvendor_id : AuthenticAMD\ncpu family : 25\nmodel : 17\n")
    assert detect_model(tmp_path, "c6a.large").reason.startswith("AMD EPYC Genoa (Zen 4) (by CPU family and model)")


@pytest.mark.parametrize(
    ("calibration", "idle_uj", "told"),
    [
        ("", 840_000, ""),
        ("*=0.5", 420_000, "calibrated by 0.5 (*)"),
        ("*=0.5,AMD EPYC Milan (Zen 3)=1.1", 924_000, "calibrated by 1.1 (AMD EPYC Milan (Zen 3))"),
        ("*=0.5, c6a.large = 2 ,AMD EPYC Milan (Zen 3)=1.1", 1_680_000, "calibrated by 2 (c6a.large)"),
        ("c6a.xlarge=2", 840_000, ""),
    ],
)
def test_a_calibration_factor_counts_for_its_machine(tmp_path: Path, calibration: str, idle_uj: int, told: str) -> None:
    procfs = FakeNode(tmp_path).procfs
    detection = detect_model(procfs, "c6a.large", parse_calibration(calibration))
    (domain,) = found(detection.meter).energy("model", {"busy_us": 0}, {"busy_us": 0}, 1000)
    assert (domain.idle_uj, domain.energy_uj, domain.method) == (idle_uj, idle_uj, "model")
    assert detection.reason.endswith(told or "%")


@pytest.mark.parametrize("text", ["x", "=1", "m5=", "m5=0.05", "m5=11", "m5=1e3", "m5=-1", "m5=1.0001", "m5=1;m6=1"])
def test_a_calibration_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not MACHINE=FACTOR with a factor from"):
        parse_calibration(text)
