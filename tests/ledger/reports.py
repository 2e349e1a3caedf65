"""Node reports for the tests of the server: they conserve by construction."""

from __future__ import annotations

from carbonbudget_core.node_report import Allocatable, DomainUse, NodeInfo, NodeReport, PodRequests, PodUsage
from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.node_report_body import parse_report
from carbonbudget_operator.ledger.booking import Booker, BookingResult, CheckedReport
from carbonbudget_operator.ledger.writer import LedgerWriter

HOUR = 1_764_000_000


def a_report(
    start: int = HOUR, node: str = "node-1", pods: dict[str, int] | None = None, since: int = -1, part: int = 0,
    idle_uj: int = 600, system_uj: int = 90, labels: dict[str, str] | None = None, namespace: str = "team-a",
) -> NodeReport:  # fmt: skip
    """One window of 60 s: `pods` are microjoules by uid."""
    energies = {"pod-1": 300} if pods is None else pods
    span_ms = 60_000 + (0 if since < 0 else (start - since) * 1000)
    measured = idle_uj + system_uj + 10 + sum(energies.values())
    domain = DomainUse("cpu", "model", "wall", span_ms, measured, idle_uj, system_uj, 10, measured // 2, measured * 2)
    usages = tuple(
        PodUsage(
            uid=uid, namespace=namespace, name=uid, labels={"app": uid} if labels is None else labels,
            energy_uj={"cpu": uj}, cpu_us=uj // 100, requests=PodRequests(100, 1000, 0), duration_ms=span_ms,
        )
        for uid, uj in energies.items()
    )  # fmt: skip
    info = NodeInfo(threads=2, allocatable=Allocatable(2000, 10**9, 0))
    return NodeReport("default", node, "boot", start, start + 60, (domain,), usages, info, part, since)


def arrival(report: NodeReport) -> CheckedReport:
    """A report as the server receives it, with its digest."""
    return CheckedReport(*parse_report(encode_report(report).encode()))


async def booked(writer: LedgerWriter, report: NodeReport) -> BookingResult:
    """The result of booking it, after the commit."""
    came = arrival(report)
    return (await writer.book(lambda: came))[1]


def book(booker: Booker, *reports: NodeReport) -> list[BookingResult]:
    """Book a batch."""
    return booker.book([arrival(report) for report in reports])
