"""A real Prometheus of Debian's, for tests of what is exported."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ENDS_WITH_US


def tool(name: str) -> str:
    """A program of Debian's package prometheus."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing and CI=true allows no skip: hack/test-packages installs it")
    return found or pytest.skip(f"{name} is missing: hack/test-packages installs it")


def until(what: str, ask: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """It scrapes every second, as `scrape_configs` of its configuration say."""

    def __init__(self, directory: Path, scrape_configs: Sequence[dict[str, object]]) -> None:
        self.port = free_port()
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": list(scrape_configs)}
        (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self.process = subprocess.Popen(
            [
                *ENDS_WITH_US, tool("prometheus"), f"--config.file={directory}/prometheus.yml", "--log.level=error",
                f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            ]
        )  # fmt: skip

    def ask(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query; empty until it answers."""
        fields = {"query": query} | ({} if at is None else {"time": f"{at:.3f}"})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except OSError:
            return []

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
