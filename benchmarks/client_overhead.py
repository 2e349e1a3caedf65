"""Cost of the client library: microseconds a span, milliseconds of import, memory.

Each figure is the median of processes of its own, with compiled modules, as pip installs them. The aims are 50 us a
span, 20 ms of import and 1 MB.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show, yardstick_ms

SPANS = 20_000
# Files that a container's own counter may be; here the machine's, which costs the same to read.
COUNTERS = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpuacct/cpuacct.usage")

IMPORT = """
import time
start, start_cpu = time.perf_counter(), time.process_time()
import carbonbudget
print((time.perf_counter() - start) * 1e3, (time.process_time() - start_cpu) * 1e3)
"""

NOBODY = "https://localhost:1"  # refuses at once; the modules for a server are there all the same

WARM = """
import carbonbudget as cb
with cb.track("first"): pass
cb.flush(5)
"""

# With a pause the thread writes as in a training; without one all spans come at once and it takes its share.
SPAN = f"""
import carbonbudget as cb, sys, time
from carbonbudget.cpu_counter import CpuCounter
from carbonbudget.tracking_session import SESSION
with cb.track("first"): pass
cb.flush(5)
pause = float(sys.argv[1])
SESSION.read_cpu_us = CpuCounter(sys.argv[2] or None).read_us
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
import os, sys
import bisect, csv, email.utils, http.client, importlib, io, json, logging, pathlib, random, re, resource, ssl
import threading, tracemalloc
thread = threading.Thread(target=list); thread.start(); thread.join()
def dirty_kb():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
traced, server = sys.argv[1] == "traced", sys.argv[2]
if server:
    os.environ["CARBONBUDGET_SERVER_URL"] = server
if traced:
    tracemalloc.start()
before = dirty_kb()
import carbonbudget as cb
for step in range(100):
    with cb.track("step", step): pass
cb.flush(5)
print(tracemalloc.get_traced_memory()[0] / 1024 if traced else dirty_kb() - before)
"""


def run(runs: int, code: str, *arguments: str) -> list[float]:
    """Medians of what the code prints."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CARBONBUDGET_")}
        environment["CARBONBUDGET_LOG"] = str(Path(folder, "spans.jsonl"))
        # Modules that are compiled anew in each process would cost time and memory that no installed package costs.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder, "compiled"))
        subprocess.run([sys.executable, "-c", WARM], env=environment, check=True)
        lines = [
            subprocess.run(
                [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
            ).stdout.split()
            for _ in range(runs)
        ]
    return [round(statistics.median(float(line[column]) for line in lines), 2) for column in range(len(lines[0]))]


def main() -> None:
    """All figures."""
    given = arguments(__doc__ or "")
    runs = 3 if given.quick else 9
    rows: list[Figures] = []

    def add(what: str, unit: str, values: list[float], names: tuple[str, ...]) -> None:
        rows.extend(
            {"what": f"{what}, {name}", "unit": unit, "figure": value}
            for name, value in zip(names, values, strict=True)
        )

    add("import", "ms", run(runs, IMPORT), ("on the clock", "of CPU time"))
    for counter in ("", *filter(os.path.exists, COUNTERS)):
        of = os.path.basename(counter) or "process"
        for pause, pace in (("0", "in a tight loop"), ("0.002", "500 a second")):
            add(f"span {pace}, CPU of {of}", "us", run(runs, SPAN, pause, counter), ("mean", "median", "99 %"))
    add("memory", "KB", run(runs, MEMORY, "traced", ""), ("objects and code",))
    add("memory", "KB", run(runs, MEMORY, "dirty", ""), ("pages, with the thread's stack",))
    add("memory", "KB", run(runs, MEMORY, "dirty", NOBODY), ("the same with a server's address",))
    add("this machine", "", [os.getloadavg()[0], round(yardstick_ms(), 1)], ("load", "yardstick in ms"))
    show(rows, given.json)


if __name__ == "__main__":
    main()
