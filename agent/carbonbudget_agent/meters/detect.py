"""Detects the meters of the node and chooses one for each kind of domain, so that no energy is counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from carbonbudget_agent.meters import Detection, Meter
from carbonbudget_agent.meters.calibration import Calibration
from carbonbudget_agent.meters.hwmon import detect_hwmon
from carbonbudget_agent.meters.nvml_meter import detect_nvml
from carbonbudget_agent.meters.power_model import detect_model
from carbonbudget_agent.meters.rapl import detect_rapl
from carbonbudget_agent.online_cpus import online_cpus

# For each kind of domain the meters in order: measured before modelled. The model of the CPU is that of a whole server
# at the wall, memory included, so it is never used together with a measured `dram`.
PREFERENCE = {
    "cpu": ("rapl", "hwmon", "model"),
    "dram": ("rapl",),
    "gpu": ("nvml",),
}


def detect_meters(
    sysfs: Path, procfs: Path, instance_type: str = "", calibration: Calibration | None = None
) -> list[Detection]:
    """All sources, whether they are here or not; the last two are for the model."""
    model = detect_model(procfs, instance_type, calibration, partial(online_cpus, sysfs))
    return [detect_rapl(sysfs), detect_hwmon(sysfs), detect_nvml(), model]


def winners(detections: Sequence[Detection]) -> dict[str, str]:
    """The meter that measures each kind of domain, by name; kinds without a meter are left out."""
    able = {detection.name: detection.kinds for detection in detections if detection.meter is not None}
    found = {
        kind: next((name for name in names if kind in able.get(name, ())), None) for kind, names in PREFERENCE.items()
    }
    return {kind: name for kind, name in found.items() if name is not None}


def choose_meters(detections: Sequence[Detection]) -> list[Meter]:
    """The meters that win at least one kind.

    Raises:
        RuntimeError: nobody measures the CPU, not even the model; the message says why.
    """
    chosen = winners(detections)
    if "cpu" not in chosen:
        raise RuntimeError("no meter for the CPU: " + "; ".join(f"{d.name}: {d.reason}" for d in detections))
    return [d.meter for d in detections if d.meter is not None and d.name in chosen.values()]
