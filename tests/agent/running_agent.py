"""One agent on a small node of files, for the tests of the collector."""

from __future__ import annotations

from functools import partial

from tests.agent.node import UID_A, UID_B, FakeClock, FakeNode

from carbonbudget_agent.checkpoint import DurableProgress, load_checkpoint
from carbonbudget_agent.collector import Collector
from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import Meter
from carbonbudget_agent.meters.power_model import detect_model
from carbonbudget_agent.node_description import boot_id
from carbonbudget_agent.online_cpus import online_cpus
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.pod_file import FilePods
from carbonbudget_agent.window import NodeIdentity
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeInfo, NodeReport
from carbonbudget_core.node_report_json import decode_report

START = 1_764_000_000  # a full hour


class Agent:
    """One life of an agent on a node: `run` goes on until a window's end and beyond."""

    def __init__(self, node: FakeNode, clock: FakeClock, *more: Meter) -> None:
        self.node, self.clock, self.counts = node, clock, WorkCounters()
        self.info = NodeInfo()
        self.outbox = Outbox(node.root / "outbox", self.counts)
        path = node.root / "outbox" / "checkpoint.json"
        checkpoint = load_checkpoint(path, boot_id(node.procfs))
        online = partial(online_cpus, node.root / "sys")
        meter = detect_model(node.procfs, online=online).meter
        assert meter is not None
        identity = NodeIdentity("default", "node-1", boot_id(node.procfs))
        pods = FilePods(node.pod_list(UID_A, UID_B), "node-1", self.counts)
        self.cgroups = CgroupReader(node.cgroups)
        self.collector = Collector(
            identity, Metering([meter, *more], self.counts), self.cgroups, pods, node.procfs, 60, clock,
            checkpoint, lambda: self.info, self.counts, online=online,
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
    box = Outbox(node.root / "outbox", WorkCounters())
    return [decode_report(box.read(name) or b"") for name in box.names()]


def cpu_us(found: list[NodeReport], uid: str) -> int:
    return sum(pod.cpu_us for report in found for pod in report.pods if pod.uid == uid)
