"""What the library's thread does with a server: it sends spans, units and progress, and fetches results.

Imported only where there is a server: TLS and HTTP take longer to import than hundreds of spans take to record.
"""

from __future__ import annotations

import json
import random
import time

from carbonbudget.client_notices import notice
from carbonbudget.outgoing_records import OutgoingRecords
from carbonbudget.result_polling import ResultPolling
from carbonbudget.server_link import RequestRefused, ServerAway, ServerLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carbonbudget.client_settings import ClientSettings
    from carbonbudget.tracking_session import TrackingSession

_SEND_EVERY_S = 30.0
_PROGRESS_EVERY_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0


class ServerDelivery:
    """What waits for the server, and when it is sent. Only the library's thread calls `turn`."""

    def __init__(self, session: TrackingSession, settings: ClientSettings) -> None:
        self._session, self._link = session, ServerLink(settings)
        self.outgoing = {"spans": OutgoingRecords("spans"), "units": OutgoingRecords("units")}
        self.results = ResultPolling()
        now_s = time.monotonic()
        self._send_at_s, self._progress_at_s = now_s + _SEND_EVERY_S, now_s
        self._paused_until_s = self._refused_until_s = 0.0  # by ourselves, by the server
        self._pause_s = _FIRST_PAUSE_S

    @property
    def empty(self) -> bool:
        """Whether everything was sent."""
        return all(records.empty for records in self.outgoing.values())

    def sends(self) -> bool:
        """Whether it is time to send all that waits, and neither the server nor we ask for a pause."""
        now_s = time.monotonic()
        return now_s >= max(self._send_at_s, self._paused_until_s, self._refused_until_s)

    def due_s(self) -> float:
        """When there is something to do, in `time.monotonic`."""
        not_before_s = max(self._paused_until_s, self._refused_until_s)
        due = [self._send_at_s]
        if (result_due_s := self.results.next_due_s()) is not None:
            due.append(max(result_due_s, not_before_s))
        if self._session.newest_progress is not None:
            due.append(max(self._progress_at_s, not_before_s))
        return min(due)

    def turn(self, asked: bool) -> None:
        """Send what is due, or all of it where somebody waits (`asked`)."""
        now_s = time.monotonic()
        is_due = now_s >= self._send_at_s
        if is_due:
            self._send_at_s = now_s + _SEND_EVERY_S
        # Who asks for a flush does not wait for our own pause: the process may be at its end.
        if now_s < (self._refused_until_s if asked else max(self._paused_until_s, self._refused_until_s)):
            return
        try:
            for kind, records in self.outgoing.items():
                # Full requests go at once: thousands of spans a minute would not find room until the next turn.
                while records.full_request or (not records.empty and (is_due or asked)):
                    self._send(kind, records)
            self._send_progress(now_s)
            due_s = self.results.next_due_s()
            if due_s is not None and due_s <= now_s:
                told = self.results.poll(lambda query: self._link.ask("GET", f"/v1/self?{query}"))
                self._session.tell(told)
            self._pause_s = _FIRST_PAUSE_S
        except ServerAway as error:
            self._away(error)
        except RequestRefused as error:
            notice("results", f"the server gives no results: {error}")

    def _send(self, kind: str, records: OutgoingRecords) -> None:
        number, body = records.next_request()
        try:
            answer = self._link.ask("POST", f"/v1/self/{kind}", body)
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
            answer = self._link.ask("POST", "/v1/self/progress", json.dumps(newest[1]).encode())
        except RequestRefused as error:
            notice("progress", f"the server refused the progress: {error}")
            answer = {}
        if self._session.newest_progress is newest:
            self._session.newest_progress = None
        prediction = answer.get("prediction")
        self._session.predict(newest[0], prediction if isinstance(prediction, dict) else None)

    def _away(self, error: ServerAway) -> None:
        """Later: a doubled, random pause, and no earlier than the server asked for."""
        pause_s = self._pause_s * (1 + random.random()) / 2  # noqa: S311 - jitter, not secrecy
        now_s = time.monotonic()
        self._paused_until_s, self._refused_until_s = now_s + pause_s, now_s + error.retry_after_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        notice("away", f"the server cannot be used now, spans are kept and sent later: {error}")
        if (newest := self._session.newest_progress) is not None:
            self._session.predict(newest[0], None)
