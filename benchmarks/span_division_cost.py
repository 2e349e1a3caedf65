"""What dividing a pod's windows among its spans costs, by number of spans and windows; also of hostile spans."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show

from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_division import divide
from carbonbudget_operator.spans.span_emissions import PodHour, divide_emissions
from carbonbudget_operator.spans.span_record import Span

START = 1_764_000_000_000 // HOUR_MS * HOUR_MS
MINUTE = 60_000


def minutes(count: int) -> list[PodWindow]:
    """Minutes of a pod with a GPU; 10,080 are a week."""
    return [
        PodWindow(
            START + number * MINUTE,
            START + (number + 1) * MINUTE,
            {"cpu": 10_000_019 + number, "dram": 3_000_007, "gpu:0": 9_000_001},
            {"gpu:0": 1_000_003},
            30_000_000,
        )
        for number in range(count)
    ]


def training(count: int, length_ms: int) -> list[Span]:
    """Steps with counters inside epochs of ten inside one run, with gaps between the steps."""
    step_ms = length_ms // (count * 10 // 11)
    spans = [Span("run", "run", None, START, START + length_ms)]
    for number in range(count * 10 // 11):
        at = START + number * step_ms
        counters = (number * 10**6, number * 10**6 + 9 * 10**5)
        spans.append(Span(f"s{number}", "step", number, at + 1, at + step_ms * 9 // 10, counters, counters))
        if number % 10 == 0:
            spans.append(Span(f"e{number}", "epoch", number // 10, at, at + 10 * step_ms))
    return spans


def hostile(count: int, length_ms: int) -> list[Span]:
    """All overlap, some contain others, and their counters jump to and fro."""
    return [
        Span(
            f"s{number}",
            "x",
            None,
            START + number,
            START + length_ms - (number if number % 2 else -number),
            (number * 7919 % 10**6, 10**12 - number),
        )
        for number in range(count)
    ]


def short_inside_long(count: int, length_ms: int) -> list[Span]:
    """Short spans inside 63 that do not contain each other: each edge changes who owns the time."""
    long = [
        Span(f"l{number}", "x", None, START + number * 1000, START + length_ms - (63 - number) * 1000)
        for number in range(63)
    ]
    step_ms = (length_ms - 2 * 64_000) // count
    starts = [START + 64_000 + number * step_ms for number in range(count)]
    return long + [Span(f"s{at}", "x", None, at, at + step_ms // 2) for at in starts]


def measure(kind: str, windows: list[PodWindow], spans: list[Span]) -> Figures:
    """Divide energy and emissions; the sums are checked."""
    began = time.process_time()
    division = divide(windows, spans)
    energy_s = time.process_time() - began
    hours = [PodHour(at, (9**9, 7**9, 5**9), (9**9, 7**9, 5**9), 3**9, 1, 9**10, 5, 4, True) for at in division.hours]
    began = time.process_time()
    divide_emissions(hours, division)
    emissions_s = time.process_time() - began
    measured_uj = sum(sum(window.energy_uj.values()) + sum(window.idle_uj.values()) for window in windows)
    divided_uj = sum(span.energy_uj for span in division.spans.values()) + sum(division.rest_uj.values())
    if measured_uj != divided_uj:
        raise SystemExit(f"{measured_uj} microjoules were measured and {divided_uj} divided")
    return {
        "spans": f"{len(spans)} {kind}",
        "windows": len(windows),
        "energy_cpu_s": round(energy_s, 2),
        "emissions_cpu_s": round(emissions_s, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    given = arguments(__doc__ or "")
    sizes = (
        [(1_000, 1_440), (10_000, 10_080)] if given.quick else [(1_000, 1_440), (10_000, 10_080), (100_000, 100_800)]
    )
    rows = [measure("of a training", minutes(n), training(spans, n * MINUTE)) for spans, n in sizes]
    rows += [
        measure("hostile", minutes(10_080), hostile(count, 10_080 * MINUTE))
        for count in ((1_000, 10_000) if given.quick else (10_000, 100_000, 1_000_000))
    ]
    rows.append(measure("short inside long", minutes(10_080), short_inside_long(10_000, 10_080 * MINUTE)))
    show(rows, given.json)
