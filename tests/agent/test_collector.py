"""Windows on a small true node, with a clock that the test turns: nothing lost, nothing twice, over any restart."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.agent.node import BURSTABLE, UID_A, UID_B, FakeClock, FakeNode

from carbonbudget_agent.checkpoint import DurableProgress, load_checkpoint
from carbonbudget_agent.collector import Collector
from carbonbudget_agent.counts import Counts
from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import Counters, DomainEnergy, Meter, MeterReading
from carbonbudget_agent.meters.model import detect_model
from carbonbudget_agent.node import boot_id
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.file import FilePods
from carbonbudget_agent.run import _loop
from carbonbudget_agent.window import NodeIdentity
from carbonbudget_core.node_report import NodeInfo, NodeReport, check_report
from carbonbudget_core.node_report_json import decode_report
from carbonbudget_operator.ingest.report_checks import check_power, check_report_is_possible

START = 1_764_000_000  # a full hour


class Agent:
    """One life of an agent on a node: `run` goes on until a window's end and beyond."""

    def __init__(self, node: FakeNode, clock: FakeClock, *more: Meter) -> None:
        self.node, self.clock, self.counts = node, clock, Counts()
        self.info = NodeInfo()
        self.outbox = Outbox(node.root / "outbox", self.counts)
        path = node.root / "outbox" / "checkpoint.json"
        checkpoint = load_checkpoint(path, boot_id(node.procfs))
        meter = detect_model(node.procfs).meter
        assert meter is not None
        identity = NodeIdentity("default", "node-1", boot_id(node.procfs))
        pods = FilePods(node.pod_list(UID_A, UID_B), "node-1", self.counts)
        self.cgroups = CgroupReader(node.cgroups)
        self.collector = Collector(
            identity, Metering([meter, *more], self.counts), self.cgroups, pods, node.procfs, 60, clock,
            checkpoint, lambda: self.info, self.counts,
        )  # fmt: skip
        self.durable = DurableProgress(checkpoint, path, self.outbox, self.counts)
        self.collector.tick()
        self.durable.store(None)

    def tick(self, seconds: float, final: bool = False) -> NodeReport | None:
        """Time passes, then the agent looks, and keeps what it closed."""
        self.clock.go(seconds)
        report = self.collector.tick(final)
        if report is not None:
            self.durable.store(report)
        return report


def reports(node: FakeNode) -> list[NodeReport]:
    """All that is in the outbox."""
    box = Outbox(node.root / "outbox", Counts())
    return [decode_report(box.read(name) or b"") for name in box.names()]


def cpu_us(found: list[NodeReport], uid: str) -> int:
    return sum(pod.cpu_us for report in found for pod in report.pods if pod.uid == uid)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    made = FakeNode(tmp_path)
    made.burn(500_000, UID_A)
    made.burn(300_000, UID_B)
    return made


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


def test_a_pod_whose_name_never_became_known_is_unseen(node: FakeNode) -> None:
    agent = Agent(node, FakeClock(START))
    stranger = "5b0c1f7e-0000-4000-8000-0000000000ff"
    node.burn(5_000_000, stranger)
    closed = agent.tick(60)
    assert closed is not None
    assert stranger not in {pod.uid for pod in closed.pods}
    assert closed.domains[0].unseen_uj > 0


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


def test_a_full_disk_keeps_windows_in_memory_and_goes_on(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("carbonbudget_agent.outbox.os.replace", full)
        for _ in range(3):
            node.burn(1_000_000, UID_A)
            agent.tick(60)
    assert reports(node) == []
    assert agent.counts.checkpoint_errors == 3
    node.burn(1_000_000, UID_A)
    agent.tick(60)
    assert cpu_us(reports(node), UID_A) == 4_000_000
    assert len(reports(node)) == 4


def test_a_kill_while_the_disk_is_full_loses_and_doubles_nothing(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(START)
    agent = Agent(node, clock)
    with monkeypatch.context() as patch:
        patch.setattr("carbonbudget_agent.outbox.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        node.burn(1_000_000, UID_A)
        agent.tick(60)
    node.burn(1_000_000, UID_A)
    clock.go(60)
    agent = Agent(node, clock)
    agent.tick(60)
    assert cpu_us(reports(node), UID_A) == 2_000_000


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


STAT = "cpu  100 0 100 1000 0 0 0 0 0 0\n"


@pytest.mark.parametrize(
    "junk", ["", "cpu\n", "cpu 1 2\n", "cpu  x 0 100 1000 0 0 0 0 0 0\n", "intr 1 2 3 4 5 6 7 8\n"]
)
def test_the_nodes_busy_time_that_cannot_be_read_for_a_while_is_booked_afterwards(
    node: FakeNode, junk: str, caplog: pytest.LogCaptureFixture
) -> None:
    (node.cgroups / "cpuacct" / "cpuacct.usage").unlink()  # as in a nested root: /proc/stat is what is left
    node.write("proc/stat", STAT)
    agent = Agent(node, FakeClock(START))
    node.write("proc/stat", junk)
    for _ in range(3):
        agent.tick(5)
    assert (agent.counts.node_errors, len(caplog.records)) == (3, 1)
    node.write("proc/stat", "cpu  700 0 100 1000 0 0 0 0 0 0\n")  # six seconds of two threads' time
    report = agent.tick(45)
    assert report is not None
    (domain,) = report.domains
    assert domain.measured_uj > domain.idle_uj
    check_report(report)


def test_a_node_whose_busy_time_cannot_be_read_at_the_start_is_told_in_a_sentence(node: FakeNode) -> None:
    (node.cgroups / "cpuacct" / "cpuacct.usage").unlink()
    node.write("proc/stat", "garbage\n")
    with pytest.raises(ValueError, match="stat: its first line is not the CPU time of a kernel"):
        Agent(node, FakeClock(START))


class Flaky:
    """One more meter: a counter that runs at 100 W, and cannot be read while `gone`."""

    name = "flaky"

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.gone = clock, False

    def read(self, busy_us: int) -> MeterReading:
        if self.gone:
            return MeterReading({}, {"flaky": "gone"})
        return MeterReading({"flaky": {"uj": self.clock.steady * 100_000}})

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        return (DomainEnergy("gpu:x", "nvml", "board", elapsed_ms, after["uj"] - before["uj"]),)


def test_what_a_meter_drew_while_it_was_gone_for_hours_is_booked_since_then_and_the_server_takes_it(
    node: FakeNode,
) -> None:
    clock = FakeClock(START)
    flaky = Flaky(clock)
    agent = Agent(node, clock, flaky)
    agent.tick(60)
    flaky.gone = True
    for _ in range(180):
        agent.tick(60)
    flaky.gone = False
    back = agent.tick(60)
    assert back is not None
    assert (back.since, back.window_start) == (START + 60, START + 181 * 60)
    found = reports(node)
    assert sum(d.measured_uj for r in found for d in r.domains if d.name == "gpu:x") == 182 * 60 * 100_000_000
    for report in found:
        check_power(report, 20_000)  # the server's own; it refuses the whole report


@pytest.mark.parametrize(("away_hours", "booked"), [(24, True), (25, False), (40 * 24, False)])
def test_a_meter_that_was_gone_for_more_than_a_day_has_no_figure_and_costs_the_others_nothing(
    node: FakeNode, away_hours: int, booked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole report reaches back with it, and the server refuses one that reaches back too far."""
    clock = FakeClock(START)
    flaky = Flaky(clock)
    agent = Agent(node, clock, flaky)
    agent.tick(60)
    flaky.gone = True
    for seconds in (away_hours * 3600 - 120, 60):
        agent.tick(seconds)
    flaky.gone = False
    errors = agent.counts.meter_errors
    back, later = agent.tick(60), agent.tick(60)
    assert back is not None
    assert later is not None
    assert ("gpu:x" in {domain.name for domain in back.domains}) is booked
    assert back.since == (back.window_start - away_hours * 3600 + 60 if booked else back.window_start)
    assert [domain.name for domain in later.domains] == ["cpu", "gpu:x"]
    assert agent.counts.meter_errors == errors + (not booked)
    assert ("for more than a day; this time has no figure" in caplog.text) is not booked
    for report in (back, later):
        check_report_is_possible(report, "default", 20_000, clock.wall_ms() // 1000)


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


def test_more_cpu_time_than_the_node_has_is_cut_counted_and_logged_once(
    node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent(node, FakeClock(START))
    agent.info = NodeInfo(threads=2)
    for _ in range(2):
        node.burn(3_600_000_000, UID_A)
        agent.tick(5)
    report = agent.tick(50, final=True)
    assert report is not None
    assert cpu_us([report], UID_A) == 2 * 2 * 6_000_000
    assert agent.counts.cpu_beyond == 2
    assert len([record for record in caplog.records if "CPU time more than" in record.message]) == 1
