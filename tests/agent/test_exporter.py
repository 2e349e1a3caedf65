"""The node's own metrics: what Prometheus adds up of them is what the reports say."""

from __future__ import annotations

import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.prometheus import Prometheus, free_port, tool, until

from carbonbudget_agent import metrics_listener
from carbonbudget_agent.exporter import Exporter
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import DomainUse, NodeReport, PodUsage


class Hands:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_report(start: int, pods: dict[str, int], system_uj: int = 0) -> NodeReport:
    """One window; pods' energy in microjoules by name."""
    usages = tuple(
        PodUsage(f"uid-{name}", "team", name, energy_uj={"cpu": uj} if uj else {}) for name, uj in pods.items()
    )
    domain = DomainUse("cpu", "rapl", "package", 60_000, sum(pods.values()) + system_uj, 0, system_uj, 0)
    return NodeReport("default", "node-1", "boot", start, start + 60, (domain,), usages)


def text(exporter: Exporter) -> str:
    registry = CollectorRegistry()
    registry.register(exporter)
    return generate_latest(registry).decode()


def joules(exporter: Exporter) -> dict[str, float]:
    """Of each pod that is shown."""
    lines = [line for line in text(exporter).splitlines() if line.startswith("carbonbudget_pod_energy_joules_total{")]
    return {line.split('pod="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}


def test_a_new_series_stands_at_zero_for_a_minute_then_at_the_sum_of_its_reports() -> None:
    hands = Hands()
    exporter = Exporter(WorkCounters(), None, hands)
    exporter.add(a_report(0, {"a": 1_500_000}))
    assert joules(exporter) == {"a": 0}
    hands.seconds = 59.9
    exporter.add(a_report(60, {"a": 500_000}))
    assert joules(exporter) == {"a": 0}
    hands.seconds = 60
    assert joules(exporter) == {"a": 2}


def test_a_pod_that_ended_is_shown_for_ten_minutes_and_one_that_lives_without_use_for_ever() -> None:
    hands = Hands()
    exporter = Exporter(WorkCounters(), None, hands)
    exporter.add(a_report(0, {"ended": 5, "idle": 5}))
    for minute in range(1, 11):
        hands.seconds = minute * 60
        assert joules(exporter).keys() == {"ended", "idle"}
        exporter.add(a_report(minute * 60, {"idle": 0}))
    assert joules(exporter).keys() == {"idle"}


def test_beyond_the_limit_those_that_ended_first_go_first_and_are_counted() -> None:
    hands = Hands()
    exporter = Exporter(WorkCounters(), None, hands, max_pods=100)
    for minute in range(30):
        hands.seconds = minute * 10
        exporter.add(a_report(minute * 60, {f"pod-{minute}-{n}": 1_000_000 for n in range(20)}))
    shown = joules(exporter)
    assert shown.keys() == {f"pod-{minute}-{n}" for minute in range(25, 30) for n in range(20)}
    assert "carbonbudget_agent_pod_series_left_out_total 500.0" in text(exporter)
    hands.seconds += 60
    assert 'carbonbudget_node_energy_joules_total{domain="cpu",method="rapl",part="pods"} 600.0' in text(exporter)


def test_promtool_finds_nothing_to_mend(tmp_path: Path) -> None:
    hands, counts = Hands(), WorkCounters()
    exporter = Exporter(counts, Outbox(tmp_path, counts), hands)
    counts.refused[503] += 1
    exporter.add(a_report(0, {"a": 1}))
    hands.seconds = 100
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text(exporter), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[Exporter, Hands, Prometheus]]:
    """An exporter that a real Prometheus scrapes."""
    tool("prometheus")
    hands, port = Hands(), free_port()
    exporter = Exporter(WorkCounters(), None, hands)
    stop = exporter.serve("127.0.0.1", port)
    prometheus = Prometheus(tmp_path, [{"job_name": "agent", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}])
    yield exporter, hands, prometheus
    prometheus.stop()
    stop()


def test_what_prometheus_adds_up_of_a_pod_is_what_its_reports_say(
    scraped: tuple[Exporter, Hands, Prometheus],
) -> None:
    """A pod that lived for one window only, and one that lives on.

    increase() extrapolates to the ends of its range, except to a first sample of 0, and not at all if it is
    asked at the moment of the last sample: so that is when it is asked here.
    """
    exporter, hands, prometheus = scraped
    metric = 'carbonbudget_pod_energy_joules_total{pod="%s"}'
    exporter.add(a_report(0, {"short": 3_500_000, "long": 1_000_000}))
    until("the zeros", lambda: len(prometheus.ask("carbonbudget_pod_energy_joules_total == 0")) == 2)
    hands.seconds = 60
    exporter.add(a_report(60, {"long": 2_250_000}))
    until("the sums", lambda: prometheus.ask(f"{metric % 'long'} == 3.25"))
    for pod, expected in {"short": 3.5, "long": 3.25}.items():
        ((at, _), *_) = [result["value"] for result in prometheus.ask(f"timestamp({metric % pod})")]
        ((_, last), *_) = [result["value"] for result in prometheus.ask(f"timestamp({metric % pod})", at)]
        ((_, increase), *_) = [r["value"] for r in prometheus.ask(f"increase({metric % pod}[5m])", float(last))]
        assert float(increase) == pytest.approx(expected, abs=1e-9)


def test_who_asks_in_halves_takes_no_thread_for_ever_and_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_listener._MetricsRequest, "timeout", 3.0)
    port = free_port()
    stop = Exporter(WorkCounters(), None).serve("127.0.0.1", port)
    before = threading.active_count()
    halves = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    try:
        for half in halves:
            half.sendall(b"GET /metrics HT")
        until("those beyond the bound to be cut", lambda: sum(map(is_cut, halves)) >= 30 - 8)
        assert threading.active_count() - before <= 8
        until("the others to be cut", lambda: all(map(is_cut, halves)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"carbonbudget_agent_windows_total" in answer.read()
    finally:
        for half in halves:
            half.close()
        stop()


def is_cut(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
