"""Windows and spans of one pod, as they may be and as they should never be."""

from __future__ import annotations

from hypothesis import strategies as st

from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_division import Division
from carbonbudget_operator.spans.span_record import Span

NOON = 1_764_000_000_000 // HOUR_MS * HOUR_MS
MINUTE = 60_000
DOMAINS = ("cpu", "dram", "gpu:GPU-1", "gpu:GPU-2")
amounts = st.integers(0, 10**9)
energies = st.dictionaries(st.sampled_from(DOMAINS), amounts, max_size=4)
# Few instants, so that spans often start and end together; some off the grid of windows.
instants = st.integers(-20, 140).map(lambda n: NOON + n * 30_000) | st.integers(NOON - HOUR_MS, NOON + 2 * HOUR_MS)
counters = st.none() | st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)) | st.tuples(amounts, amounts)


@st.composite
def window_lists(draw: st.DrawFn) -> list[PodWindow]:
    """Minutes of two hours with gaps between them; now and then a longer window."""
    found, at = [], NOON
    for length, gap in draw(st.lists(st.tuples(st.sampled_from((1, 1, 1, 5, 70)), st.integers(0, 3)), max_size=12)):
        start = at + gap * MINUTE
        at = start + length * MINUTE
        found.append(
            PodWindow(start, at, draw(energies), draw(energies), draw(st.integers(0, 10**8)), draw(st.booleans()))
        )
    return found


@st.composite
def span_lists(draw: st.DrawFn, max_size: int = 12) -> list[Span]:
    """Spans that nest, overlap, are equal, empty or reversed, with counters of any kind."""
    bounds = draw(st.lists(st.tuples(instants, instants, counters, counters), max_size=max_size))
    return [
        Span(f"s{number}", "step", number, start, end, cpu_us, gpu_uj)
        for number, (start, end, cpu_us, gpu_uj) in enumerate(bounds)
    ]


def energy_of(windows: list[PodWindow]) -> dict[str, int]:
    """What the windows measured, by domain."""
    found: dict[str, int] = {}
    for window in windows:
        for parts in (window.energy_uj, window.idle_uj):
            for domain, energy_uj in parts.items():
                found[domain] = found.get(domain, 0) + energy_uj
    return found


def divided_energy(division: Division) -> dict[str, int]:
    """What the spans own and the rest, by domain."""
    found = dict(division.rest_uj)
    for span in division.spans.values():
        for domain, energy_uj in span.exclusive_uj.items():
            found[domain] += energy_uj
    return found


def span(span_id: str, start_s: float, end_s: float, cpu: tuple[int, int] | None = None) -> Span:
    """A span by seconds after noon, with readings in seconds of CPU."""
    cpu_us = None if cpu is None else (cpu[0] * 10**6, cpu[1] * 10**6)
    return Span(span_id, "step", None, NOON + round(start_s * 1000), NOON + round(end_s * 1000), cpu_us)


def minute(number: int, joules: int, cpu_s: int = 0, idle: int = 0) -> PodWindow:
    """The window of a minute after noon, with joules of the CPU, its seconds, and held idle joules."""
    start = NOON + number * MINUTE
    return PodWindow(start, start + MINUTE, {"cpu": joules * 10**6}, {"cpu": idle * 10**6}, cpu_s * 10**6)
