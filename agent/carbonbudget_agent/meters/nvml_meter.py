"""NVIDIA GPUs through NVML: one unit for each GPU, so that a lost GPU does not affect the others.

Energy comes from the first of these that a GPU has:
    1. its energy counter (millijoules since the driver was loaded; Volta and later), preferred because the
       power sensor of A100 and H100 looks only a quarter of the time (arXiv 2312.02741);
    2. its power, integrated between looks;
    3. the model: idle and full power of its kind (accelerators.csv) by utilization, with a range.
A MIG GPU is measured as a whole; `device_sharing.py` splits it. Source: NVML's API reference (nvml.h).
"""

from __future__ import annotations

import ctypes

from carbonbudget_agent.device_sharing import Gpu
from carbonbudget_agent.meters import Counters, Detection, DomainEnergy, MeterError, MeterReading
from carbonbudget_agent.meters.accelerator_power import AcceleratorPower, find_accelerator
from carbonbudget_agent.meters.counter_delta import MARGIN, counted_uj
from carbonbudget_agent.meters.hwmon import integrate_uw
from carbonbudget_agent.meters.nvml_interface import GpuError, Gpus

_LIBRARY = "libnvidia-ml.so.1"
# The most that a card draws whose driver states no limit and whose kind is unknown. Data sheets: 1,400 W for B300,
# 2,300 W announced for Rubin.
_MOST_WATTS = 3_000


def domain_of(uuid: str) -> str:
    """The domain's name of a GPU."""
    return f"gpu:{uuid}"


class NvmlMeter:
    """The meter of all GPUs of the driver, also those that are added later."""

    name = "nvml"

    def __init__(self, gpus: Gpus) -> None:
        self.gpus = gpus
        self._kinds: dict[str, AcceleratorPower | None] = {}
        self._most_watts: dict[str, int] = {}

    def read(self, busy_us: int) -> MeterReading:
        """Each GPU's counters; a lost GPU is the only one that fails."""
        counters: dict[str, Counters] = {}
        failed: dict[str, str] = {}
        try:
            found = self.gpus.all()
        except GpuError as error:
            return MeterReading({}, {self.name: str(error)})
        for gpu in found:
            if gpu.uuid not in self._kinds:
                self._kinds[gpu.uuid] = find_accelerator(gpu.name)
            try:
                if gpu.uuid not in self._most_watts:
                    self._most_watts[gpu.uuid] = self._limit_watts(gpu)
                counters[gpu.uuid] = self._counters(gpu)
            except GpuError as error:
                failed[gpu.uuid] = str(error)
        failed |= {uuid: "the driver no longer lists it" for uuid in self._kinds if uuid not in counters | failed}
        return MeterReading(counters, failed)

    def _counters(self, gpu: Gpu) -> Counters:
        energy_mj = self.gpus.energy_mj(gpu)
        if energy_mj is not None:
            return {"energy_mj": energy_mj}
        power_mw = self.gpus.power_mw(gpu)
        if power_mw is not None:
            return {"power_mw": power_mw}
        if self._kinds[gpu.uuid] is None:
            raise GpuError(f"it has no energy counter and no power sensor, and no model is known for {gpu.name!r}")
        return {"busy_permille": self.gpus.busy_permille(gpu) or 0}

    def _limit_watts(self, gpu: Gpu) -> int:
        """The most that this GPU can draw: twice the limit that its driver states, else twice what its kind draws."""
        kind = self._kinds[gpu.uuid]
        try:
            stated_mw = self.gpus.limit_mw(gpu) or 0
        except GpuError:
            stated_mw = 0  # the figure is more than its bound; a GPU that is lost fails at its counter
        stated_mw = stated_mw or (0 if kind is None else kind.max_mw)
        return MARGIN * stated_mw // 1000 or _MOST_WATTS

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """One GPU's energy. A counter that went back counts from 0, if the GPU can have drawn that since."""
        most_watts = self._most_watts.get(unit, _MOST_WATTS)
        if "energy_mj" in before and "energy_mj" in after:
            # The driver starts it from 0 when it is loaded again.
            before_mj = before["energy_mj"] if before["energy_mj"] <= after["energy_mj"] else 0
            energy_uj = counted_uj("its counter", before_mj * 1000, after["energy_mj"] * 1000, elapsed_ms, most_watts)
        elif "power_mw" in before and "power_mw" in after:
            energy_uj = integrate_uw(before["power_mw"] * 1000, after["power_mw"] * 1000, elapsed_ms, most_watts)
        elif "busy_permille" in after:
            return (self._modelled(unit, after["busy_permille"], elapsed_ms),)
        else:
            raise MeterError("its two readings are of different kinds")
        kind = self._kinds.get(unit)
        kind_idle_uj = None if kind is None else kind.idle_mw * elapsed_ms
        return (DomainEnergy(domain_of(unit), self.name, "board", elapsed_ms, energy_uj, kind_idle_uj=kind_idle_uj),)

    def _modelled(self, uuid: str, busy_permille: int, elapsed_ms: int) -> DomainEnergy:
        kind = self._kinds.get(uuid)
        if kind is None:
            raise MeterError("no model is known for it")
        idle_uj = kind.idle_mw * elapsed_ms
        total_uj = idle_uj + (kind.max_mw - kind.idle_mw) * elapsed_ms * min(busy_permille, 1000) // 1000
        low_uj, high_uj = (total_uj * (1000 + sign * kind.error_permille) // 1000 for sign in (-1, 1))
        return DomainEnergy(
            domain_of(uuid), "model", "board", elapsed_ms, total_uj, idle_uj, low_uj=low_uj, high_uj=high_uj
        )


def detect_nvml() -> Detection:
    """Search for the driver's library; the binding is imported only where it is."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return Detection("nvml", None, f"{_LIBRARY} is not here: no NVIDIA driver, or not given to this container")
    gpus = Gpus()
    meter = NvmlMeter(gpus)
    try:
        found = gpus.all()
    except GpuError as error:
        return Detection("nvml", meter, f"{error}; asked again each minute", ("gpu",))
    sentence = ", ".join(f"{gpu.name} {gpu.uuid}{_mig(gpu)}: {_kind(meter, gpu)}" for gpu in found)
    return Detection("nvml", meter, sentence or "the driver lists no GPU; asked again each minute", ("gpu",))


def _mig(gpu: Gpu) -> str:
    return f" ({len(gpu.instances)} MIG instances)" if gpu.instances else ""


def _kind(meter: NvmlMeter, gpu: Gpu) -> str:
    try:
        if meter.gpus.energy_mj(gpu) is not None:
            return "energy counter"
        if meter.gpus.power_mw(gpu) is not None:
            return "power, integrated"
    except GpuError as error:
        return str(error)
    kind = find_accelerator(gpu.name)
    return f"modelled as {kind.name}" if kind else "no power and no model known"
