"""Receives node reports: authenticates the agent, checks and verifies its report, and commits it to the ledger.

This is the only path by which reports enter the ledger over the network. Every rejected report is counted and logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import prometheus_client as prometheus
from starlette.requests import Request

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ingest import report_checks
from carbonbudget_operator.ingest.boot_conflicts import BootConflicts
from carbonbudget_operator.ingest.caller_authentication import authenticated, tenant_of
from carbonbudget_operator.ingest.connection_peers import PeerKind
from carbonbudget_operator.ingest.node_report_body import parse_report, unpack
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.refused_reports import RefusedReports
from carbonbudget_operator.ingest.request_limits import RequestBytes, RequestShare
from carbonbudget_operator.kube.access_reviews import Access, Caller
from carbonbudget_operator.ledger.booking import BookingResult, CheckedReport
from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.ledger.writer import LedgerBusy, LedgerWriter

_log = logging.getLogger(__name__)
_LOG_AGAIN_SECONDS = 3600.0
_MAX_LOGGED = 10_000


class ReportReceiver:
    """Receives the reports of one cluster.

    `verify` returns a report with its pods as the cluster knows them, at UTC seconds (ReportVerifier.verify).
    `now` returns UTC seconds.
    """

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
        verify: Callable[[NodeReport, int], NodeReport],
        now: Callable[[], float] = time.time,
        pod_days: int = 35,
        on_stored: Callable[[NodeReport], None] = lambda report: None,
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
        self.refused_reports = RefusedReports(int(now()))
        self._boots = BootConflicts()
        self._log_defect_at = 0.0
        self._log_again_at: dict[tuple[str, str], float] = {}

    @asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[tuple[Caller, RequestBytes]]:
        """Authenticate an agent before its body is read, so that only agents can use memory.

        A Refusal that is raised inside the context is counted and logged.

        Raises:
            Refusal: 401 without a valid token, 403 for another account, 503 for too many requests at once, or if the
                API server cannot authenticate.
        """
        sender = "unknown"
        try:
            caller = await authenticated(self._access, request, owner_of=self._owner_of)
            sender = caller.node or caller.user
            if caller.user != self._agent_account:
                raise Refusal(403, "account", f"{caller.user} is not the agents' account {self._agent_account}")
            with self._share.request(sender) as hold:
                yield caller, hold
        except Refusal as refusal:
            self._refused.labels(refusal.kind).inc()
            self.refused_reports.add(sender, refusal, int(self._now()))
            self._log_refusal(sender, refusal)
            raise

    async def receive(self, caller: Caller, encoding: str, body: bytes) -> str:
        """Commit one report; returns "stored" or "duplicate" after the commit.

        Raises:
            Refusal: with status, kind and reason; nothing was stored.
        """
        try:
            booked, result = await self._writer.book(lambda: self._read(caller, encoding, body))
        except LedgerBusy as error:
            raise Refusal(503, "busy", str(error), 2) from None
        except LedgerError as error:
            raise Refusal(503, "ledger", str(error), 10) from None
        report_checks.require_booked(result, booked.report)
        self._accepted.labels(result.value).inc()
        if result is BookingResult.STORED:
            self._on_stored(booked.report)
        return str(result.value)

    def _owner_of(self, caller: Caller) -> tuple[PeerKind, str]:
        """Every pod's token names a node, so a node's name alone shows no agent."""
        if caller.user == self._agent_account and caller.node:
            return PeerKind.AGENT, caller.node
        return PeerKind.CALLER, tenant_of(caller.user)

    def _read(self, caller: Caller, encoding: str, body: bytes) -> CheckedReport:
        """The checked report. Runs in the writer's thread, one report after the other. Raises Refusal."""
        try:
            return self._checked(caller, encoding, body)
        except Refusal:
            raise
        except Exception:  # a defect of the server: its traceback is logged once an hour
            if time.monotonic() >= self._log_defect_at:
                self._log_defect_at = time.monotonic() + _LOG_AGAIN_SECONDS
                _log.exception("a report of %s cannot be read", caller.node)
            reason = "the server cannot read this report, by a defect of its own: its log says where"
            raise Refusal(500, "defect", reason, 60) from None

    def _checked(self, caller: Caller, encoding: str, body: bytes) -> CheckedReport:
        report, digest = parse_report(unpack(body, encoding, self._max_report_bytes))
        if caller.node != report.node:
            bound = f"bound to node {caller.node!r}" if caller.node else "bound to no node"
            raise Refusal(403, "node", f"the token is {bound}, the report is of node {report.node!r}")
        now = int(self._now())
        report_checks.check_report_is_possible(report, self._cluster, self._max_node_watts, now, self._pod_days)
        self._boots.check_and_record(report, now)
        return CheckedReport(self._verify(report, now), digest)

    def _log_refusal(self, sender: str, refusal: Refusal) -> None:
        """Log once an hour for each sender and kind: a broken agent must not fill the log."""
        key, now = (sender, refusal.kind), time.monotonic()
        if now >= self._log_again_at.get(key, 0.0):
            if len(self._log_again_at) > _MAX_LOGGED:
                self._log_again_at.clear()
            self._log_again_at[key] = now + _LOG_AGAIN_SECONDS
            _log.warning("report of %s refused (%d): %s", sender, refusal.status, refusal.reason)
