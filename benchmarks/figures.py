"""How a benchmark's figures are shown and kept: a table for people, JSON for whoever compares."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, float | int | str]


def arguments(text: str) -> argparse.Namespace:
    """`--quick` and `--json FILE`."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="smaller and shorter")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


def show(rows: list[Figures], file: Path | None) -> None:
    """Print the rows under their names, right-aligned."""
    names = list(rows[0])
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in names]
    for line in [names, *([str(row[name]) for name in names] for row in rows)]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if file is not None:
        file.write_text(json.dumps(rows, indent=2) + "\n")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, ended threads included, in nanoseconds' resolution.

    Its CPU clock's id is made as clock_getcpuclockid(3) makes it; /proc/<pid>/stat has 10 ms ticks only.
    """
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e9


def yardstick_ms() -> float:
    """CPU time of a fixed piece of Python: a shared machine's speed changes within the hour, so figures of two runs
    are compared beside it.
    """
    began = time.thread_time()
    for number in range(500):
        _ = {str(key): [key, number] for key in range(200)}
    return (time.thread_time() - began) * 1000


def web_environment() -> dict[str, str]:
    """The variables that the chart sets for the web page's container."""
    text = (_ROOT / "charts/carbonbudget/templates/web.yaml").read_text()
    found = dict(re.findall(r'- \{name: (\w+), value: "(\w+)"\}', text))
    assert found, "the chart's template is written in another way"
    return found


def rss_mib(pid: int) -> float:
    """Resident memory of a process now."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)
