"""The collector while meters, disk or the kernel's figures cannot be read or cannot be true."""

from __future__ import annotations

import pytest
from tests.agent.node import UID_A, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us, reports

from carbonbudget_agent.meters import Counters, DomainEnergy, MeterReading
from carbonbudget_core.node_report import NodeInfo, check_report
from carbonbudget_operator.ingest.report_checks import check_power, check_report_is_possible


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
