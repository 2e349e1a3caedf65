"""Runs the exports of a server: a task for each target, and one thread and two database connections for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from carbonbudget_core.backoff import Backoff
from carbonbudget_operator.export_settings import AnyExportTarget, InfluxTargetSettings
from carbonbudget_operator.exports.export_hours import HourPlanner
from carbonbudget_operator.exports.export_metrics import ExportMetrics
from carbonbudget_operator.exports.export_target_http import TargetAway, TargetHttp, write_url
from carbonbudget_operator.exports.export_target_sender import TargetFormat, TargetSender
from carbonbudget_operator.exports.line_protocol import LineProtocol
from carbonbudget_operator.exports.remote_write import RemoteWrite
from carbonbudget_operator.ledger.export_cursor import ExportCursor
from carbonbudget_operator.ledger.ledger_engine import LedgerReplaced, ledger_errors, open_ledger
from carbonbudget_operator.line_protocol_text import tag_name
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_PAUSE_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 300.0
_CONNECTIONS: Final = 2

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Exports:
    """The exports of the settings. Without targets nothing is opened."""

    def __init__(self, settings: Settings, book: ValuedReader, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._metrics = ExportMetrics(registry)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="exports")
        self._engine: sa.Engine | None = None
        self._book = book
        if settings.exports:
            self._engine = open_ledger(settings.server.ledger, _CONNECTIONS)
            self._book = book.on(self._engine)

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """What to run until the server ends: one for each target."""
        holder = uuid.uuid4().hex
        return [self._send_to(target, holder) for target in self._settings.exports]

    def close(self) -> None:
        """Close the connections. The tasks were cancelled before."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()

    async def _send_to(self, target: AnyExportTarget, holder: str) -> None:
        http, sender = self.sender(target, holder)
        try:
            await keep_sending(target.name, sender.send_step, self._metrics)
        finally:
            await http.close()

    def sender(self, target: AnyExportTarget, holder: str) -> tuple[TargetHttp, TargetSender]:
        """The parts that send to a target."""
        cluster = self._settings.cluster
        made: TargetFormat
        if isinstance(target, InfluxTargetSettings):
            url, made = write_url(target), LineProtocol(cluster)
        else:
            url, made = target.url, RemoteWrite(cluster)
        http = TargetHttp(target, url, made.headers)
        cursor = ExportCursor(self._book.engine, cluster, target.name, holder)
        labels = {label: tag_name(label) for label in target.labels}
        planner = HourPlanner(self._book, cursor, labels, cluster)
        return http, TargetSender(
            target.name, planner, cursor, made, http, self._metrics, self._in_thread, target.backfill_days,
            target.batch_rows,
        )  # fmt: skip

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with ledger_errors(self._book.engine):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)


async def keep_sending(
    name: str, step: Callable[[int], Coroutine[None, None, bool]], metrics: ExportMetrics,
    sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
) -> None:  # fmt: skip
    """Send again and again. A failure is counted, logged once until a step succeeds again, and stops nothing else."""
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    is_failing = False
    while True:
        asked_seconds = 0
        try:
            more = await step(int(time.time()))
        except LedgerReplaced:  # the server logs it, once for all that it does
            await sleep(_PAUSE_SECONDS)
            continue
        except Exception as error:
            metrics.failures.labels(name).inc()
            if not is_failing:
                _log.error("export %s: %s; nothing is lost, it is tried again", name, error or type(error).__name__)
            is_failing = True
            if isinstance(error, TargetAway):
                asked_seconds = error.asked_seconds
            await sleep(backoff.pause_seconds(asked_seconds))
            continue
        if is_failing:
            _log.info("export %s: sending again", name)
        is_failing = False
        backoff.reset()
        await sleep(0 if more else _PAUSE_SECONDS)
