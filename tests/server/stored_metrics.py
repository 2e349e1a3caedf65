"""A real Prometheus that has hours of history: samples are written as blocks before it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.prometheus import Prometheus, tool, until

Samples = Iterable[tuple[int, str]]


def open_metrics(series: Mapping[str, Mapping[str, Samples]]) -> str:
    """The text of samples by metric and labels (`{a="b"}`), as `promtool` reads it."""
    lines = []
    for metric, by_labels in series.items():
        lines.append(f"# TYPE {metric} unknown")
        for labels, samples in by_labels.items():
            lines += [f"{metric}{labels} {value} {at}" for at, value in samples]
    return "\n".join([*lines, "# EOF", ""])


def prometheus_with(directory: Path, series: Mapping[str, Mapping[str, Samples]]) -> Prometheus:
    """It has just these samples, and answers."""
    text = directory / "history.txt"
    text.write_text(open_metrics(series))
    subprocess.run(
        [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, directory / "data"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    started = Prometheus(directory, [])
    until("Prometheus to answer", lambda: started.ask("vector(1)"), 60)
    return started


def scraped(first: int, end: int) -> Mapping[str, Samples]:
    """`up`, each minute of [first, end)."""
    return {'{job="pods"}': [(at, "1") for at in range(first, end, 60)]}


def full_hour_ago(hours: int) -> int:
    """The start of an hour in the past, by the machine's clock."""
    return int(time.time()) // 3600 * 3600 - hours * 3600
