"""What the library's thread does with a server: it sends spans, units and progress, and fetches results.

Imported only where there is a server: TLS and HTTP take longer to import than hundreds of spans take to record.
"""

from __future__ import annotations

import json
import time

from carbonbudget.client_notices import notice
from carbonbudget.outgoing_records import OutgoingRecords
from carbonbudget.request_pause import RequestPause
from carbonbudget.result_polling import ResultPolling
from carbonbudget.server_link import EndpointMissing, RequestRefused, ServerAway, ServerLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.client_settings import ClientSettings
    from carbonbudget.tracking_session import TrackingSession

_SEND_EVERY_S = 30.0
_PROGRESS_EVERY_S = 10.0
_MISSING_S = 3_600.0  # until an endpoint that the server lacked is asked for again: it may have been upgraded


class ServerDelivery:
    """What waits for the server, and when it is sent. Only the library's thread calls `turn`.

    Each kind of request has a pause of its own, so that one that the server cannot answer now, or does not have, stops
    none of the others. A server that gives no answer at all stops all of them.
    """

    def __init__(self, session: TrackingSession, settings: ClientSettings) -> None:
        self._session, self._link = session, ServerLink(settings)
        self.outgoing = {"spans": OutgoingRecords("spans"), "units": OutgoingRecords("units")}
        self.results = ResultPolling()
        now_s = time.monotonic()
        self._send_at_s, self._progress_at_s = now_s + _SEND_EVERY_S, now_s
        self._pauses = {kind: RequestPause() for kind in (*self.outgoing, "progress", "results")}
        self._no_answer = RequestPause()
        self._missing_until_s = dict.fromkeys(self._pauses, 0.0)

    @property
    def empty(self) -> bool:
        """Whether everything was sent."""
        return all(records.empty for records in self.outgoing.values())

    def sends(self) -> bool:
        """Whether it is time to send the units that wait, and neither the server nor we ask for a pause."""
        return time.monotonic() >= max(self._send_at_s, self._until_s("units"))

    def due_s(self) -> float:
        """When there is something to do, in `time.monotonic`."""
        due = [self._send_at_s]
        if (result_due_s := self.results.next_due_s()) is not None:
            due.append(max(result_due_s, self._until_s("results"), self._missing_until_s["results"]))
        if self._session.newest_progress is not None:
            due.append(max(self._progress_at_s, self._until_s("progress")))
        return min(due)

    def turn(self, asked: bool) -> None:
        """Send what is due, or all of it where somebody waits (`asked`)."""
        now_s = time.monotonic()
        is_due = now_s >= self._send_at_s
        if is_due:
            self._send_at_s = now_s + _SEND_EVERY_S
        missing: list[str] = []
        for kind in self._pauses:
            if now_s < self._missing_until_s[kind]:
                self._drop(kind)
                continue
            if now_s < self._until_s(kind, asked):
                continue
            try:
                self._do(kind, now_s, is_due or asked)
            except EndpointMissing:
                self._missing_until_s[kind] = now_s + _MISSING_S
                self._drop(kind)
                missing.append(kind)
            except ServerAway as error:
                self._away(kind, error)
                if not error.answered:
                    break
        if missing:
            named = ", ".join(missing)
            notice(
                f"missing {named}",
                f"the server does not have /v1/self for {named}: upgrade it, or correct CARBONBUDGET_SERVER_URL; "
                "until then they are dropped, and the server is asked again each hour",
            )

    def _until_s(self, kind: str, asked: bool = False) -> float:
        """When a pause of this kind, or of all, is over."""
        return max(self._no_answer.until_s(asked), self._pauses[kind].until_s(asked))

    def _do(self, kind: str, now_s: float, everything: bool) -> None:
        """Send or ask what is due of one kind. Raises ServerAway and EndpointMissing."""
        if kind == "progress":
            self._send_progress(now_s)
        elif kind == "results":
            self._fetch_results(now_s)
        else:
            records = self.outgoing[kind]
            # Full requests go at once: thousands of spans a minute would not find room until the next turn.
            while records.full_request or (not records.empty and everything):
                self._send(kind, records)

    def _ask(self, kind: str, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer = self._link.ask(method, path, body)
        self._pauses[kind].worked()
        self._no_answer.worked()
        return answer

    def _drop(self, kind: str) -> None:
        """Give up what waits of a kind that the server does not have. Results stay wanted: they cost nothing."""
        if kind in self.outgoing:
            self.outgoing[kind].drop()
        elif kind == "progress" and (newest := self._session.newest_progress) is not None:
            self._session.newest_progress = None
            self._session.predict(newest[0], None)

    def _send(self, kind: str, records: OutgoingRecords) -> None:
        number, body = records.next_request()
        try:
            answer = self._ask(kind, "POST", f"/v1/self/{kind}", body)
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
            answer = self._ask("progress", "POST", "/v1/self/progress", json.dumps(newest[1]).encode())
        except RequestRefused as error:
            notice("progress", f"the server refused the progress: {error}")
            answer = {}
        if self._session.newest_progress is newest:
            self._session.newest_progress = None
        prediction = answer.get("prediction")
        self._session.predict(newest[0], prediction if isinstance(prediction, dict) else None)

    def _fetch_results(self, now_s: float) -> None:
        due_s = self.results.next_due_s()
        if due_s is None or due_s > now_s:
            return
        try:
            told = self.results.poll(lambda query: self._ask("results", "GET", f"/v1/self?{query}"))
        except RequestRefused as error:
            notice("results", f"the server gives no results: {error}")
        else:
            self._session.tell(told)

    def _away(self, kind: str, error: ServerAway) -> None:
        """Later: a doubled, random pause, and no earlier than the server asked for."""
        pause = self._pauses[kind] if error.answered else self._no_answer
        pause.failed(time.monotonic(), error.retry_after_s)
        notice("away", f"the server cannot be used now ({kind}), what waits is kept and sent later: {error}")
        newest = self._session.newest_progress
        if newest is not None and (kind == "progress" or not error.answered):
            self._session.predict(newest[0], None)
