"""Windows on a small true node, with a clock that the test turns: nothing lost, nothing twice, over any restart."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from datetime import UTC, datetime

import pytest
from tests.agent.node import BURSTABLE, UID_A, UID_B, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us, reports

from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.run import _loop
from carbonbudget_core.node_report import NodeReport, check_report


def test_a_window_sums_up_its_ticks_and_conserves(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    for _ in range(12):
        node.burn(1_000_000, UID_A)
        node.burn(250_000, UID_B)
        node.burn(500_000)
        closed = agent.tick(5)
    assert closed is not None
    assert (closed.window_start, closed.window_end, closed.part, closed.since) == (START, START + 60, 0, START)
    (domain,) = closed.domains
    assert (domain.name, domain.method, domain.boundary, domain.duration_ms) == ("cpu", "model", "wall", 60_000)
    # Idle: 420 mW x 2 threads x 60 s. Decoding checks that the rest adds up.
    assert domain.idle_uj == 420 * 2 * 60_000
    assert {pod.name: pod.cpu_us for pod in closed.pods} == {"pod-a": 12_000_000, "pod-b": 3_000_000}
    assert {pod.name: pod.memory_byte_seconds for pod in closed.pods} == {"pod-a": 120_000, "pod-b": 120_000}
    assert closed.pods[0].energy_uj["cpu"] == pytest.approx(4 * closed.pods[1].energy_uj["cpu"], abs=20)
    assert [report.key for report in reports(node)] == [closed.key]


def test_two_windows_hold_the_same_as_one_of_twice_the_length_would(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    for _ in range(24):
        node.burn(700_001, UID_A)
        agent.tick(5)
    found = reports(node)
    assert [report.window_start for report in found] == [START, START + 60]
    assert cpu_us(found, UID_A) == 24 * 700_001


STRANGER = "5b0c1f7e-0000-4000-8000-0000000000ff"


def test_a_pod_whose_name_never_became_known_is_unseen(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    node.burn(5_000_000, STRANGER)
    assert agent.tick(60) is None  # its name may still come
    closed = agent.tick(10)
    assert closed is not None
    assert (closed.window_start, closed.window_end) == (START, START + 60)
    assert STRANGER not in {pod.uid for pod in closed.pods}
    assert closed.domains[0].unseen_uj > 0


def test_a_window_waits_once_for_a_name_and_not_again_for_the_same_pod(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    node.burn(5_000_000, STRANGER)
    found = [agent.tick(seconds) for seconds in (60, 10)]
    node.burn(5_000_000, STRANGER)
    found.append(agent.tick(50))
    assert [None if report is None else report.window_start for report in found] == [None, START, START + 60]


def test_a_pod_whose_name_comes_after_the_window_has_ended_has_what_it_used_in_it(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    node.burn(5_000_000, STRANGER)
    assert agent.tick(60) is None
    node.burn(1_000_000, STRANGER)
    node.pod_list(UID_A, UID_B, STRANGER)
    first = agent.tick(5)
    assert first is not None
    assert (first.window_end, cpu_us([first], STRANGER)) == (START + 60, 5_000_000)
    assert first.domains[0].unseen_uj == 0
    second = agent.tick(55)
    assert second is not None
    assert (second.window_start, cpu_us([second], STRANGER)) == (START + 60, 1_000_000)


def test_a_last_look_waits_for_no_name_and_leaves_no_window_open(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    node.burn(5_000_000, STRANGER)
    assert agent.tick(60) is None
    node.burn(400_000, UID_A)
    first = agent.tick(5, final=True)
    assert first is not None
    assert agent.collector.unfinished
    second = agent.tick(0.1, final=True)
    assert second is not None
    assert not agent.collector.unfinished
    assert [first.window_start, second.window_start] == [START, START + 60]
    assert cpu_us([first, second], UID_A) == 400_000


@pytest.mark.parametrize("killed_after", [60, 65, 69])
def test_a_kill_while_a_window_waits_for_a_name_loses_and_doubles_nothing(node: FakeNode, killed_after: int) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    node.burn(5_000_000, STRANGER)
    node.burn(700_000, UID_A)
    agent.tick(60)
    agent.tick(killed_after - 60)
    assert reports(node) == []
    agent = Agent(node, clock)
    node.pod_list(UID_A, UID_B, STRANGER)
    for _ in range(24):
        agent.tick(5)
    assert (cpu_us(reports(node), STRANGER), cpu_us(reports(node), UID_A)) == (5_000_000, 700_000)


def test_a_pod_that_ended_between_two_looks_keeps_its_last_time(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    node.burn(4_000_000, UID_B)
    node.remove(UID_B)
    closed = agent.tick(60)
    assert closed is not None
    assert cpu_us([closed], UID_B) == 4_000_000


@pytest.mark.parametrize("killed_after", [5, 30, 55, 60, 65, 115])
@pytest.mark.parametrize("away", [1, 20, 200])
def test_a_kill_at_any_moment_loses_and_doubles_nothing(node: FakeNode, killed_after: int, away: int) -> None:
    clock = FakeClock(START)
    agent, burnt = Agent(node, clock), 0
    for _ in range(killed_after // 5):
        node.burn(600_000, UID_A)
        burnt += 600_000
        agent.tick(5)
    node.burn(away * 1000, UID_A)  # it goes on while nobody looks
    burnt += away * 1000
    clock.go(away)
    agent = Agent(node, clock)
    for _ in range(24):
        node.burn(600_000, UID_A)
        burnt += 600_000
        agent.tick(5)
    found = reports(node)
    agent.tick(0, final=True)
    assert cpu_us(reports(node), UID_A) == burnt
    assert len({report.key for report in found}) == len(found)
    # The domains cover the whole time too, without a hole.
    assert sum(report.domains[0].duration_ms for report in reports(node)) == clock.wall_ms() - START * 1000


def test_a_gap_says_since_when(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    agent.tick(60)
    clock.go(600)
    agent = Agent(node, clock)
    closed = agent.tick(60)
    assert closed is not None
    assert (closed.since, closed.window_start) == (START + 60, START + 660)


def test_sigterm_sends_the_open_window_as_a_part_and_the_next_agent_goes_on_from_there(node: FakeNode) -> None:
    clock = FakeClock(START)
    node.burn(0, UID_A)
    agent = Agent(node, clock)
    node.burn(1_000_000, UID_A)
    first = agent.tick(20, final=True)
    agent = Agent(node, clock)
    node.burn(2_000_000, UID_A)
    second = agent.tick(40)
    assert first is not None
    assert second is not None
    assert (first.window_start, first.part) == (second.window_start, 0) == (START, 0)
    assert second.part == 1
    assert (cpu_us([first], UID_A), cpu_us([second], UID_A)) == (1_000_000, 2_000_000)


def test_sigterm_that_comes_late_in_a_stall_sends_the_window_before_and_what_came_after(
    node: FakeNode,
) -> None:
    """The look at 60 s comes at 72 s, and finds that it is the last."""

    class Stalled(FakeClock):
        def wait(self, milliseconds: int) -> bool:
            node.burn(1_000_000, UID_A)
            self.go(62)
            return True

    clock = Stalled(START + 10)
    agent = Agent(node, clock)
    node.burn(500_000, UID_A)
    agent.tick(5)
    handled: list[NodeReport] = []
    _loop(Namespace(windows=0, interval=5), clock, agent.counts, agent.collector, None, handled.append)
    assert [(report.window_start, cpu_us([report], UID_A)) for report in handled] == [
        (START, 500_000), (START + 60, 1_000_000),
    ]  # fmt: skip


def test_a_clock_that_is_set_back_never_gives_a_key_twice(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    for step in (60, 60, -7200, 60, 60, 7200, 60, -3600, 60):
        if abs(step) > 60:
            clock.wall += step * 1000
            continue
        node.burn(1000, UID_A)
        agent.tick(step)
    agent.tick(60, final=True)
    keys = [report.key for report in reports(node)]
    assert len(set(keys)) == len(keys)
    assert cpu_us(reports(node), UID_A) == 6000


def test_a_clock_that_is_set_forward_is_no_gap(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    agent.tick(30)
    clock.wall += 3_600_000
    agent.tick(5)
    agent.tick(5, final=True)
    assert max(report.window_start - report.since for report in reports(node)) <= 5


def test_after_a_reboot_the_old_counters_mean_nothing_and_unsent_reports_stay(node: FakeNode) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    agent.tick(60)
    node.write("proc/sys/kernel/random/boot_id", "6f0c0000-0000-4000-8000-000000000002\n")
    clock.go(60)
    agent = Agent(node, clock)
    node.burn(1_000_000, UID_A)
    closed = agent.tick(60)
    assert closed is not None
    assert cpu_us([closed], UID_A) == 1_000_000
    assert len(reports(node)) == 2


def test_a_kill_between_checkpoint_and_outbox_puts_the_report_in_once_more(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    node.burn(1_000_000, UID_A)
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            agent.tick(60)
    assert reports(node) == []
    Agent(node, clock)
    assert cpu_us(reports(node), UID_A) == 1_000_000


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"boot_id": 5}'])
def test_a_broken_checkpoint_is_a_fresh_start(node: FakeNode, junk: bytes) -> None:
    (node.root / "outbox").mkdir()
    (node.root / "outbox" / "checkpoint.json").write_bytes(junk)
    agent = Agent(node, FakeClock(START))
    assert agent.tick(60) is not None


@pytest.mark.parametrize("told_by", ["the API's startTime", "its cgroup alone"])
def test_after_twelve_hours_away_a_pod_of_one_minute_reserves_one_minute(node: FakeNode, told_by: str) -> None:
    """32 cores and 8 GPUs: 32 core-minutes and 8 GPU-minutes, where it was 384 core-hours and 96 GPU-hours."""
    clock, new = FakeClock(START), "5b0c1f7e-0000-4000-8000-0000000000cc"
    Agent(node, clock).tick(60)
    clock.go(12 * 3600)
    started = START + 60 + 12 * 3600 - 60
    node.burn(30_000_000, new)
    os.utime(node.cgroups / "cpuacct" / BURSTABLE / f"pod{new}", (started, started))
    agent = Agent(node, clock)
    pods = json.loads(node.pod_list(UID_A, UID_B, new).read_text())
    pods["items"][2]["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "32"},
        "limits": {"nvidia.com/gpu": "8"},
    }
    if told_by != "its cgroup alone":
        pods["items"][2]["status"]["startTime"] = f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%SZ}"
    (node.root / "pods.json").write_text(json.dumps(pods))
    os.utime(node.root / "pods.json", (1, 1))  # read again
    closed = agent.tick(60)
    assert closed is not None
    check_report(closed)
    (pod,) = (pod for pod in closed.pods if pod.uid == new)
    assert (pod.requests.cpu_millicores, pod.requests.gpus) == (32_000, 8)
    assert (pod.duration_ms, pod.cpu_us) == (120_000, 30_000_000)  # its minute, and the one of this window
    assert pod.memory_byte_seconds == 2_000 * 120
    (old,) = (pod for pod in closed.pods if pod.uid == UID_A)
    assert old.duration_ms == (12 * 3600 + 60) * 1000
