"""Power sensors of hwmon, in trees as their drivers make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonbudget_agent.meters import Meter, MeterError
from carbonbudget_agent.meters.detect import detect_meters, winners
from carbonbudget_agent.meters.hwmon import detect_hwmon


def sensors(sysfs: Path, device: str, **files: str) -> None:
    """A device below class/hwmon: its files by name."""
    path = sysfs / "class" / "hwmon" / device
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(f"{text}\n")


def grace(sysfs: Path, grace_uw: int) -> None:
    """Grace Hopper, driver acpi_power_meter: one device a sensor; `Module` holds the GPU too."""
    sensors(
        sysfs, "hwmon1", name="power_meter", power1_average=str(grace_uw * 5), power1_oem_info="Module Power Socket 0"
    )
    sensors(sysfs, "hwmon2", name="power_meter", power1_average=str(grace_uw), power1_oem_info="Grace Power Socket 0")
    sensors(sysfs, "hwmon3", name="power_meter", power1_average="7", power1_oem_info="CPU Power Socket 0")
    sensors(sysfs, "hwmon4", name="power_meter", power1_average="8", power1_oem_info="SysIO Power Socket 0")


def epyc(sysfs: Path, socket_uj: int) -> None:
    """AMD, driver amd_energy: cores and sockets in one device; a socket holds its cores."""
    sensors(
        sysfs, "hwmon3", name="amd_energy", energy1_input="11", energy1_label="Ecore000",
        energy65_input=str(socket_uj), energy65_label="Esocket0",
        energy66_input=str(socket_uj), energy66_label="Esocket1",
    )  # fmt: skip


def found(sysfs: Path) -> Meter:
    meter = detect_hwmon(sysfs).meter
    assert meter is not None
    return meter


def test_graces_own_sensor_is_integrated_and_the_modules_is_not_added(tmp_path: Path) -> None:
    grace(tmp_path, 100_000_000)
    meter = found(tmp_path)
    before = meter.read(0).counters["hwmon"]
    grace(tmp_path, 140_000_000)
    (domain,) = meter.energy("hwmon", before, meter.read(0).counters["hwmon"], 5_000)
    assert (domain.name, domain.boundary, domain.energy_uj) == ("cpu", "board", 600_000_000)  # 120 W for 5 s


def test_amds_sockets_count_and_their_cores_do_not(tmp_path: Path) -> None:
    epyc(tmp_path, 1_000)
    meter = found(tmp_path)
    before = meter.read(0).counters["hwmon"]
    epyc(tmp_path, 5_000)
    (domain,) = meter.energy("hwmon", before, meter.read(0).counters["hwmon"], 5_000)
    assert (domain.boundary, domain.energy_uj) == ("package", 8_000)


def test_a_counter_that_went_back_and_a_gap_without_looks_are_unknown(tmp_path: Path) -> None:
    epyc(tmp_path, 1_000)
    meter = found(tmp_path)
    with pytest.raises(MeterError, match="went back"):
        meter.energy("hwmon", dict.fromkeys(meter.read(0).counters["hwmon"], 9999), meter.read(0).counters["hwmon"], 5)
    (tmp_path / "other").mkdir()
    grace(tmp_path / "other", 1)
    meter = found(tmp_path / "other")
    reading = meter.read(0).counters["hwmon"]
    with pytest.raises(MeterError, match="not looked at for 61 s"):
        meter.energy("hwmon", reading, reading, 61_000)


@pytest.mark.parametrize("junk", ["", "x", "-5", "1.5"])
def test_an_unreadable_sensor_fails_them_all_rather_than_undercount(tmp_path: Path, junk: str) -> None:
    epyc(tmp_path, 1)
    meter = found(tmp_path)
    sensors(tmp_path, "hwmon3", energy66_input=junk)
    assert meter.read(0).counters == {}
    assert "energy66_input" in meter.read(0).failed["hwmon"]


def test_sensors_of_other_things_are_not_the_cpu(tmp_path: Path) -> None:
    sensors(tmp_path, "hwmon0", name="nvme", temp1_input="40000")
    sensors(tmp_path, "hwmon1", name="power_meter", power1_average="350000000")  # a whole server: no oem_info
    detection = detect_hwmon(tmp_path)
    assert detection.meter is None
    assert "no sensor known to measure the CPU (seen: nvme, power_meter)" in detection.reason


def test_what_rapl_measures_hwmon_does_not_measure_again(tmp_path: Path) -> None:
    epyc(tmp_path, 1)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\n")
    assert winners(detect_meters(tmp_path, tmp_path / "proc")) == {"cpu": "hwmon"}
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "65532610987"}.items():
        (zone / name).write_text(text)
    assert winners(detect_meters(tmp_path, tmp_path / "proc")) == {"cpu": "rapl"}
