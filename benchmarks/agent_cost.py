"""What the agent costs a node: CPU seconds a minute and memory, by number of pods, and with GPUs.

The real process as in production (a sample every 5 s, a report a minute into the outbox and to a server, a
scrape every 15 s) beside a synthetic cgroup v1 tree in which every pod uses CPU all the time. GPUs are eight
that the tests' NVML stub scripts, held by pods as a kubelet's socket tells. `agent_on_cluster` is the same
on the real kubelet.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import Figures, arguments, cpu_seconds, rss_mib, show  # noqa: E402 - after the path
from tests.agent.node import FakeNode  # noqa: E402
from tests.gpu.driver import Driver, build  # noqa: E402
from tests.gpu.kubelet import Kubelet  # noqa: E402
from tests.gpu.wire import pod_resources  # noqa: E402


def uid(index: int) -> str:
    """A pod's uid."""
    return f"5b0c1f7e-0000-4000-8000-{index:012x}"


class Sink(http.server.BaseHTTPRequestHandler):
    """A server that takes every report."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextlib.contextmanager
def sink() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def eight_gpus(directory: Path) -> Iterator[dict[str, str]]:
    """The environment and the option of an agent whose node has eight GPUs, each held by a pod."""
    build(directory)
    driver = Driver(directory / "scenario")
    uuids = [f"GPU-00000000-0000-4000-8000-{index:012x}" for index in range(8)]
    now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    for index, one in enumerate(uuids):
        driver.gpu(index, one, energy_mj=0, watts=300, since_ms=now_ms, busy=70)
    kubelet = Kubelet(directory / "kubelet.sock")
    claims = [("team-a", f"pod-{uid(index)[-1]}", [one]) for index, one in enumerate(uuids)]
    kubelet.answer = lambda _: pod_resources(*claims)
    try:
        yield {
            "LD_LIBRARY_PATH": str(directory),
            "NVML_SCENARIO": str(driver.path),
            "CARBONBUDGET_POD_RESOURCES_SOCKET": str(kubelet.path),
        }
    finally:
        kubelet.stop()


def measure(pods: int, gpus: bool, window: int, seconds: int) -> Figures:
    """Run the agent beside `pods` busy pods, and look at it for `seconds` after its first report."""
    with tempfile.TemporaryDirectory() as name, sink() as server, contextlib.ExitStack() as stack:
        directory = Path(name)
        node = FakeNode(directory)
        uids = [uid(index) for index in range(pods)]
        for one in uids:
            node.burn(1000, one)
        environment = stack.enter_context(eight_gpus(directory)) if gpus else {}
        port = free_port()
        command = [
            str(Path(sys.executable).parent / "carbonbudget-agent"), "run", "--window", str(window),
            "--interval", "5", "--sysfs", f"{directory}/sys", "--procfs", str(node.procfs),
            "--cgroup-root", str(node.cgroups), "--pods-file", str(node.pod_list(*uids)), "--log-level", "error",
            "--outbox", f"{directory}/outbox", "--server-url", server, "--metrics-listen", f"127.0.0.1:{port}",
        ]  # fmt: skip
        agent = subprocess.Popen(command, env=os.environ | environment)
        try:
            _live(node, uids, window + 10, port)  # the start and the first report are not the running cost
            began, used = time.monotonic(), cpu_seconds(agent.pid)
            _live(node, uids, seconds, port)
            cpu = (cpu_seconds(agent.pid) - used) * 60 / (time.monotonic() - began)
            rss = rss_mib(agent.pid)
        finally:
            agent.terminate()
            agent.wait()
        return {"pods": pods, "gpus": 8 * gpus, "cpu_seconds_per_minute": round(cpu, 3), "rss_mib": rss}


def _live(node: FakeNode, uids: list[str], seconds: float, port: int) -> None:
    """Time passes: every pod works, and Prometheus scrapes each 15 s."""
    began = scraped = time.monotonic()
    while time.monotonic() - began < seconds:
        for one in uids:
            node.burn(1000, one)
        if time.monotonic() - scraped >= 15:
            scraped = time.monotonic()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
        time.sleep(2)


if __name__ == "__main__":
    given = arguments(__doc__ or "")
    sizes = [(30, False), (110, False)] if given.quick else [
        (30, False), (110, False), (110, True), (250, False), (500, False)
    ]  # fmt: skip
    window, seconds = (20, 20) if given.quick else (60, 60)
    rows: list[Figures] = []
    for pods, gpus in sizes:
        print(f"{pods} pods{', 8 GPUs' * gpus}: {window + 10 + seconds} s ...", file=sys.stderr, flush=True)
        rows.append(measure(pods, gpus, window, seconds))
    show(rows, given.json)
