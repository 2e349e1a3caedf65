"""The measured windows of one pod, and windows made of its hourly facts where none are stored."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from carbonbudget_core.exact_division import share_list

HOUR_MS: Final = 3_600_000
_GPU: Final = "gpu"  # a GPU's domain starts so


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


def is_gpu(domain: str) -> bool:
    """Whether a domain of energy is a GPU."""
    return domain.startswith(_GPU)


def fill_gaps(windows: Sequence[PodWindow], hours: Sequence[PodWindow], first_ms: int, last_ms: int) -> list[PodWindow]:
    """The windows, and for each hour the energy that they lack, over the time of [first_ms, last_ms) that they lack.

    `hours` are the pod's hourly facts as windows of whole hours (or of the parts in which the ledger keeps them);
    [first_ms, last_ms) is the part of the pod's life that they cover. No windows overlap, nor do hours. The energy of
    the result is that of the hours, where the windows do not have more. Where windows cover all of the time, they are
    raised by what they lack.
    """
    found = sorted(windows, key=lambda window: (window.start_ms, window.end_ms))
    starts = [window.start_ms for window in found]
    added: list[PodWindow] = []
    for hour in sorted(hours, key=lambda hour: hour.start_ms):
        first = max(0, bisect_left(starts, hour.start_ms) - 1)
        last = bisect_left(starts, hour.end_ms)
        inside = [window for window in found[first:last] if window.end_ms > hour.start_ms]
        lacking = _lacking(hour, inside)
        if not any((lacking.cpu_us, *lacking.energy_uj.values(), *lacking.idle_uj.values())):
            continue
        gaps = _gaps(max(hour.start_ms, first_ms), min(hour.end_ms, last_ms), inside)
        at = [index for index in range(first, last) if starts[index] >= hour.start_ms]
        if gaps or not at:
            gaps = gaps or [(hour.start_ms, hour.end_ms)]
            parts = _divided(lacking, [end - start for start, end in gaps])
            added += [
                replace(part, start_ms=start, end_ms=end, hourly=True)
                for part, (start, end) in zip(parts, gaps, strict=True)
            ]
            continue
        weights = [sum(found[index].energy_uj.values()) + sum(found[index].idle_uj.values()) for index in at]
        parts = _divided(lacking, weights if any(weights) else [1] * len(at))
        for index, part in zip(at, parts, strict=True):
            found[index] = _sum(found[index], part)
    return sorted((*found, *added), key=lambda window: (window.start_ms, window.end_ms))


def _lacking(hour: PodWindow, windows: Sequence[PodWindow]) -> PodWindow:
    """What the hour has above the parts of the windows inside it."""
    energy_uj, idle_uj, cpu_us = dict(hour.energy_uj), dict(hour.idle_uj), hour.cpu_us
    for window in windows:
        for left, given in ((energy_uj, window.energy_uj), (idle_uj, window.idle_uj)):
            for domain, amount_uj in given.items():
                if domain in left:
                    left[domain] -= _inside(amount_uj, window, hour)
        cpu_us -= _inside(window.cpu_us, window, hour)
    return PodWindow(
        hour.start_ms,
        hour.end_ms,
        {domain: max(0, amount_uj) for domain, amount_uj in energy_uj.items()},
        {domain: max(0, amount_uj) for domain, amount_uj in idle_uj.items()},
        max(0, cpu_us),
    )


def _inside(amount: int, window: PodWindow, hour: PodWindow) -> int:
    """The part of a window's amount that lies in the hour, by time; parts of consecutive hours add up to it."""
    length_ms = window.end_ms - window.start_ms
    first_ms = max(window.start_ms, hour.start_ms) - window.start_ms
    last_ms = min(window.end_ms, hour.end_ms) - window.start_ms
    return amount * last_ms // length_ms - amount * first_ms // length_ms


def _gaps(start_ms: int, end_ms: int, windows: Sequence[PodWindow]) -> list[tuple[int, int]]:
    """The parts of [start_ms, end_ms) that no window has; the windows are in order."""
    found = []
    for window in windows:
        if start_ms < min(window.start_ms, end_ms):
            found.append((start_ms, min(window.start_ms, end_ms)))
        start_ms = max(start_ms, window.end_ms)
    if start_ms < end_ms:
        found.append((start_ms, end_ms))
    return found


def _divided(window: PodWindow, weights: Sequence[int]) -> list[PodWindow]:
    """A window's amounts divided by the weights, each exactly."""
    energies = {domain: share_list(amount_uj, weights) for domain, amount_uj in window.energy_uj.items()}
    idles = {domain: share_list(amount_uj, weights) for domain, amount_uj in window.idle_uj.items()}
    return [
        PodWindow(
            window.start_ms,
            window.end_ms,
            {domain: parts[index] for domain, parts in energies.items()},
            {domain: parts[index] for domain, parts in idles.items()},
            cpu_us,
        )
        for index, cpu_us in enumerate(share_list(window.cpu_us, weights))
    ]


def _sum(window: PodWindow, other: PodWindow) -> PodWindow:
    return replace(
        window,
        energy_uj=dict(Counter(window.energy_uj) + Counter(other.energy_uj)),
        idle_uj=dict(Counter(window.idle_uj) + Counter(other.idle_uj)),
        cpu_us=window.cpu_us + other.cpu_us,
    )
