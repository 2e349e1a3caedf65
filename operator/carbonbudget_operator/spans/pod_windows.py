"""The measured windows of one pod, and windows made of its hourly facts where none are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class PodWindow:
    """What the pod used in [start_ms, end_ms), UTC milliseconds: energy in microjoules by domain, CPU microseconds.

    `energy_uj` is dynamic energy, `idle_uj` the idle energy of devices that the pod holds; the window's energy is both.
    `hourly`: made of an hourly fact, because no window is stored for this time.
    """

    start_ms: int
    end_ms: int
    energy_uj: Mapping[str, int] = field(default_factory=dict)
    idle_uj: Mapping[str, int] = field(default_factory=dict)
    cpu_us: int = 0
    hourly: bool = False


def fill_gaps(windows: Sequence[PodWindow], hours: Sequence[PodWindow], first_ms: int, last_ms: int) -> list[PodWindow]:
    """The windows, and for each hour the energy that they lack, over the time of [first_ms, last_ms) that they lack.

    `hours` are the pod's hourly facts as windows of whole hours (or of the parts in which the ledger keeps them);
    [first_ms, last_ms) is the part of the pod's life that they cover. The energy of the result is that of the hours,
    where the windows do not have more. Where windows cover all of the time, what is missing is spread over the hour.
    """
    raise NotImplementedError
