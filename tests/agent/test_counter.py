"""A counter that went back or jumped: a real wrap counts, and nothing counts that the device cannot have drawn."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.test_meters import found, powercap, rapl

from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import ImplausibleError, MeterError
from carbonbudget_agent.meters.counter_delta import counted_uj
from carbonbudget_agent.meters.hwmon import detect_hwmon
from carbonbudget_agent.meters.rapl import detect_rapl
from carbonbudget_agent.work_counters import WorkCounters

AMD_RANGE = 65_532_610_987  # 15.3 uJ x 2**32


def put(root: Path, energy_uj: int, **files: str) -> Path:
    """A machine with one AMD socket, and more files of its zone."""
    powercap(root, {"intel-rapl:0": ("package-0", energy_uj)})
    zone = root / "class/powercap/intel-rapl:0"
    for name, text in {"max_energy_range_uj": str(AMD_RANGE), **files}.items():
        (zone / name).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("first_uj", "then_uj"),
    [
        (40_000_000_000, 39_999_000_000),  # back by 1 J
        (40_000_000_000, 100_000_000),  # anew from 0
        (4_000_000_000, 100_000_000),  # anew from 0 after little use
        (4_000_000_000, 40_000_000_000),  # forward by 36 kJ
    ],
)
def test_a_rapl_counter_that_steps_back_or_jumps_has_no_figure_is_counted_and_logged_once(
    tmp_path: Path, first_uj: int, then_uj: int, caplog: pytest.LogCaptureFixture
) -> None:
    counts = WorkCounters()
    metering = Metering([found(detect_rapl(put(tmp_path, first_uj)).meter)], counts)
    stamps = metering.read(0, 0, {})
    for step in (1, 2):
        put(tmp_path, then_uj if step % 2 else then_uj + 500_000_000)
        before, stamps = stamps, metering.read(step * 5_000, 0, stamps)
        figures = [domain.energy_uj for domain in metering.energies(before, stamps, 5_000)]
        assert figures == ([] if step == 1 else [500_000_000])
    put(tmp_path, then_uj)  # back once more
    before, stamps = stamps, metering.read(15_000, 0, stamps)
    assert metering.energies(before, stamps, 5_000) == []
    assert (counts.meter_implausible, counts.meter_errors) == (2, 2)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


def test_a_real_wrap_still_counts(tmp_path: Path) -> None:
    meter = found(detect_rapl(put(tmp_path, AMD_RANGE - 1_000_000_000)).meter)
    before = rapl(meter)
    put(tmp_path, 500_000_000)
    assert meter.energy("rapl:cpu", before, rapl(meter), 5_000)[0].energy_uj == 1_500_000_000


@pytest.mark.parametrize(
    ("files", "most_watts"),
    [
        ({}, 1_000),
        ({"constraint_0_max_power_uw": "65000000"}, 130),
        ({"constraint_0_max_power_uw": "125000000", "constraint_1_power_limit_uw": "253000000"}, 506),
        ({"constraint_0_max_power_uw": "125000000", "constraint_0_power_limit_uw": "4095875000"}, 1_000),
        ({"constraint_0_max_power_uw": "0"}, 1_000),
        ({"constraint_0_max_power_uw": "x"}, 1_000),
    ],
)
def test_a_package_is_bounded_by_twice_what_its_firmware_states(
    tmp_path: Path, files: dict[str, str], most_watts: int
) -> None:
    meter = found(detect_rapl(put(tmp_path, 1_000, **files)).meter)
    before, second_uj = rapl(meter), most_watts * 1_000_000
    put(tmp_path, 1_000 + 6 * second_uj)  # a second more than it was looked at: when it was read is not that exact
    assert meter.energy("rapl:cpu", before, rapl(meter), 5_000)[0].energy_uj == 6 * second_uj
    put(tmp_path, 1_000 + 6 * second_uj + 1)
    with pytest.raises(ImplausibleError, match=f"it can draw {most_watts} W"):
        meter.energy("rapl:cpu", before, rapl(meter), 5_000)


def test_one_socket_that_steps_back_leaves_no_part_of_a_figure(tmp_path: Path) -> None:
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 10**10), "intel-rapl:1": ("package-1", 10**10)})
    meter = found(detect_rapl(tmp_path).meter)
    before = rapl(meter)
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 10**10 + 10**9), "intel-rapl:1": ("package-1", 10**10 - 10**6)})
    with pytest.raises(ImplausibleError, match="package-1 went back by 1 J"):
        meter.energy("rapl:cpu", before, rapl(meter), 5_000)


def test_a_hwmon_counter_or_sensor_beyond_what_a_socket_draws_has_no_figure(tmp_path: Path) -> None:
    device = tmp_path / "class/hwmon/hwmon0"
    device.mkdir(parents=True)
    for name, text in {"name": "amd_energy", "energy1_label": "Esocket0", "energy1_input": "5"}.items():
        (device / name).write_text(text)
    meter = found(detect_hwmon(tmp_path).meter)
    key = "hwmon0/energy1_input"
    assert meter.energy("hwmon", {key: 0}, {key: 5 * 10**9}, 5_000)[0].energy_uj == 5 * 10**9
    for before, after in (({key: 10**9}, {key: 10**9 - 1}), ({key: 0}, {key: 6 * 10**9 + 1})):
        with pytest.raises(ImplausibleError):
            meter.energy("hwmon", before, after, 5_000)
    for name, text in {"name": "power_meter", "power1_oem_info": "Grace Power Socket 0", "power1_average": "5"}.items():
        (device / name).write_text(text)
    meter, power = found(detect_hwmon(tmp_path).meter), "hwmon0/power1_average"
    with pytest.raises(ImplausibleError, match="its sensor says 4294 W, and it can draw 1000 W"):
        meter.energy("hwmon", {power: 10**8}, {power: 4_294_967_295}, 5_000)


AMOUNTS = st.integers(0, AMD_RANGE)


@given(AMOUNTS, AMOUNTS, st.integers(1, 10**7), st.integers(1, 3_000), st.sampled_from([0, AMD_RANGE, 4 * AMD_RANGE]))
def test_whatever_is_read_a_figure_is_never_more_than_the_device_can_draw(
    before_uj: int, after_uj: int, elapsed_ms: int, most_watts: int, range_uj: int
) -> None:
    try:
        energy_uj = counted_uj("it", before_uj, after_uj, elapsed_ms, most_watts, range_uj)
    except MeterError:
        return
    assert 0 <= energy_uj <= most_watts * 1000 * (elapsed_ms + 1_000)
    assert (before_uj + energy_uj - after_uj) % (range_uj or 10**30) == 0


@given(st.integers(0, AMD_RANGE - 1), st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 1_000)), max_size=20))
def test_a_counter_that_only_wraps_loses_and_doubles_nothing(start_uj: int, looks: list[tuple[int, int]]) -> None:
    """Looks at most a minute apart, at up to 1,000 W: each has its figure, and they add up to what was drawn."""
    drawn_uj = found_uj = 0
    for elapsed_ms, watts in looks:
        before_uj = (start_uj + drawn_uj) % AMD_RANGE
        drawn_uj += elapsed_ms * watts * 1000
        after_uj = (start_uj + drawn_uj) % AMD_RANGE
        found_uj += counted_uj("it", before_uj, after_uj, elapsed_ms, 1_000, AMD_RANGE)
    assert found_uj == drawn_uj
