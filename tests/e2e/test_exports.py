"""The installed server exports: InfluxDB and Prometheus on the node's address have the sums of `carbonbudget allocate`.

A new cluster has no closed hour before an hour and a quarter have passed. So hours of a month ago are booked into the
server's ledger while it is stopped, with the reports' own booking; all that follows is the server's.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Release, wait_for
from tests.exports.exporting import HOUR, by_workload, fill, full_hour_ago
from tests.exports.receivers import InfluxServer, PrometheusReceiver

from carbonbudget_operator.ledger.ledger_engine import open_ledger

pytestmark = pytest.mark.cluster

HOURS = 2
SERVER = "carbonbudget-server"
CONFIG = ("--config", "/etc/carbonbudget/config/config.yaml", "-o", "json")
Sums = dict[tuple[str, str], Any]


@pytest.fixture
def receivers(release: Release, tmp_path: Path) -> Iterator[tuple[InfluxServer, PrometheusReceiver]]:
    """Both, where pods of the node can reach them."""
    internal = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    node = release.cluster.kubectl("get", "nodes", "-o", internal).stdout
    for name in ("influx", "prometheus"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        influx = InfluxServer(tmp_path / "influx", node)
        stack.callback(influx.stop)
        prometheus = PrometheusReceiver(tmp_path / "prometheus", node)
        stack.callback(prometheus.stop)
        yield influx, prometheus


def allocated(release: Release, start: int, figure: str) -> Sums:
    """A figure of one hour by namespace and workload, as the command in the server's pod prints it."""
    span = (f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (start, start + HOUR))
    asked = ("allocate", *CONFIG, "--from", next(span), "--to", next(span), "--group-by", "namespace,workload")
    rows = json.loads(release.carbonbudget(*asked).stdout)["rows"]
    return {(row["key"]["namespace"], row["key"]["workload"]): row[figure] for row in rows if row[figure]}


def of_influx(influx: InfluxServer, measurement: str, value: str, start: int, more: str = "") -> Sums:
    rows = influx.ask(f"SELECT * FROM {measurement} WHERE time = {start}s {more}")
    return {key: figure for key, figure in by_workload(rows, value).items() if figure}


def of_prometheus(prometheus: PrometheusReceiver, selector: str, end: int) -> Sums:
    found = prometheus.ask(f"sum by (namespace, workload) ({selector})", end)
    keys = ((one["metric"]["namespace"], one["metric"].get("workload")) for one in found)
    return {
        (namespace, workload or namespace): float(one["value"][1])
        for (namespace, workload), one in zip(keys, found, strict=True)
    }


def test_receivers_outside_the_cluster_have_the_sums_of_allocate_to_their_last_digit(
    release: Release, receivers: tuple[InfluxServer, PrometheusReceiver]
) -> None:
    influx, prometheus = receivers
    first = full_hour_ago(33 * 24)  # the last two days before hours are sealed: nobody else asks about them
    hours = [first + n * HOUR for n in range(HOURS)]
    targets = [
        {"name": "history", "kind": "influx", "url": influx.url, "database": "cb"},
        {"name": "metrics", "kind": "remoteWrite", "url": f"{prometheus.url}/api/v1/write"},
    ]
    try:
        release.scale(0, SERVER)
        engine = open_ledger(f"sqlite:///{release.volumes}/ledger/ledger.db")
        fill(engine, first, HOURS, node="node-of-exports", namespace="exported")
        engine.dispose()
        release.helm("--set-json", f"exports={json.dumps(targets)}")
        release.scale(None, SERVER)
        for hour in hours:
            energy = allocated(release, hour, "energy_uj")
            assert {key for key in energy if key[0] == "exported"} >= {("exported", "Pod/p"), ("exported", "Pod/q")}
            wait_for(
                "the hour in InfluxDB",
                lambda hour=hour: of_influx(influx, "carbonbudget_energy", "microjoules", hour),
            )
            assert of_influx(influx, "carbonbudget_energy", "microjoules", hour) == energy
            wait_for(
                "the hour in Prometheus",
                lambda hour=hour: prometheus.ask("carbonbudget_hour_revision", hour + HOUR),
            )
            kwh = of_prometheus(prometheus, "carbonbudget_energy_kwh", hour + HOUR)
            assert kwh == pytest.approx({key: uj / 3.6e12 for key, uj in energy.items()}, rel=1e-15)
            for accounting, figure in (
                ("LocationBased", "location_ug"), ("MarketBased", "market_ug"), ("Embodied", "embodied_ug"),
            ):  # fmt: skip
                own = allocated(release, hour, figure)
                named = f"AND accounting = '{accounting}'"
                assert of_influx(influx, "carbonbudget_emissions", "micrograms", hour, named) == own
                selector = f'carbonbudget_emissions_grams{{accounting="{accounting}"}}'
                grams = of_prometheus(prometheus, selector, hour + HOUR)
                assert grams == pytest.approx({key: ug / 1_000_000 for key, ug in own.items()}, rel=1e-15)
    finally:
        release.helm()
        release.scale(None, SERVER)
