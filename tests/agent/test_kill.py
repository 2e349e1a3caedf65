"""kill -9 at random moments, on the real process: what pods used is in the reports once, and only once.

In CPU time as the kernel counted it, and in energy as a RAPL zone counted it, to the microjoule.
"""

from __future__ import annotations

import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.node import UID_A, UID_B, FakeNode
from tests.fake_http_server import FakeHttpServer

from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import decode_report

# `CARBONBUDGET_AGENT_KILLS=200` kills as often as `make soak` does.
KILLS = int(os.environ.get("CARBONBUDGET_AGENT_KILLS", "60"))
LIVES_AT_ONCE = 2
HURRIED = str(Path(__file__).parent / "hurried.py")


class Ledger(FakeHttpServer):
    """Takes each key once; a key with another content is a defect that it remembers."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.reports: dict[tuple[object, ...], NodeReport] = {}
        self.conflicts: list[tuple[object, ...]] = []
        self.lock = threading.Lock()

    def take(self, report: NodeReport) -> None:
        with self.lock:
            if self.reports.setdefault(report.key, report) != report:
                self.conflicts.append(report.key)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Ledger

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take(decode_report(zlib.decompress(body, 31)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    server = Ledger()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Life:
    """One node whose agent is killed again and again while its pods work."""

    def __init__(self, root: Path, name: str, url: str) -> None:
        self.node, self.name = FakeNode(root), name
        self.node.burn(1_000, UID_A)
        self.node.burn(2_000, UID_B)
        self.command = [
            sys.executable, HURRIED, "run", "--window", "10", "--interval", "1", "--log-level", "error",
            "--cluster", "default", "--node-name", name, "--sysfs", str(root / "sys"), "--procfs",
            str(self.node.procfs), "--cgroup-root", str(self.node.cgroups), "--pods-file",
            str(self.node.pod_list(UID_A, UID_B)), "--outbox", str(root / "outbox"), "--server-url", url,
        ]  # fmt: skip
        self.checkpoint = root / "outbox" / "checkpoint.json"
        self.used = {UID_A: 0, UID_B: 0}
        self.drawn_uj = 0
        zone = "sys/class/powercap/intel-rapl:0"
        self.node.write(f"{zone}/name", "package-0\n")
        self.node.write(f"{zone}/max_energy_range_uj", f"{10**16}\n")
        self.draw(0)

    def draw(self, energy_uj: int) -> None:
        """The package's counter goes on; it stood at some figure before."""
        self.drawn_uj += energy_uj
        self.node.write("sys/class/powercap/intel-rapl:0/energy_uj", f"{10**12 + self.drawn_uj}\n")

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command)

    def first_look(self) -> None:
        """One life until it has seen the counters that all the rest is counted from."""
        agent = self.start()
        end = time.monotonic() + 60
        while not self.checkpoint.exists() and time.monotonic() < end:
            time.sleep(0.01)
        agent.kill()
        agent.wait()
        assert json.loads(self.checkpoint.read_text())["sample"]

    def work(self, rng: random.Random) -> None:
        for uid in self.used:
            amount = rng.randrange(5_000)
            self.node.burn(amount, uid)
            self.used[uid] += amount
        self.draw(rng.randrange(2_000_000))

    def be_killed(self, rng: random.Random) -> None:
        """Pods work until a random moment; then the agent is killed in whatever it is doing."""
        agent = self.start()
        end = time.monotonic() + rng.uniform(0.05, 0.6)
        while time.monotonic() < end:
            self.work(rng)
            time.sleep(0.01)
        agent.kill()
        assert agent.wait() == -signal.SIGKILL
        self.work(rng)  # while nobody looks

    def end_well(self, ledger: Ledger) -> None:
        """A last life, until the last work is reported and SIGTERM ends it."""
        agent = self.start()
        end = time.monotonic() + 60
        while (self.booked(ledger), self.measured_uj(ledger)) != (self.used, self.drawn_uj) and time.monotonic() < end:
            time.sleep(0.05)
        agent.terminate()
        assert agent.wait(timeout=30) == 0

    def mine(self, ledger: Ledger) -> list[NodeReport]:
        with ledger.lock:
            return [report for report in ledger.reports.values() if report.node == self.name]

    def measured_uj(self, ledger: Ledger) -> int:
        return sum(domain.measured_uj for report in self.mine(ledger) for domain in report.domains)

    def booked(self, ledger: Ledger) -> dict[str, int]:
        mine = self.mine(ledger)
        return {uid: sum(p.cpu_us for r in mine for p in r.pods if p.uid == uid) for uid in self.used}


def test_kills_at_any_moment_lose_and_double_nothing(tmp_path: Path, ledger: Ledger) -> None:
    """Two nodes side by side; moments from the interpreter's start through sampling, closing and sending."""
    url = f"http://127.0.0.1:{ledger.server_address[1]}"
    lives = [Life(tmp_path / f"node-{n}", f"node-{n}", url) for n in range(LIVES_AT_ONCE)]

    def live(life: Life, seed: int) -> None:
        rng = random.Random(seed)
        life.first_look()
        for _ in range(KILLS // LIVES_AT_ONCE):
            life.be_killed(rng)
        life.end_well(ledger)

    threads = [threading.Thread(target=live, args=(life, seed)) for seed, life in enumerate(lives)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.conflicts == []
    for life in lives:
        assert life.booked(ledger) == life.used
        assert life.measured_uj(ledger) == life.drawn_uj
        domains = [domain for report in life.mine(ledger) for domain in report.domains]
        assert {domain.method for domain in domains} == {"rapl"}
        assert not any(domain.unseen_uj for domain in domains)
