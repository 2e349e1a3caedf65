"""A disk that is full, and one that cannot be written, for real: a tmpfs of a few pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.agent.node import UID_A, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us, reports
from tests.disk import fill, small_disk

from carbonbudget_agent.exporter import Exporter
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts a small tmpfs on the node's outbox, or changes it; gone after the test."""
    point = tmp_path / "outbox"

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(point)], check=True)

    with small_disk(point, "64k"):
        yield remount


def waiting(agent: Agent) -> dict[str, float]:
    """What the metrics say of the reports that wait."""
    names = ("outbox_reports", "outbox_memory_reports")
    registry = CollectorRegistry()
    registry.register(Exporter(agent.counts, agent.outbox))
    return {name: registry.get_sample_value(f"carbonbudget_agent_{name}") or 0 for name in names}


def test_on_a_full_disk_windows_wait_in_memory_and_go_out_when_there_is_room(
    tmp_path: Path, mount: Callable[[str], None]
) -> None:
    node = FakeNode(tmp_path)
    node.burn(1, UID_A)
    agent = Agent(node, FakeClock(START))
    ballast = fill(node.root / "outbox")
    for _ in range(5):
        node.burn(1_000_000, UID_A)
        agent.tick(60)
    assert reports(node) == []
    assert agent.counts.checkpoint_errors + agent.counts.outbox_errors == 5
    assert waiting(agent) == {"outbox_reports": 5, "outbox_memory_reports": 5}
    ballast.unlink()
    node.burn(1_000_000, UID_A)
    agent.tick(60)
    assert (len(reports(node)), cpu_us(reports(node), UID_A)) == (6, 6_000_000)
    assert waiting(agent) == {"outbox_reports": 6, "outbox_memory_reports": 0}


def test_on_a_read_only_disk_likewise(tmp_path: Path, mount: Callable[[str], None]) -> None:
    node = FakeNode(tmp_path)
    node.burn(1, UID_A)
    agent = Agent(node, FakeClock(START))
    mount("ro")
    for _ in range(3):
        node.burn(1_000_000, UID_A)
        agent.tick(60)
    assert agent.counts.checkpoint_errors == 3
    assert waiting(agent) == {"outbox_reports": 3, "outbox_memory_reports": 3}
    mount("rw")
    node.burn(1_000_000, UID_A)
    agent.tick(60)
    assert (len(reports(node)), cpu_us(reports(node), UID_A)) == (4, 4_000_000)


def test_a_kill_while_the_disk_is_full_counts_from_the_last_checkpoint(
    tmp_path: Path, mount: Callable[[str], None]
) -> None:
    node = FakeNode(tmp_path)
    node.burn(1, UID_A)
    clock = FakeClock(START)
    agent = Agent(node, clock)
    ballast = fill(node.root / "outbox")
    node.burn(1_000_000, UID_A)
    agent.tick(60)
    ballast.unlink()
    node.burn(1_000_000, UID_A)
    clock.go(60)
    agent = Agent(node, clock)
    agent.tick(60)
    assert cpu_us(reports(node), UID_A) == 2_000_000


def test_an_agent_does_not_start_on_a_read_only_disk_and_does_on_a_full_one(
    tmp_path: Path, mount: Callable[[str], None]
) -> None:
    """The reported case: it ran, was healthy, and delivered nothing. A full disk may have room again soon."""
    fill(tmp_path / "outbox")
    Outbox(tmp_path / "outbox", WorkCounters())
    mount("ro")
    with pytest.raises(OSError, match=r"cannot be written: .* read-only .* agent\.outboxHostPath .* spc_t") as error:
        Outbox(tmp_path / "outbox", WorkCounters())
    assert "\n" not in str(error.value)
    mount("rw")


def test_an_agent_without_capabilities_does_not_start_on_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    """As the chart runs it: root, who may not pass by the directory's mode. SELinux refuses in the same place."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("dropping capabilities needs root and setpriv")
    outbox = tmp_path / "outbox"
    outbox.mkdir(mode=0o755)
    os.chown(outbox, 65_534, 65_534)
    code = "import pathlib, sys; from carbonbudget_agent.outbox import Outbox; Outbox(pathlib.Path(sys.argv[1]), None)"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", code, str(outbox)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert f"OSError: the outbox {outbox} cannot be written: " in done.stderr
