"""Which meter wins: the one table of that, in order. The first that is there measures the CPU."""

from __future__ import annotations

from pathlib import Path

from carbonbudget_agent.meters import Detection, Meter
from carbonbudget_agent.meters.model import detect_model
from carbonbudget_agent.meters.rapl import detect_rapl


def detect_meters(sysfs: Path, procfs: Path) -> list[Detection]:
    """All sources in order of preference: measured before modelled."""
    return [detect_rapl(sysfs), detect_model(procfs)]


def choose_meter(detections: list[Detection]) -> Meter:
    """The first source that is there.

    Raises:
        RuntimeError: not even the model can work; the message says why each is missing.
    """
    for detection in detections:
        if detection.meter is not None:
            return detection.meter
    raise RuntimeError("no meter: " + "; ".join(f"{d.name}: {d.reason}" for d in detections))
