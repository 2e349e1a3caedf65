"""The liveness probe: an agent whose loop hangs is found, and one that is slow, blocked or without a disk is not."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Iterator

import pytest
from tests.agent.node import UID_A, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent
from tests.prometheus import free_port, until

from carbonbudget_agent.exporter import Exporter
from carbonbudget_agent.liveness import Liveness
from carbonbudget_agent.meters import Counters, DomainEnergy, MeterReading
from carbonbudget_agent.run import _loop
from carbonbudget_agent.work_counters import WorkCounters


def test_without_a_sample_for_five_minutes_the_agent_is_not_alive_and_with_the_next_it_is(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    alive = Liveness(agent.counts, clock, 60)
    agent.tick(30)
    clock.go(300)
    assert alive()
    clock.go(1)
    assert not alive()
    agent.tick(0)
    assert alive()


@pytest.mark.parametrize("window_seconds", [10, 60])
def test_short_windows_make_it_no_less_patient(window_seconds: int) -> None:
    clock = FakeClock(START)
    alive = Liveness(WorkCounters(), clock, window_seconds)
    clock.go(300)
    assert alive()


def test_the_time_before_the_first_sample_counts_from_the_start() -> None:
    clock = FakeClock(START)
    clock.go(10_000)  # the machine has run for hours
    alive = Liveness(WorkCounters(), clock, 60)
    assert alive()
    clock.go(301)
    assert not alive()


def test_a_wall_clock_that_is_set_changes_nothing(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    alive = Liveness(agent.counts, clock, 60)
    for step in (-7_200_000, 7_200_000, 86_400_000):
        clock.wall += step
        assert alive()
        agent.tick(5)
        assert alive()


def test_a_full_disk_is_no_hang(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    clock = FakeClock(START)
    agent = Agent(node, clock)
    alive = Liveness(agent.counts, clock, 60)
    monkeypatch.setattr("carbonbudget_agent.outbox.os.replace", full)
    for _ in range(20):
        node.burn(1_000_000, UID_A)
        agent.tick(30)
        assert alive()
    assert agent.counts.checkpoint_errors > 0


class Wedged:
    """A meter whose driver does not come back from the second reading until it is let go."""

    name = "wedged"

    def __init__(self) -> None:
        self.readings, self.hangs, self.let_go = 0, threading.Event(), threading.Event()

    def read(self, busy_us: int) -> MeterReading:
        self.readings += 1
        if self.readings > 1:
            self.hangs.set()
            self.let_go.wait(60)
        return MeterReading({})

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        return ()


@pytest.fixture
def wedged(node: FakeNode) -> Iterator[tuple[FakeClock, str]]:
    """An agent in its loop whose meter hangs, with its listener; the clock that the listener goes by."""
    clock, meter, port = FakeClock(START), Wedged(), free_port()
    agent = Agent(node, clock, meter)
    stop = Exporter(agent.counts, None).serve("127.0.0.1", port, Liveness(agent.counts, clock, 60))
    loop = threading.Thread(
        target=_loop,
        args=(Namespace(windows=1, interval=5), clock, agent.counts, agent.collector, None, lambda _: None),
    )
    loop.start()
    assert meter.hangs.wait(30)
    yield clock, f"http://127.0.0.1:{port}"
    meter.let_go.set()
    loop.join()
    stop()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert isinstance(answer.status, int)
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_loop_that_hangs_in_a_driver_fails_the_probe_while_metrics_are_served(wedged: tuple[FakeClock, str]) -> None:
    clock, url = wedged
    assert status(f"{url}/healthz") == 200
    clock.go(301)
    assert status(f"{url}/healthz") == 503
    assert status(f"{url}/metrics") == 200


@pytest.mark.parametrize(("alive", "line"), [(True, b"HTTP/1.0 200 "), (False, b"HTTP/1.0 503 ")])
def test_who_keeps_all_connections_open_does_not_fail_the_probe(alive: bool, line: bytes) -> None:
    port = free_port()
    stop = Exporter(WorkCounters(), None).serve("127.0.0.1", port, lambda: alive)
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    try:
        until("all places to be taken", lambda: threading.active_count() == before + 8)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as probe:
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with probe.makefile("rb") as answer:
                assert answer.readline().startswith(line)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as scrape:
            scrape.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert scrape.recv(100) == b""  # as before: cut
    finally:
        for connection in silent:
            connection.close()
        stop()
