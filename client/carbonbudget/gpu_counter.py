"""The cumulative energy of the visible GPUs, sampled by the library's thread, as the second weight of a span.

A reading takes NVML up to some milliseconds, so that no span waits for one: both edges are interpolated afterwards.
"""

from __future__ import annotations

import bisect
import importlib
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_SAMPLES = 2_048
# The thread starts with the first span; that much earlier the first sample holds as well.
_EARLIER_MS = 2_000


def nvml_module() -> Any:
    """The module pynvml; None where there is none, or no GPU."""
    try:
        if "pynvml" not in sys.modules and not os.path.exists("/dev/nvidiactl"):
            return None
        return importlib.import_module("pynvml")
    except Exception:  # what else the import of a foreign module raises
        return None


class GpuCounter:
    """Samples of the energy of all GPUs. The older they are, the wider apart: their number is bounded."""

    def __init__(self) -> None:
        self._times_ms: list[int] = []
        self._energies_uj: list[int] = []
        self._handles: list[Any] = []
        self._nvml: Any = None

    def open(self) -> bool:
        """Find the GPUs. False where there are none, or no pynvml. Called by the library's thread alone."""
        try:
            self._nvml = nvml = nvml_module()
            if nvml is None:
                return False
            nvml.nvmlInit()
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
            return self.sample()
        except Exception:  # NVML raises its own errors; a GPU older than Volta has no such counter
            self._handles = []
            return False

    def sample(self) -> bool:
        """Read the counters now. False once they cannot be read: samples from then on would have a gap."""
        if not self._handles:
            return False
        try:
            energy_mj = sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles)
        except Exception:
            self._handles = []
            return False
        now_ms = time.time_ns() // 1_000_000
        # A clock that was set back would make the series unsearchable, and so would a counter of a reset GPU.
        if self._times_ms and (now_ms <= self._times_ms[-1] or energy_mj * 1000 < self._energies_uj[-1]):
            return True
        self._times_ms.append(now_ms)
        self._energies_uj.append(energy_mj * 1000)
        if len(self._times_ms) >= _MOST_SAMPLES:
            del self._times_ms[1 : _MOST_SAMPLES // 2 : 2]
            del self._energies_uj[1 : _MOST_SAMPLES // 2 : 2]
        return True

    def at_uj(self, time_ms: int) -> int | None:
        """Energy at an instant by linear interpolation; None outside what was sampled."""
        times, energies = self._times_ms, self._energies_uj
        if not times or not times[0] - _EARLIER_MS <= time_ms <= times[-1]:
            return None
        after = bisect.bisect_left(times, time_ms)
        if after == 0 or times[after] == time_ms:
            return energies[after]
        part_ms, length_ms = time_ms - times[after - 1], times[after] - times[after - 1]
        return energies[after - 1] + (energies[after] - energies[after - 1]) * part_ms // length_ms
