"""Real receivers of exports, each started with a temporary folder, by default on loopback, and ended with the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ENDS_WITH_US
from tests.prometheus import free_port, until


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing and CI=true allows no skip: hack/test-packages installs it")
    return found or pytest.skip(f"{name} is missing: hack/test-packages installs it")


class Receiver:
    """A database under test."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.address = f"{host}:{free_port()}"
        self.url = f"http://{self.address}"
        self.start()

    def command(self) -> list[str]:
        raise NotImplementedError

    health = "/health"

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([*ENDS_WITH_US, *self.command()], stdout=log, stderr=log)
        until(f"{self.command()[0]} to answer", self.answers)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.health, timeout=2):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def get(self, path: str, **fields: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(fields)}", timeout=10) as answer:
            return json.load(answer)


class InfluxServer(Receiver):
    """InfluxDB 1.6.7 of Debian's, with the database `cb`."""

    health = "/ping"

    def command(self) -> list[str]:
        folder = self.directory
        (folder / "influx.conf").write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f'[http]\nbind-address = "{self.address}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
        )
        return [program("influxd"), "-config", str(folder / "influx.conf")]

    def start(self) -> None:
        super().start()
        self.ask("CREATE DATABASE cb", "")

    def ask(self, query: str, database: str = "cb") -> list[dict[str, Any]]:
        """The rows of all series of the answer."""
        data = urllib.parse.urlencode({"q": query, "db": database, "epoch": "s"}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/query", data), timeout=30) as answer:
            (result,) = json.load(answer)["results"]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], values, strict=True)) | series.get("tags", {})
            for series in result.get("series", ())
            for values in series["values"]
        ]


class VictoriaMetrics(Receiver):
    """VictoriaMetrics 1.79 of Debian's: InfluxDB's v2 address and remote write."""

    def command(self) -> list[str]:
        return [
            program("victoria-metrics"), f"-httpListenAddr={self.address}",
            f"-storageDataPath={self.directory}/data", "-retentionPeriod=10y", "-search.latencyOffset=0s",
            "-search.cacheTimestampOffset=100000h", "-search.disableCache",
        ]  # fmt: skip

    def samples(self, match: str) -> list[dict[str, Any]]:
        """Every stored sample of the series: metric, values, timestamps in ms."""
        self.get_text("/internal/force_flush")
        text = self.get_text("/api/v1/export", **{"match[]": match})
        return [json.loads(line) for line in text.split("\n") if line]

    def get_text(self, path: str, **fields: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(fields)}", timeout=10) as answer:
            return str(answer.read().decode())


class PrometheusReceiver(Receiver):
    """Prometheus 2.42 of Debian's, that takes remote write, also of the past."""

    health = "/-/ready"
    window = "90d"

    def command(self) -> list[str]:
        config = {"storage": {"tsdb": {"out_of_order_time_window": self.window}}}
        (self.directory / "prometheus.yml").write_text(json.dumps(config))
        return [
            program("prometheus"), f"--config.file={self.directory}/prometheus.yml", "--log.level=warn",
            f"--storage.tsdb.path={self.directory}/data", f"--web.listen-address={self.address}",
            "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=10y",
        ]  # fmt: skip

    def ask(self, query: str, at: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=query, time=str(at))["data"]["result"]
        return found
