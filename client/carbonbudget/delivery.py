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
    from carbonbudget.tracking_session import TrackingSession

_MOST_IDLE_S = 30.0
_WRITE_EVERY_S = 2.0  # what the log does not hold yet is lost when the process is killed
_SAMPLE_EVERY_S = 1.0
_MOST_NAMED = 100


class Delivery:
    """One thread's work for one session; `turn` is one round of it. `server` is None without a server."""

    def __init__(
        self, session: TrackingSession, settings: ClientSettings, queue: deque[Any], server: ServerDelivery | None
    ) -> None:
        self._session, self._queue, self.server = session, queue, server
        self._log = SpanLog(settings.log) if settings.log else None
        self._identity = pod_identity() if self._log else {}
        self._log_heads: dict[tuple[Any, ...], dict[str, str]] = {}
        self._gpu = GpuCounter()
        self._has_gpu = self._gpu.open()
        self._saving = threading.Lock()

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
        self.save(_MOST_IDLE_S)
        if self.server is not None:
            self.server.turn(asked)
        self._count_dropped()

    @property
    def empty(self) -> bool:
        """Whether everything that was recorded has been written and sent."""
        waits = self.server is not None and not self.server.empty
        return not (waits or self._queue) and (self._log is None or self._log.empty)

    def save(self, wait_s: float) -> None:
        """Take what was queued and write the log. At the exit of a process its own thread does it, if ours is busy."""
        if not self._saving.acquire(timeout=wait_s):
            return
        try:
            self._take()
            if self._log:
                self._log.write()
        except OSError as error:
            path = self._log.path if self._log else ""
            notice("log", f"{path} cannot be written, spans may be lost: {error.strerror or error}")
        finally:
            self._saving.release()

    def _take(self) -> None:
        queue = self._queue
        for _ in range(len(queue)):
            try:
                entry = queue.popleft()
            except IndexError:
                return
            try:
                if isinstance(entry, tuple):
                    kind, named, record = "unit", entry[:3], entry[3]
                else:
                    kind, named = "span", entry.named
                    record = span_record(entry, self._gpu if self._has_gpu else None)
                text = compact_json(record)
                if self.server is not None:
                    # A count belongs to the pod, whose label names the run.
                    self.server.outgoing[f"{kind}s"].add(named[0] if kind == "span" else None, text)
                    if kind == "span" and self._session.listeners:
                        self.server.results.want(entry)
                if self._log:
                    self._log.add(self._log_head(kind, named), record, text)
            except Exception as error:
                notice_error("recording a span", error)

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
        dropped = self._session.dropped + (0 if self.server is None else self.server.dropped)
        if dropped:
            notice(
                "dropped", f"{dropped} or more spans were dropped: too many at once, or the server was away too long"
            )
