"""The NVML meter on scripted GPUs, through the real pynvml."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gpu.driver import GPU_A, GPU_B, MIG_1, MIG_4, Driver

from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import CounterReading, ImplausibleError, MeterError
from carbonbudget_agent.meters.accelerator_power import find_accelerator
from carbonbudget_agent.meters.nvml_interface import GpuError, Gpus
from carbonbudget_agent.meters.nvml_meter import NvmlMeter
from carbonbudget_agent.work_counters import WorkCounters

GPU_IS_LOST, NOT_SUPPORTED, DRIVER_NOT_LOADED, UNKNOWN = 15, 3, 9, 999


class Hands:
    """The steady clock of the driver's list."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Node:
    """The meter on the scripted driver, looked at each five seconds."""

    def __init__(self) -> None:
        self.hands, self.counts = Hands(), WorkCounters()
        self.meter = NvmlMeter(Gpus(self.hands))
        self.metering = Metering([self.meter], self.counts)
        self.stamps: dict[str, CounterReading] = {}

    def look(self, seconds: float = 5) -> dict[str, int]:
        """Microjoules by domain since the last look."""
        self.hands.seconds += seconds
        before, self.stamps = self.stamps, self.metering.read(int(self.hands.seconds * 1000), 0, self.stamps)
        return {d.name: d.energy_uj for d in self.metering.energies(before, self.stamps)}


def test_the_energy_counter_is_taken_where_there_is_one(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=1_000, power_mw=9)
    driver.gpu(1, GPU_B, energy_mj=70_000)
    node = Node()
    assert node.look() == {}
    driver.set(0, energy_mj=2_500)
    driver.set(1, energy_mj=70_001)
    assert node.look() == {f"gpu:{GPU_A}": 1_500_000, f"gpu:{GPU_B}": 1_000}


def test_power_is_integrated_where_there_is_no_counter(driver: Driver) -> None:
    driver.gpu(0, GPU_A, power_mw=100_000)
    node = Node()
    node.look()
    driver.set(0, power_mw=200_000)
    assert node.look(5) == {f"gpu:{GPU_A}": 750_000_000}  # 150 W for 5 s
    assert node.look(90) == {}  # nobody looked for too long: unknown, not guessed
    assert node.counts.meter_errors == 1


def test_without_any_sensor_the_model_stands_in_with_its_range(driver: Driver) -> None:
    driver.gpu(0, GPU_A, busy=50)
    meter = NvmlMeter(Gpus(Hands()))
    (counters,) = meter.read(0).counters.values()
    (domain,) = meter.energy(GPU_A, counters, counters, 1000)
    assert (domain.method, domain.energy_uj, domain.idle_uj) == ("model", 223_000_000, 46_000_000)  # 46 + 354 W / 2
    assert (domain.low_uj, domain.high_uj) == (111_500_000, 334_500_000)


def test_a_gpu_without_sensor_and_model_is_said_to_be_unmeasured(driver: Driver) -> None:
    driver.gpu(0, GPU_A, name="Some New Thing")
    reading = NvmlMeter(Gpus(Hands())).read(0)
    assert reading.counters == {}
    assert "no model is known for 'Some New Thing'" in reading.failed[GPU_A]


def test_a_counter_that_went_back_was_reset_by_the_driver_and_counts_from_zero(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=900_000)
    node = Node()
    node.look()
    driver.set(0, energy_mj=40)
    assert node.look() == {f"gpu:{GPU_A}": 40_000}


@pytest.mark.parametrize(
    ("says", "most_watts"),
    [
        ({"limit_mw": 350_000}, 700),
        ({}, 800),  # an A100 of 400 W, by its kind
        ({"name": "Some New Thing"}, 3_000),
        ({"name": "Some New Thing", "limit_mw": 75_000}, 150),
    ],
)
def test_no_counter_says_more_than_twice_what_its_card_can_draw(
    driver: Driver, says: dict[str, object], most_watts: int
) -> None:
    """Back by a joule, it would count all of it from 0; forward by a garbled reading, a megajoule."""
    driver.gpu(0, GPU_A, energy_mj=900_000_000, **says)
    node = Node()
    node.look()
    for energy_mj in (899_999_000, 999_999_000, 899_999_000):
        driver.set(0, energy_mj=energy_mj)
        assert node.look() == {}
    driver.set(0, energy_mj=899_999_000 + 6_000 * most_watts)  # its counter may be a second older than the look
    assert node.look() == {f"gpu:{GPU_A}": 6_000_000 * most_watts}
    driver.set(0, energy_mj=899_999_000 + 12_000 * most_watts + 1)
    assert node.look() == {}
    assert (node.counts.meter_implausible, node.counts.meter_errors) == (4, 4)


def test_a_power_sensor_that_says_more_than_its_card_can_draw_has_no_figure(driver: Driver) -> None:
    driver.gpu(0, GPU_A, power_mw=100_000)
    node = Node()
    node.look()
    driver.set(0, power_mw=4_294_967_295)
    assert node.look() == {}
    assert node.counts.meter_implausible == 1


def test_a_card_whose_limit_cannot_be_asked_is_measured_all_the_same(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=0)
    driver.fail("nvmlDeviceGetPowerManagementLimitConstraints", UNKNOWN, gpu=0)
    node = Node()
    node.look()
    driver.set(0, energy_mj=1_000)
    assert node.look() == {f"gpu:{GPU_A}": 1_000_000}


@pytest.mark.parametrize("code", [GPU_IS_LOST, UNKNOWN, 1, 2, 4, 10, 17, 18])
def test_one_gpu_that_fails_hinders_no_other_and_loses_nothing_when_it_is_back(driver: Driver, code: int) -> None:
    driver.gpu(0, GPU_A, energy_mj=0)
    driver.gpu(1, GPU_B, energy_mj=0)
    node = Node()
    node.look()
    driver.fail("nvmlDeviceGetTotalEnergyConsumption", code, gpu=1)
    total = {f"gpu:{GPU_A}": 0, f"gpu:{GPU_B}": 0}
    for step in range(1, 30):
        if step == 20:
            driver.fail("nvmlDeviceGetTotalEnergyConsumption", None, gpu=1)
        driver.set(0, energy_mj=step * 1000)
        driver.set(1, energy_mj=step * 2000)
        for name, energy_uj in node.look().items():
            total[name] += energy_uj
    assert total == {f"gpu:{GPU_A}": 29_000_000, f"gpu:{GPU_B}": 58_000_000}
    assert node.counts.meter_errors == 19  # each failure counted


def test_a_driver_that_is_loaded_again_is_found_within_a_minute(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=500)
    node = Node()
    node.look()
    for function in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlInitWithFlags"):
        driver.fail(function, DRIVER_NOT_LOADED)
    assert node.look(5) == {}
    assert node.look(60) == {}
    for function in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlInitWithFlags"):
        driver.fail(function, None)
    driver.set(0, energy_mj=30)
    assert node.look(60) == {f"gpu:{GPU_A}": 30_000}


def test_a_gpu_that_is_added_later_is_found_and_one_that_is_taken_out_is_told(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=0)
    node = Node()
    node.look()
    driver.gpu(1, GPU_B, energy_mj=0)
    node.look(60)
    driver.set(1, energy_mj=5)
    assert node.look()[f"gpu:{GPU_B}"] == 5_000
    driver.fail("nvmlDeviceGetHandleByIndex_v2", GPU_IS_LOST, gpu=1)
    assert f"gpu:{GPU_B}" not in node.look(60)
    assert node.meter.read(0).failed == {GPU_B: "the driver no longer lists it"}


def test_what_a_gpu_lacked_is_asked_again_with_each_list(driver: Driver) -> None:
    """MIG switched off, or a driver that came back newer."""
    driver.gpu(0, GPU_A, power_mw=100_000)
    node = Node()
    node.look()
    assert node.meter.gpus.busy_permille(node.meter.gpus.all()[0]) is None
    driver.set(0, energy_mj=5_000, busy=30)
    node.look(60)
    assert node.meter.gpus.busy_permille(node.meter.gpus.all()[0]) == 300
    driver.set(0, energy_mj=6_000)
    assert node.look() == {f"gpu:{GPU_A}": 1_000_000}


def test_a_model_is_looked_up_once_and_not_at_each_look(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.gpu(0, GPU_A, energy_mj=1)
    asked: list[str] = []
    monkeypatch.setattr("carbonbudget_agent.meters.nvml_meter.find_accelerator", asked.append)
    node = Node()
    for _ in range(10):
        node.look()
    assert len(asked) == 1


FUNCTIONS = [
    "nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID",
    "nvmlDeviceGetName", "nvmlDeviceGetMinorNumber", "nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId",
    "nvmlDeviceGetAttributes_v2", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetProcessUtilization", "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc", "nvmlGpmMigSampleGet", "nvmlGpmMetricsGet", "nvmlShutdown",
]  # fmt: skip


def complaints(gpus: Gpus) -> list[str]:
    """What goes wrong when everything is asked once."""
    found: list[str] = []
    try:
        asked = gpus.all()
    except GpuError as error:
        return [str(error)]
    for gpu in asked:
        for ask in (gpus.busy_permille, gpus.processes, gpus.instance_activity):
            try:
                ask(gpu)
            except GpuError as error:
                found.append(str(error))
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_code_from_every_call_is_a_counted_failure_and_never_the_end(driver: Driver, function: str) -> None:
    driver.gpu(0, GPU_A, energy_mj=0, busy=10, processes="1:5:9", mig=1, max_mig=7, gpm=1, **{"gi3.sm": 50})
    driver.mig(0, 0, MIG_4, gi=3, parts=4)
    for code in (*range(1, 28), UNKNOWN):
        node = Node()
        node.look()
        driver.fail(function, code)
        for _ in range(3):
            node.look(30)
            told = complaints(node.meter.gpus)
            assert all(function.removesuffix("_v2") in line or "NVML does not start" in line for line in told)
        driver.fail(function, None)
        driver.set(0, energy_mj=code)
        node.look(61)
        assert f"gpu:{GPU_A}" in node.look(61)


def test_process_utilization_is_summed_since_the_last_call_and_idle_is_no_error(driver: Driver) -> None:
    driver.gpu(0, GPU_A, energy_mj=0, processes="11:30:100,12:10:100,11:20:110")
    gpus = Gpus(Hands())
    (gpu,) = gpus.all()
    assert gpus.processes(gpu) == {11: 50, 12: 10}
    assert gpus.processes(gpu) == {}
    driver.set(0, processes=None)
    assert gpus.processes(gpu) is None


def test_gpm_gives_the_activity_of_each_instance_through_the_parent(driver: Driver) -> None:
    driver.gpu(0, GPU_A, mig=1, max_mig=7, gpm=1, **{"gi1.sm": 12.5, "gi2.sm": 90})
    driver.mig(0, 0, MIG_1, gi=1, parts=1)
    driver.mig(0, 1, MIG_4, gi=2, parts=4)
    gpus = Gpus(Hands())
    (gpu,) = gpus.all()
    assert (gpu.parts, [i.parts for i in gpu.instances]) == (7, [1, 4])
    assert gpus.instance_activity(gpu) == {}  # one look is none
    assert gpus.instance_activity(gpu) == {1: 125, 2: 900}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100 SXM4 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200", "H200 SXM5"),
        ("Tesla T4", "T4 PCIe"),
        ("Tesla V100-SXM2-16GB", "Tesla V100 SXM2"),
        ("NVIDIA L4", "L4 PCIe"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada PCIe"),
        ("NVIDIA A10G", "A10G PCIe"),
        ("", None),
        ("AMD Instinct", None),
    ],
)
def test_a_model_is_found_by_the_name_that_the_driver_gives(name: str, row: str | None) -> None:
    found = find_accelerator(name)
    assert (found.name if found else None) == row


@given(st.text(max_size=60))
def test_any_name_is_a_known_model_or_none(name: str) -> None:
    found = find_accelerator(name)
    assert found is None or 0 < found.idle_mw < found.max_mw


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 10**7))
def test_a_gpus_energy_is_never_negative_nor_more_than_a_card_draws(before: int, after: int, elapsed_ms: int) -> None:
    meter = NvmlMeter(None)  # `energy` needs no driver
    most_uj = 3_000_000 * (elapsed_ms + 1_000)
    try:
        (domain,) = meter.energy(GPU_A, {"energy_mj": before}, {"energy_mj": after}, elapsed_ms)
        assert 0 <= domain.energy_uj <= most_uj
    except ImplausibleError:
        assert (after if after < before else after - before) * 1000 > most_uj
    with pytest.raises(MeterError, match="different kinds"):
        meter.energy(GPU_A, {"energy_mj": 1}, {"power_mw": 1}, elapsed_ms)
