"""The energy of a pod's windows in the segments between the edges of its spans. Pure, and exact to the microjoule.

A window that edges cut is divided among its pieces. Dynamic energy goes by the growth of the pod's own counter in each
piece: CPU time, and energy for GPUs. Idle energy goes by time. What the counters cannot decide goes by time too. The
counters are claims of the pod: they only divide what was measured.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.spans.counter_curve import PodCurves
from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow, is_gpu
from carbonbudget_operator.spans.span_record import Span

# Claims above this multiple of what was measured are of another counter than the pod's, so they decide nothing.
_MOST_CLAIMED: Final = 2


class Segments:
    """Consecutive segments [edges[i], edges[i + 1]), with what lies in each: energy by domain, time, how it was cut.

    The edges are those of spans that are neither empty nor reversed, and the whole hours around the windows.
    """

    def __init__(self, windows: Sequence[PodWindow], spans: Sequence[Span], curves: PodCurves) -> None:
        edges = {edge for span in spans if span.start_ms < span.end_ms for edge in (span.start_ms, span.end_ms)}
        self.hours = sorted({hour for window in windows for hour in _hours(window)})
        edges.update(self.hours, (hour + HOUR_MS for hour in self.hours))
        self.edges = sorted(edges)
        self.count = max(0, len(self.edges) - 1)
        self.energy_uj: dict[str, list[int]] = {
            domain: [0] * self.count
            for domain in sorted({domain for window in windows for domain in (*window.energy_uj, *window.idle_uj)})
        }
        self.time_ms = [0] * self.count
        self.hourly = bytearray(self.count)
        self.weighted = bytearray(self.count)
        self.by_time = bytearray(self.count)
        self._curves = curves
        for window in windows:
            self._add(window)

    def index(self, at_ms: int) -> int:
        """The segment that starts at an instant, else the first one after it; `count` if there is none."""
        return min(bisect_left(self.edges, at_ms), self.count)

    def total_uj(self) -> list[int]:
        """The energy of all domains in each segment."""
        return [sum(parts) for parts in zip(*self.energy_uj.values(), strict=True)] or [0] * self.count

    def _add(self, window: PodWindow) -> None:
        first = bisect_right(self.edges, window.start_ms) - 1
        last = max(first, bisect_left(self.edges, window.end_ms) - 1)
        if window.hourly:
            self.hourly[first : last + 1] = b"\1" * (last + 1 - first)
        if first == last:
            self.time_ms[first] += max(0, window.end_ms - window.start_ms)
            for parts in (window.energy_uj, window.idle_uj):
                for domain, energy_uj in parts.items():
                    self.energy_uj[domain][first] += energy_uj
            return
        cuts = [window.start_ms, *self.edges[first + 1 : last + 1], window.end_ms]
        times = [end - start for start, end in pairwise(cuts)]
        for index, time_ms in enumerate(times, start=first):
            self.time_ms[index] += time_ms
        cpu, gpu = self._cpu_weights(window, cuts, times), self._gpu_weights(window, cuts, times)
        for domain, energy_uj in window.energy_uj.items():
            weights = gpu if is_gpu(domain) else cpu
            self._share(domain, first, energy_uj, weights or times)
            if energy_uj:
                flags = self.by_time if weights is None else self.weighted
                flags[first : last + 1] = b"\1" * (last + 1 - first)
        for domain, idle_uj in window.idle_uj.items():
            self._share(domain, first, idle_uj, times)

    def _share(self, domain: str, first: int, energy_uj: int, weights: Sequence[int]) -> None:
        if energy_uj:
            into = self.energy_uj[domain]
            for index, part_uj in enumerate(share_list(energy_uj, weights), start=first):
                into[index] += part_uj

    def _cpu_weights(self, window: PodWindow, cuts: Sequence[int], times: Sequence[int]) -> list[int] | None:
        claims = [self._curves.cpu.growth(start, end) for start, end in pairwise(cuts)]
        return _weights(claims, window.cpu_us, times)

    def _gpu_weights(self, window: PodWindow, cuts: Sequence[int], times: Sequence[int]) -> list[int] | None:
        """A GPU's counter has its idle energy too, so that is taken off: it is divided by time."""
        idle_uj = sum(energy_uj for domain, energy_uj in window.idle_uj.items() if is_gpu(domain))
        dynamic_uj = sum(energy_uj for domain, energy_uj in window.energy_uj.items() if is_gpu(domain))
        if not dynamic_uj:
            return None
        claims = [self._curves.gpu.growth(start, end) for start, end in pairwise(cuts)]
        if sum(claim or 0 for claim in claims) > _MOST_CLAIMED * (dynamic_uj + idle_uj):
            return None
        idle = share_list(idle_uj, times)
        above = [None if claim is None else max(0, claim - part) for claim, part in zip(claims, idle, strict=True)]
        return _weights(above, dynamic_uj, times)


def _weights(claims: Sequence[int | None], measured: int, times: Sequence[int]) -> list[int] | None:
    """Weights of the pieces: their claims; those without one share by time what the others leave of the measured.

    None where time decides: no claim, nothing claimed and nothing left, or far more claimed than measured.
    """
    known = sum(claim for claim in claims if claim is not None)
    if all(claim is None for claim in claims) or known > _MOST_CLAIMED * measured:
        return None
    unknown_ms = sum(time_ms for claim, time_ms in zip(claims, times, strict=True) if claim is None)
    left, scale = max(0, measured - known), unknown_ms or 1
    weights = [left * time_ms if claim is None else claim * scale for claim, time_ms in zip(claims, times, strict=True)]
    return weights if any(weights) else None


def _hours(window: PodWindow) -> Iterable[int]:
    """The whole hours that a window touches."""
    last_ms = max(window.start_ms, window.end_ms - 1)
    return range(window.start_ms - window.start_ms % HOUR_MS, last_ms + 1, HOUR_MS)


def sums_before(values: Iterable[int]) -> list[int]:
    """The sum of the values before each index, and of all of them at the end."""
    return list(accumulate(values, initial=0))
