"""A disk that is full, and one that cannot be written, for real: a tmpfs of a few pages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.agent.node import UID_A, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us, reports
from tests.disk import fill, small_disk


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts a small tmpfs on the node's outbox, or changes it; gone after the test."""
    point = tmp_path / "outbox"

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(point)], check=True)

    with small_disk(point, "64k"):
        yield remount


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
    ballast.unlink()
    node.burn(1_000_000, UID_A)
    agent.tick(60)
    assert (len(reports(node)), cpu_us(reports(node), UID_A)) == (6, 6_000_000)


def test_on_a_read_only_disk_likewise(tmp_path: Path, mount: Callable[[str], None]) -> None:
    node = FakeNode(tmp_path)
    node.burn(1, UID_A)
    agent = Agent(node, FakeClock(START))
    mount("ro")
    for _ in range(3):
        node.burn(1_000_000, UID_A)
        agent.tick(60)
    assert agent.counts.checkpoint_errors == 3
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
