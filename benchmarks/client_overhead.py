"""Cost of the client library: microseconds a span, milliseconds of import, memory.

    .venv/bin/python benchmarks/client_overhead.py

Each figure is the median of processes of its own. The aims are 50 us a span, 20 ms of import and 1 MB.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 5
SPANS = 20_000

IMPORT = """
import time
start, start_cpu = time.perf_counter(), time.process_time()
import carbonbudget
print((time.perf_counter() - start) * 1e3, (time.process_time() - start_cpu) * 1e3)
"""

# `pause` lets the thread write as in a training; without it all spans come at once and the thread takes its share.
SPAN = f"""
import carbonbudget as cb, time, sys
with cb.track("first"): pass
cb.flush(5)
pause = float(sys.argv[1])
times = []
for step in range({SPANS} if not pause else 300):
    start = time.perf_counter_ns()
    with cb.track("step", step):
        pass
    times.append(time.perf_counter_ns() - start)
    if pause: time.sleep(pause)
times.sort()
print(sum(times) / len(times) / 1e3, times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3)
"""

# What numpy, torch or requests import as well is there before; it is not the library's.
MEMORY = """
import sys
import bisect, csv, email.utils, http.client, importlib, io, json, logging, pathlib, random, re, resource, ssl
import threading, tracemalloc
thread = threading.Thread(target=list); thread.start(); thread.join()
def dirty_kb():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
traced = sys.argv[1] == "traced"
if traced:
    tracemalloc.start()
before = dirty_kb()
import carbonbudget as cb
for step in range(100):
    with cb.track("step", step): pass
cb.flush(5)
print(tracemalloc.get_traced_memory()[0] / 1024 if traced else dirty_kb() - before)
"""


def run(code: str, *arguments: str) -> list[float]:
    """Medians of what the code prints."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CARBONBUDGET_LOG": str(Path(folder, "spans.jsonl")), "PYTHONPATH": "client"}
        environment.pop("CARBONBUDGET_SERVER_URL", None)
        lines = [
            subprocess.run(
                [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
            ).stdout.split()
            for _ in range(RUNS)
        ]
    return [round(statistics.median(float(line[column]) for line in lines), 2) for column in range(len(lines[0]))]


def main() -> None:
    """Print the figures as JSON."""
    import_ms, import_cpu_ms = run(IMPORT)
    mean_us, median_us, late_us = run(SPAN, "0")
    paced_mean_us, paced_median_us, paced_late_us = run(SPAN, "0.002")
    [objects_kb], [dirty_kb] = run(MEMORY, "traced"), run(MEMORY, "dirty")
    figures = {
        "load": os.getloadavg()[0],
        "import_ms": {"wall": import_ms, "cpu": import_cpu_ms},
        "span_us": {"mean": mean_us, "median": median_us, "p99": late_us},
        "span_us_500_a_second": {"mean": paced_mean_us, "median": paced_median_us, "p99": paced_late_us},
        "memory_kb": {"objects_and_code": objects_kb, "private_dirty": dirty_kb},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
