"""CPUs that a machine gets or loses while the agent runs: the model and the bounds follow without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.node import UID_A, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us

from carbonbudget_agent.online_cpus import online_cpus
from carbonbudget_core.node_report import NodeInfo, NodeReport

ONLINE = "sys/devices/system/cpu/online"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0\n", 1), ("0-3\n", 4), ("0-1,4,6-7\n", 5), ("0-8191\n", 8_192),
        ("0-8192\n", None), ("\n", None), ("x\n", None),
        ("0-3,\n", None), ("3-0\n", None), ("-3\n", None), ("0-3,\xff\n", None), ("9" * 5_000, None),
    ],
)  # fmt: skip
def test_the_kernels_list_of_online_cpus_is_counted_and_anything_else_is_not_known(
    tmp_path: Path, text: str, count: int | None
) -> None:
    FakeNode(tmp_path).write(ONLINE, text)
    assert online_cpus(tmp_path / "sys") == count


def test_without_sysfs_the_number_of_cpus_is_not_known(tmp_path: Path) -> None:
    assert online_cpus(tmp_path) is None


def minute(agent: Agent, online: str, busy_us_per_second: int) -> NodeReport:
    """One window in which the machine has these CPUs."""
    agent.node.write(ONLINE, online)
    for _ in range(12):
        agent.node.burn(5 * busy_us_per_second, UID_A)
        closed = agent.tick(5)
    assert closed is not None
    return closed


def test_a_machine_that_gets_or_loses_cpus_has_their_energy_from_the_next_look_on(node: FakeNode) -> None:
    """Two threads of 420 mW idle and 1,920 mW at full use at the start; a window is 60 s."""
    agent = Agent(node, FakeClock(START))
    agent.info = NodeInfo(threads=2)
    found = [minute(agent, cpus, used) for cpus, used in (("0-1", 2_000_000), ("0-3", 4_000_000), ("0", 0))]
    assert [(report.domains[0].measured_uj, report.domains[0].idle_uj) for report in found] == [
        (2 * 1920 * 60_000, 2 * 420 * 60_000), (4 * 1920 * 60_000, 4 * 420 * 60_000), (420 * 60_000, 420 * 60_000),
    ]  # fmt: skip


def test_the_cpu_time_of_cpus_that_were_added_is_not_cut(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    agent.info = NodeInfo(threads=2)
    assert cpu_us([minute(agent, "0-7", 8_000_000)], UID_A) == 8 * 60_000_000
    assert agent.counts.cpu_beyond == 0


def test_cpu_time_of_cpus_that_went_offline_since_the_last_look_is_not_cut(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    agent.info = NodeInfo(threads=8)
    assert cpu_us([minute(agent, "0", 8_000_000)], UID_A) == 8 * 60_000_000


def test_cpus_that_cannot_be_counted_any_more_count_as_at_the_start(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    (domain,) = minute(agent, "junk", 0).domains
    assert domain.measured_uj == 2 * 420 * 60_000
