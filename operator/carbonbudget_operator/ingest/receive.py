"""One report's way in: who sends it, is it whole, may they, is it stored."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import prometheus_client as prometheus
from starlette.requests import Request

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ingest import checks
from carbonbudget_operator.ingest.body import unpack
from carbonbudget_operator.ingest.boot_conflicts import BootConflicts
from carbonbudget_operator.ingest.callers import authenticated
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes, RequestShare
from carbonbudget_operator.kube.access import Access, Caller
from carbonbudget_operator.ledger.booking import BookingResult, CheckedReport
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS
from carbonbudget_operator.ledger.store import LedgerError
from carbonbudget_operator.ledger.writer import LedgerBusy, LedgerWriter

_log = logging.getLogger(__name__)
_TELL_AGAIN_SECONDS = 3600.0


class ReportReceiver:
    """Takes reports. `now` gives UTC seconds."""

    def __init__(
        self,
        access: Access,
        share: RequestShare,
        writer: LedgerWriter,
        cluster: str,
        agent_account: str,
        max_report_bytes: int,
        max_node_watts: int,
        registry: prometheus.CollectorRegistry,
        now: Callable[[], float] = time.time,
        pod_days: int = 35,
        on_stored: Callable[[NodeReport], None] = lambda report: None,
        verify: Callable[[NodeReport, int], NodeReport] = lambda report, now: report,
    ) -> None:
        self._access, self._share, self._writer, self._now = access, share, writer, now
        self._cluster, self._agent_account = cluster, agent_account
        self._max_report_bytes, self._max_node_watts = max_report_bytes, max_node_watts
        self._pod_days, self._on_stored, self._verify = pod_days, on_stored, verify
        self._accepted = prometheus.Counter(
            "carbonbudget_ingest_reports", "Reports taken, by fate.", ("fate",), registry=registry
        )
        self._refused = prometheus.Counter(
            "carbonbudget_ingest_refused", "Reports refused, by reason.", ("reason",), registry=registry
        )
        self._boots = BootConflicts()
        self._defect_told = 0.0
        self._told: dict[tuple[str, str], float] = {}

    @asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[tuple[Caller, RequestBytes]]:
        """Let an agent in, before its body is read: memory is not for anybody. Refusals inside are counted and told.

        Raises:
            Refusal: 401 for nobody, 403 for another account, 503 if it sends too many at once or cannot be known.
        """
        sender = "unknown"
        try:
            caller = await authenticated(self._access, request)
            sender = caller.node or caller.user
            if caller.user != self._agent_account:
                raise Refusal(403, "account", f"{caller.user} is not the agents' account {self._agent_account}")
            with self._share.request(sender) as hold:
                yield caller, hold
        except Refusal as refusal:
            self._refused.labels(refusal.kind).inc()
            self._tell(sender, refusal)
            raise

    async def receive(self, caller: Caller, encoding: str, body: bytes) -> str:
        """Take one report: "stored" or "duplicate", after the commit.

        Raises:
            Refusal: with status, class and one line; nothing was stored.
        """
        report, fate = await self._book(lambda: self._read(caller, encoding, body))
        self._accepted.labels(fate).inc()
        if fate == BookingResult.STORED.value:
            self._on_stored(report)
        return fate

    def _read(self, caller: Caller, encoding: str, body: bytes) -> CheckedReport:
        """In the writer's thread, one after the other: the report, if it may be booked. Raises Refusal."""
        try:
            return self._checked(caller, encoding, body)
        except Refusal:
            raise
        except Exception:  # a defect of ours: where it is, once an hour for all
            if time.monotonic() >= self._defect_told:
                self._defect_told = time.monotonic() + _TELL_AGAIN_SECONDS
                _log.exception("a report of %s cannot be read", caller.node)
            reason = "the server cannot read this report, by a defect of its own: its log says where"
            raise Refusal(500, "defect", reason, 60) from None

    def _checked(self, caller: Caller, encoding: str, body: bytes) -> CheckedReport:
        arrival = checks.parse(unpack(body, encoding, self._max_report_bytes))
        report = arrival.report
        if caller.node != report.node:
            bound = f"bound to node {caller.node!r}" if caller.node else "bound to no node"
            raise Refusal(403, "node", f"the token is {bound}, the report is of node {report.node!r}")
        now = int(self._now())
        checks.check(report, self._cluster, self._max_node_watts, now, self._pod_days)
        self._boots.check(report, now)
        return CheckedReport(self._verify(report, now), arrival.digest)

    async def _book(self, read: Callable[[], CheckedReport]) -> tuple[NodeReport, str]:
        try:
            arrival, fate = await self._writer.book(read)
        except LedgerBusy as error:
            raise Refusal(503, "busy", str(error), 2) from None
        except LedgerError as error:
            raise Refusal(503, "ledger", str(error), 10) from None
        report = arrival.report
        if fate is BookingResult.SEALED:
            raise Refusal(422, "sealed", "the window's hour is sealed: it takes no more reports")
        if fate is BookingResult.TOO_MANY:
            raise Refusal(422, "impossible", "the node's hour holds more windows than an hour can have")
        if fate is BookingResult.IMPOSSIBLE:
            raise Refusal(
                422, "impossible", "its hour would hold more energy than a node can draw, or a domain twice its time"
            )
        if fate is BookingResult.TOO_LARGE:
            raise Refusal(
                413, "too_large", f"the report is more than {MAX_ROWS} rows: its gap is too long for its pods"
            )
        if fate is BookingResult.CONFLICT:
            raise Refusal(
                409,
                "conflict",
                f"window {report.window_start} part {report.part} is stored with other content",
            )
        return report, str(fate.value)

    def _tell(self, sender: str, refusal: Refusal) -> None:
        """Once an hour for each sender and reason: a broken agent must not fill the log."""
        key, now = (sender, refusal.kind), time.monotonic()
        if now >= self._told.get(key, 0.0):
            if len(self._told) > 10_000:
                self._told.clear()
            self._told[key] = now + _TELL_AGAIN_SECONDS
            _log.warning("report of %s refused (%d): %s", sender, refusal.status, refusal.reason)
