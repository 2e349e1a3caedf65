"""A small interface to NVML: lists the GPUs and reads their power, energy and use. Only this module imports pynvml.

Every error becomes a `GpuError` with NVML's message. The list of GPUs is read again each minute, and after an error
that a new start of the library can clear (driver reloaded, GPU reset). So a lost GPU comes back, and new partitions are
seen.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

from carbonbudget_agent.device_sharing import Gpu, MigInstance

_REFRESH_SECONDS = 60.0


class GpuError(Exception):
    """NVML failed; one line gives its message."""


class Gpus:
    """The GPUs of this machine. `now` is a seam for tests: seconds of a steady clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        import pynvml  # here, because only a machine with GPUs pays its 6 MB

        self._nvml: Any = pynvml
        self._now = now
        self._started = self._upset = False
        self._due = 0.0
        self._gpus: tuple[Gpu, ...] = ()
        self._handles: dict[str, Any] = {}
        self._lacking: set[tuple[str, str]] = set()
        self._seen_us: dict[str, int] = {}
        self._samples: dict[tuple[str, int], Any] = {}

    def all(self) -> tuple[Gpu, ...]:
        """Every GPU; listed again after a minute. Raises GpuError."""
        if self._now() < self._due:
            if not self._started:
                raise GpuError("NVML does not start")
            return self._gpus
        self._due = self._now() + _REFRESH_SECONDS
        if self._upset:
            self._stop()
        try:
            if not self._started:
                self._call("nvmlInit")
                self._started = True
            self._list()
        except GpuError:
            self._stop()
            raise
        return self._gpus

    def look_again(self) -> None:
        """Let the next `all` read the list again: a MIG instance may be created when a pod requests it."""
        self._due = 0.0

    def _list(self) -> None:
        handles: dict[str, Any] = {}
        gpus: list[Gpu] = []
        for index in range(self._call("nvmlDeviceGetCount")):
            try:
                handle = self._call("nvmlDeviceGetHandleByIndex", index)
                uuid = self._call("nvmlDeviceGetUUID", handle)
                gpus.append(self._describe(handle, uuid))
                handles[uuid] = handle
            except GpuError:
                continue  # lost: its meter logs it, and the others are read
        self._gpus, self._handles = tuple(gpus), handles
        self._lacking = set()  # MIG that was switched off, or a new driver, may have given a GPU what it lacked

    def _describe(self, handle: Any, uuid: str) -> Gpu:
        name = self._call("nvmlDeviceGetName", handle)
        minor = self._optional("nvmlDeviceGetMinorNumber", handle)
        mode = self._optional("nvmlDeviceGetMigMode", handle)
        gpu = Gpu(uuid, name, -1 if minor is None else minor)
        if not mode or mode[0] != self._nvml.NVML_DEVICE_MIG_ENABLE:
            return gpu
        most = self._call("nvmlDeviceGetMaxMigDeviceCount", handle)
        instances = tuple(found for index in range(most) if (found := self._instance(handle, index)) is not None)
        parts = max(most, sum(instance.parts for instance in instances))
        return Gpu(uuid, name, gpu.minor, parts, instances)

    def _instance(self, handle: Any, index: int) -> MigInstance | None:
        mig = self._optional("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if mig is None:
            return None
        attributes = self._call("nvmlDeviceGetAttributes_v2", mig)
        return MigInstance(
            uuid=self._call("nvmlDeviceGetUUID", mig),
            gpu_instance=self._call("nvmlDeviceGetGpuInstanceId", mig),
            compute_instance=self._call("nvmlDeviceGetComputeInstanceId", mig),
            parts=max(1, attributes.computeInstanceSliceCount),
        )

    def energy_mj(self, gpu: Gpu) -> int | None:
        """Millijoules since the driver was loaded; None where there is no such counter. Raises GpuError."""
        energy_mj: int | None = self._ask(gpu, "nvmlDeviceGetTotalEnergyConsumption")
        return energy_mj

    def power_mw(self, gpu: Gpu) -> int | None:
        """Milliwatts now; None where there is no sensor. Raises GpuError."""
        power_mw: int | None = self._ask(gpu, "nvmlDeviceGetPowerUsage")
        return power_mw

    def limit_mw(self, gpu: Gpu) -> int | None:
        """The highest power limit that can be set, in milliwatts; None where it is not reported. Raises GpuError."""
        limits = self._ask(gpu, "nvmlDeviceGetPowerManagementLimitConstraints")
        return None if limits is None else limits[1]

    def busy_permille(self, gpu: Gpu) -> int | None:
        """How much of the last sampling period a kernel ran; None where it is not reported (MIG)."""
        rates = self._ask(gpu, "nvmlDeviceGetUtilizationRates")
        return None if rates is None else min(1000, rates.gpu * 10)

    def processes(self, gpu: Gpu) -> dict[int, int] | None:
        """Utilization by process id since the last call; empty when idle, None where it is not reported."""
        since = self._seen_us.get(gpu.uuid, 0)
        samples = self._ask(gpu, "nvmlDeviceGetProcessUtilization", since, not_found=())
        if samples is None:
            return None
        used: dict[int, int] = {}
        for sample in samples:
            if sample.timeStamp > since:
                used[sample.pid] = used.get(sample.pid, 0) + min(100, sample.smUtil)
                self._seen_us[gpu.uuid] = max(self._seen_us.get(gpu.uuid, 0), sample.timeStamp)
        return used

    def instance_activity(self, gpu: Gpu) -> dict[int, int]:
        """Activity of each GPU instance in permille since the last call, by GPM (Hopper and later).

        Asked of the parent only: a query of the MIG device itself is known to upset later calls. Empty
        where GPM is not there or has no earlier look to compare with.
        """
        support = self._ask(gpu, "nvmlGpmQueryDeviceSupport")
        if support is None or not support.isSupportedDevice:
            return {}
        found: dict[int, int] = {}
        for instance in {instance.gpu_instance for instance in gpu.instances}:
            sample = self._call("nvmlGpmSampleAlloc")
            earlier = self._samples.pop((gpu.uuid, instance), None)
            self._samples[gpu.uuid, instance] = sample  # stored, so that it is freed even after an error
            try:
                self._ask(gpu, "nvmlGpmMigSampleGet", instance, sample)
                activity = None if earlier is None else self._compare(earlier, sample)
            finally:
                if earlier is not None:
                    self._call("nvmlGpmSampleFree", earlier)
            if activity is not None:
                found[instance] = activity
        return found

    def _compare(self, earlier: Any, sample: Any) -> int | None:
        query = self._nvml.c_nvmlGpmMetricsGet_t()
        query.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        query.numMetrics = 1
        query.sample1, query.sample2 = earlier, sample
        query.metrics[0].metricId = self._nvml.NVML_GPM_METRIC_SM_UTIL
        self._call("nvmlGpmMetricsGet", query)
        value = query.metrics[0].value
        usable = query.metrics[0].nvmlReturn == self._nvml.NVML_SUCCESS and 0 <= value <= 100
        return round(value * 10) if usable else None

    def _ask(self, gpu: Gpu, function: str, *arguments: Any, not_found: Any = None) -> Any:
        """One question to one GPU; None, until the next list, where it is not supported. Raises GpuError.

        NVML starts anew with the next list after an error: the handles of the other GPUs serve until then.
        """
        if (gpu.uuid, function) in self._lacking:
            return None
        handle = self._handles.get(gpu.uuid)
        if handle is None:
            raise GpuError("the driver no longer lists it")
        try:
            return self._raw(function, handle, *arguments)
        except self._nvml.NVMLError as error:
            if error.value == self._nvml.NVML_ERROR_NOT_FOUND and not_found is not None:
                return not_found
            if error.value in (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                self._lacking.add((gpu.uuid, function))
                return None
            self._upset = True
            raise GpuError(f"{function}: {error}") from None

    def _optional(self, function: str, *arguments: Any) -> Any:
        try:
            return self._raw(function, *arguments)
        except self._nvml.NVMLError:
            return None

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return self._raw(function, *arguments)
        except self._nvml.NVMLError as error:
            raise GpuError(f"{function}: {error}") from None

    def _raw(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except (ValueError, ctypes.ArgumentError) as error:
            raise GpuError(f"{function}: {error}") from None

    def _stop(self) -> None:
        """Forget the library's state; `all` starts it again when that is due."""
        for sample in self._samples.values():
            self._optional("nvmlGpmSampleFree", sample)
        if self._started:
            self._optional("nvmlShutdown")
        self._started = self._upset = False
        self._handles, self._samples = {}, {}
