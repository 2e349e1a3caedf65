"""What the library's thread does: it takes ended spans, writes the log, sends to the server and fetches results.

All that can be slow happens here and nowhere else; `delivery_thread` runs it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.gpu_counter import GpuCounter
from carbonbudget.outgoing_records import OutgoingRecords
from carbonbudget.result_polling import ResultPolling
from carbonbudget.server_link import RequestRefused, ServerAway, ServerLink
from carbonbudget.span_encoding import span_record
from carbonbudget.span_log import SpanLog, pod_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.client_settings import ClientSettings
    from carbonbudget.tracking_session import TrackingSession

_SEND_EVERY_S = 30.0
_WRITE_EVERY_S = 2.0  # what the log does not hold yet is lost when the process is killed
_SAMPLE_EVERY_S = 1.0
_PROGRESS_EVERY_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0


class Delivery:
    """One thread's work for one session; `turn` is one round of it."""

    def __init__(self, session: TrackingSession, settings: ClientSettings, queue: deque[Any]) -> None:
        self._session, self._queue = session, queue
        self._link = ServerLink(settings) if settings.server_url else None
        self._log = SpanLog(settings.log) if settings.log else None
        self._outgoing = {"spans": OutgoingRecords("spans"), "units": OutgoingRecords("units")}
        self._identity = pod_identity() if self._log else {}
        self._gpu = GpuCounter()
        self._has_gpu = self._gpu.open()
        self.results = ResultPolling()
        now_s = time.monotonic()
        self._send_at_s, self._progress_at_s = now_s + _SEND_EVERY_S, now_s
        self._paused_until_s = self._refused_until_s = 0.0  # by ourselves, by the server
        self._pause_s = _FIRST_PAUSE_S
        self._saving = threading.Lock()

    def wait_s(self) -> float:
        """Seconds until there is something to do without being woken."""
        now_s = time.monotonic()
        not_before_s = max(self._paused_until_s, self._refused_until_s)
        due = [self._send_at_s]
        if self._log:
            due.append(now_s + _WRITE_EVERY_S)
        if self._has_gpu:
            due.append(now_s + _SAMPLE_EVERY_S)
        if self._link and (result_due_s := self.results.next_due_s()) is not None:
            due.append(max(result_due_s, not_before_s))
        if self._link and self._session.newest_progress is not None:
            due.append(max(self._progress_at_s, not_before_s))
        return max(0.05, min(due) - now_s)

    def turn(self, asked: bool) -> None:
        """Take what was queued, write it, and send it where that is due or somebody waits for it (`asked`)."""
        if self._has_gpu:
            self._has_gpu = self._gpu.sample()
        self.save(_SEND_EVERY_S)
        now_s = time.monotonic()
        if now_s >= self._send_at_s:
            self._send_at_s = now_s + _SEND_EVERY_S
            self._talk(asked, send=True)
        else:
            self._talk(asked, send=asked)
        self._count_dropped()

    @property
    def empty(self) -> bool:
        """Whether everything that was recorded has been written and sent."""
        waits = self._link is not None and not all(records.empty for records in self._outgoing.values())
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
                kind, named = ("units", entry) if isinstance(entry, tuple) else ("spans", entry.named)
                run, model, version = entry[:3] if kind == "units" else named
                record = entry[3] if kind == "units" else span_record(entry, self._gpu if self._has_gpu else None)
                if self._link:
                    # A count belongs to the pod, whose label names the run.
                    self._outgoing[kind].add(run if kind == "spans" else None, record)
                    if kind == "spans" and self._session.listeners:
                        self.results.want(entry)
                if self._log:
                    named = {"kind": kind[:-1], "run": run, "model": model, "version": version}
                    self._log.add({**{key: value for key, value in named.items() if value}, **self._identity, **record})
            except Exception as error:
                notice_error("recording a span", error)

    def _talk(self, asked: bool, send: bool) -> None:
        now_s = time.monotonic()
        # Who asks for a flush does not wait for our own pause: the process may be at its end.
        not_before_s = self._refused_until_s if asked else max(self._paused_until_s, self._refused_until_s)
        if self._link is None or now_s < not_before_s:
            return
        try:
            if send:
                for kind, records in self._outgoing.items():
                    while not records.empty:
                        self._send(kind, records)
            self._send_progress(now_s)
            due_s = self.results.next_due_s()
            if due_s is not None and due_s <= now_s:
                told = self.results.poll(lambda query: self._ask("GET", f"/v1/self?{query}"))
                self._session.tell(told)
            self._pause_s = _FIRST_PAUSE_S
        except ServerAway as error:
            self._away(error)
        except RequestRefused as error:
            notice("results", f"the server gives no results: {error}")
        finally:
            self._link.close()

    def _send(self, kind: str, records: OutgoingRecords) -> None:
        number, body = records.next_request()
        try:
            answer = self._ask("POST", f"/v1/self/{kind}", body)
        except RequestRefused as error:
            if records.refused(number, error.too_big):
                notice("refused", f"the server refused {number} {kind}: {error}")
            return
        records.sent(number)
        lines = answer.get("refused")
        if isinstance(lines, list) and lines:
            reason = lines[0].get("reason") if isinstance(lines[0], dict) else lines[0]
            notice("refused", f"the server refused {len(lines)} of {number} {kind}: {str(reason)[:200]}")

    def _send_progress(self, now_s: float) -> None:
        newest = self._session.newest_progress
        if newest is None or now_s < self._progress_at_s:
            return
        self._progress_at_s = now_s + _PROGRESS_EVERY_S
        try:
            answer = self._ask("POST", "/v1/self/progress", json.dumps(newest[1]).encode())
        except RequestRefused as error:
            notice("progress", f"the server refused the progress: {error}")
            answer = {}
        if self._session.newest_progress is newest:
            self._session.newest_progress = None
        prediction = answer.get("prediction")
        self._session.predict(newest[0], prediction if isinstance(prediction, dict) else None)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        assert self._link is not None
        return self._link.ask(method, path, body)

    def _away(self, error: ServerAway) -> None:
        """Later: a doubled, random pause, and no earlier than the server asked for."""
        pause_s = self._pause_s * (1 + random.random()) / 2  # noqa: S311 - jitter, not secrecy
        now_s = time.monotonic()
        self._paused_until_s, self._refused_until_s = now_s + pause_s, now_s + error.retry_after_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        notice("away", f"the server cannot be used now, spans are kept and sent later: {error}")
        if (newest := self._session.newest_progress) is not None:
            self._session.predict(newest[0], None)

    def _count_dropped(self) -> None:
        dropped = sum(records.dropped for records in self._outgoing.values()) + self._session.dropped
        if dropped:
            notice(
                "dropped", f"{dropped} or more spans were dropped: too many at once, or the server was away too long"
            )
