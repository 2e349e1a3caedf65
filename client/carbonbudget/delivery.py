"""What the library's thread does: it takes ended spans, writes the log, and has the server's part done.

All that can be slow happens here and in `server_delivery`, and nowhere else; `delivery_thread` runs it.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.compact_json import compact_json
from carbonbudget.gpu_counter import GpuCounter
from carbonbudget.span_encoding import span_record
from carbonbudget.span_log import SpanLog, pod_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.client_settings import ClientSettings
    from carbonbudget.server_delivery import ServerDelivery
    from carbonbudget.tracked_span import TrackedSpan
    from carbonbudget.tracking_session import TrackingSession
    from carbonbudget.unit_counts import UnitCounts

_MOST_IDLE_S = 30.0
_WRITE_EVERY_S = 2.0  # what the log does not hold yet is lost when the process is killed
_SAMPLE_EVERY_S = 1.0
_MOST_NAMED = 100
# Units become a record for each name when they are sent, each 30 s. Where nothing is sent:
_COUNT_TO_LOG_EVERY_S = 45.0
_COUNT_EVERY_S = 300.0  # the server is away: 5,000 records are 17 days of one name


class Delivery:
    """One thread's work for one session; `turn` is one round of it. `server` is None without a server."""

    def __init__(
        self,
        session: TrackingSession,
        settings: ClientSettings,
        queue: deque[TrackedSpan],
        units: UnitCounts,
        server: ServerDelivery | None,
    ) -> None:
        self._session, self._queue, self._units, self.server = session, queue, units, server
        self._log = SpanLog(settings.log) if settings.log else None
        self._identity = pod_identity() if self._log else {}
        self._log_heads: dict[tuple[Any, ...], dict[str, str]] = {}
        self._gpu = GpuCounter()
        self._has_gpu = self._gpu.open()
        self._saving = threading.Lock()
        self._count_every_s = _COUNT_TO_LOG_EVERY_S if self._log else _COUNT_EVERY_S
        self._count_at_s = time.monotonic() + self._count_every_s

    def wait_s(self) -> float:
        """Seconds until there is something to do without being woken."""
        now_s = time.monotonic()
        due = [now_s + _MOST_IDLE_S if self.server is None else self.server.due_s()]
        if self._log:
            due.append(now_s + _WRITE_EVERY_S)
        if self._has_gpu:
            due.append(now_s + _SAMPLE_EVERY_S)
        return max(0.05, min(due) - now_s)

    def turn(self, asked: bool) -> None:
        """Take what was queued, write it, and send it where that is due or somebody waits for it (`asked`)."""
        if self._has_gpu:
            self._has_gpu = self._gpu.sample()
        self.save(_MOST_IDLE_S, units=asked or self._counts())
        if self.server is not None:
            self.server.turn(asked)
        self._count_dropped()

    def _counts(self) -> bool:
        """Whether the units of this turn become records: just before they are sent, or when they have waited long."""
        is_sent = self.server is not None and self.server.sends()
        return is_sent or time.monotonic() >= self._count_at_s

    @property
    def empty(self) -> bool:
        """Whether everything that was recorded has been written and sent."""
        waits = self.server is not None and not self.server.empty
        return not (waits or self._queue) and self._units.empty and (self._log is None or self._log.empty)

    def save(self, wait_s: float, units: bool) -> None:
        """Take what was queued, with the sums of units if `units`, and write the log.

        At the exit of a process its own thread does it, if ours is busy.
        """
        if not self._saving.acquire(timeout=wait_s):
            return
        try:
            self._take_spans()
            if units:
                self._count_at_s = time.monotonic() + self._count_every_s
                self._take_units()
            if self._log:
                self._log.write()
        except OSError as error:
            path = self._log.path if self._log else ""
            notice("log", f"{path} cannot be written, spans may be lost: {error.strerror or error}")
        finally:
            self._saving.release()

    def _take_spans(self) -> None:
        queue = self._queue
        for _ in range(len(queue)):
            try:
                span = queue.popleft()
            except IndexError:
                return
            try:
                record = span_record(span, self._gpu if self._has_gpu else None)
                text = compact_json(record)
                if self.server is not None:
                    self.server.outgoing["spans"].add(span.named[0], text)
                    if self._session.listeners:
                        self.server.results.want(span)
                if self._log:
                    self._log.add(self._log_head("span", span.named), record, text)
            except Exception as error:
                notice_error("recording a span", error)

    def _take_units(self) -> None:
        for named, counted in self._units.take():
            record = {"id": self._session.identifier(), **counted}
            text = compact_json(record)
            if self.server is not None:
                # A count belongs to the pod, whose label names the run.
                self.server.outgoing["units"].add(None, text, worth=counted["count"])
            if self._log:
                self._log.add(self._log_head("unit", named), record, text)

    def _log_head(self, kind: str, named: tuple[str | None, ...]) -> dict[str, str]:
        """What a line of the log says before the record itself; the same object for the same run."""
        head = self._log_heads.get((kind, *named))
        if head is None:
            if len(self._log_heads) >= _MOST_NAMED:
                self._log_heads.clear()
            given = zip(("run", "model", "version"), named)
            head = {"kind": kind, **{name: value for name, value in given if value}, **self._identity}
            self._log_heads[(kind, *named)] = head
        return head

    def _count_dropped(self) -> None:
        dropped = {"spans": self._session.dropped, "units": self._units.dropped}
        if self.server is not None:
            dropped = {kind: number + self.server.outgoing[kind].dropped for kind, number in dropped.items()}
        found = {kind: f"{number} or more {kind}" for kind, number in dropped.items() if number}
        if found:
            why = "too many at once, the server was away too long, or it refused them"
            # One line for both, and again if units are dropped after spans.
            notice(f"dropped {' '.join(found)}", f"{' and '.join(found.values())} were dropped: {why}")
