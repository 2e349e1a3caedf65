"""Sends the closed hours that a target lacks, one step at a time. One server sends; the ledger is the queue.

An hour is marked as sent after the target has all of it. A server that ends before that sends the hour again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from carbonbudget_operator.exports.export_hours import HourContent, HourPlanner
from carbonbudget_operator.exports.export_metrics import ExportMetrics
from carbonbudget_operator.exports.export_target_http import RowsRefused
from carbonbudget_operator.exports.exported_rows import ExportedRows, packed
from carbonbudget_operator.ledger.export_cursor import LEASE_SECONDS, ExportCursor, LeaseLost
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.upkeep import FailedUnits

_STEP_SECONDS: Final = 20.0  # then the next hour waits for the next step
_DAY: Final = 86_400
# After so many refused rows with none accepted between them, parts are sent whole until one is accepted.
_REFUSED_IN_A_ROW: Final = 64

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class TargetFormat(Protocol):
    """How rows are written for a kind of target."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of each request."""

    def pieces(self, hour: int, rows: ExportedRows, revision: int) -> Iterator[bytes]:
        """The points or series of an hour, each by itself."""

    def closing(self, hour: int, revision: int) -> bytes | None:
        """What is sent when the target has all of them."""

    def body(self, pieces: Sequence[bytes]) -> bytes:
        """The body of a request with these."""


class BodySender(Protocol):
    """Sends bodies to a target."""

    async def send(self, body: bytes) -> RowsRefused | None:
        """Send one; None if the target has it. Raises TargetAway."""


@dataclass(slots=True)
class _Begun:
    """An hour that was begun, and how many of its batches the target has."""

    hour: int
    revision: int
    digest: str
    done: int = 0


class TargetSender:
    """Sends to one target. `in_thread` runs work with the ledger, and compression, in the exports' own thread."""

    def __init__(
        self, name: str, planner: HourPlanner, cursor: ExportCursor, format_: TargetFormat, target: BodySender,
        metrics: ExportMetrics, in_thread: Callable[[Callable[[], object]], Awaitable[object]],
        backfill_days: int = 35, batch_rows: int = 5000,
    ) -> None:  # fmt: skip
        self._name, self._planner, self._cursor, self._format, self._target = name, planner, cursor, format_, target
        self._metrics, self._in_thread = metrics, in_thread
        self._backfill_days, self._batch_rows = backfill_days, batch_rows
        self._begun: _Begun | None = None
        self._renew_at = 0.0
        self._began = (0, 0.0)
        self._is_refusing = False
        self._rows_that_fit = 0  # in a request, by the last batch that was too large; 0: all
        self._forgot_at = 0
        self._failed = FailedUnits()
        metrics.add(name)

    async def send_step(self, now: int, seconds: float = _STEP_SECONDS) -> bool:
        """Send hours for about `seconds`; whether there are more.

        Raises:
            TargetAway: the target takes nothing now.
            LedgerError: the ledger cannot be read or written.
        """
        first_hour = max(0, now - self._backfill_days * _DAY) // HOUR * HOUR
        first = await self._run(lambda: self._cursor.acquire(now, first_hour))
        if first is None:
            self._metrics.behind(self._name, 0, None)  # of the server that sends
            return False
        self._began = (now, time.monotonic())
        self._renew_at = time.monotonic() + LEASE_SECONDS / 4
        try:
            return await self._send_hours(first, now, time.monotonic() + seconds)
        except LeaseLost as lost:
            _log.warning("export %s: %s", self._name, lost)
            return False

    async def _send_hours(self, first: int, now: int, until: float) -> bool:
        plan = await self._run(lambda: self._planner.plan(first, now))
        self._metrics.behind(self._name, plan.waiting, plan.closed_at)
        aside = self._failed.waiting(now)
        ready = [hour for hour in plan.ready if (HOURS, hour) not in aside]
        for hour in ready:
            if time.monotonic() >= until:
                return True
            await self._send_hour(hour)
        if ready:
            plan = await self._run(lambda: self._planner.plan(first, now))
            self._metrics.behind(self._name, plan.waiting, plan.closed_at)
        if now - self._forgot_at >= HOUR:
            await self._run(lambda: self._cursor.forget(plan.oldest, plan.final))
            self._forgot_at = now
        return False

    async def _send_hour(self, hour: int) -> None:
        try:
            content = await self._run(lambda: self._planner.content(hour))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an hour that cannot be valued
            self._failed.fail((HOURS, hour), self._now())
            self._metrics.failures.labels(self._name).inc()
            _log.error("export %s: hour %s cannot be read: %r; the others are sent", self._name, hour, error)
            return
        self._failed.done((HOURS, hour))
        if content is None:
            return
        state = content.state
        if state.is_sent:  # other facts or settings, the same figures
            await self._run(lambda: self._cursor.finish(hour, state.version, None, self._now()))
            return
        await self._run(lambda: self._cursor.begin(hour, state, packed(content.rows), self._now()))
        await self._send_content(hour, content)
        await self._run(lambda: self._cursor.finish(hour, state.version, content.present, self._now()))

    async def _send_content(self, hour: int, content: HourContent) -> None:
        state, begun = content.state, self._begun
        if begun is None or (begun.hour, begun.revision, begun.digest) != (hour, state.revision, state.digest):
            begun = self._begun = _Begun(hour, state.revision, state.digest)
            self._rows_that_fit *= 2  # the target's limit may have grown
        pieces = self._format.pieces(hour, content.rows, state.revision)
        number = 0
        while batch := await self._run(lambda: list(islice(pieces, self._batch_rows))):
            number += 1
            if number > begun.done:  # after a failure, go on where it was
                await self._deliver(batch)
                begun.done = number
        if number and (closing := self._format.closing(hour, state.revision)) is not None:
            await self._deliver([closing])
        self._begun = None

    async def _deliver(self, batch: list[bytes]) -> None:
        """Send a batch. If it is refused, send its halves in order, so that one refused row holds back no other one."""
        size = self._rows_that_fit or len(batch)
        parts = [batch[at : at + size] for at in range(0, len(batch), size)][::-1]  # the last one is sent next
        in_a_row, largest, was_large, was_refused = 0, 0, False, False
        while parts:
            part = parts.pop()
            await self._renew()
            body = await self._run(lambda: self._format.body(part))  # noqa: B023 - awaited before the next one
            refused = await self._target.send(body)
            if refused is None:
                in_a_row, largest = 0, max(largest, len(part))
                self._metrics.batches.labels(self._name).inc()
                self._metrics.rows.labels(self._name).inc(len(part))
                continue
            was_refused = True
            was_large = was_large or refused.is_too_large
            may_split = in_a_row < _REFUSED_IN_A_ROW or (refused.is_too_large and largest > 0)
            if len(part) > 1 and may_split:
                middle = len(part) // 2
                parts += (part[middle:], part[:middle])
                continue
            in_a_row += 1
            self._refuse(len(part), refused.reason)
        if was_large and largest:
            self._rows_that_fit = largest
        self._is_refusing = self._is_refusing and was_refused

    def _refuse(self, rows: int, reason: str) -> None:
        self._metrics.refused.labels(self._name).inc(rows)
        if not self._is_refusing:
            self._is_refusing = True
            _log.error(
                "export %s refuses rows, which it will not get: %s; the others are sent, and "
                "carbonbudget_export_rows_refused_total counts these", self._name, reason,
            )  # fmt: skip

    async def _renew(self) -> None:
        """Keep the lease while an hour takes long. Raises LeaseLost."""
        if time.monotonic() >= self._renew_at:
            await self._run(lambda: self._cursor.renew(self._now()))
            self._renew_at = time.monotonic() + LEASE_SECONDS / 4

    def _now(self) -> int:
        """The UTC second, by the time of the step's beginning."""
        return self._began[0] + int(time.monotonic() - self._began[1])

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await self._in_thread(work)  # type: ignore[return-value]
