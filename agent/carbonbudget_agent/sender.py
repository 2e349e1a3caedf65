"""The sender: a thread that sends the reports of the outbox to the server, oldest first.

After 2xx the ledger has the report, and its file is deleted. After 400, 409, 413 and 422 the server will never accept
it: the report is set aside and counted. After any other answer, or none, it is sent again with backoff. If one report
goes on failing while the server accepts another, it is delayed: it stays on disk, is sent again each hour, and no other
report waits for it. No error ends the thread, because that would be noticed only when the outbox is full.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from carbonbudget_agent.https_client import Endpoint, retry_after_seconds
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.backoff import Backoff
from carbonbudget_core.jsons import parse_json

_log = logging.getLogger(__name__)
_FINAL = frozenset({400, 409, 413, 422})
_TOO_EARLY = 425  # the window ends in the server's future: one of the two clocks is wrong
_MAX_BACKOFF_SECONDS = 60.0
# After this many tries over this time, another report is sent to find out whether the fault is this report's.
_STUCK_TRIES, _STUCK_SECONDS = 5, 60.0
_DELAYED_SECONDS = 3600.0
_MAX_DELAYED_TRIES = 20  # in an hour
_CATCH_UP_PAUSE_SECONDS = 0.05  # a day of windows in about a minute and a half, and no flood


@dataclass(frozen=True, slots=True)
class _Blocked:
    """What stopped the sending: the status (0: no answer), and the seconds that the server asked to wait."""

    status: int
    retry_after: int = 0


class _Stuck:
    """Counts how often and for how long the oldest report has failed."""

    def __init__(self) -> None:
        self._name, self._tries, self._since = "", 0, 0.0

    def failed(self, name: str, now: float) -> bool:
        """Count one more failure. Returns whether the report has failed often enough and for long enough."""
        if name != self._name:
            self._name, self._tries, self._since = name, 0, now
        self._tries += 1
        return self._tries >= _STUCK_TRIES and now - self._since >= _STUCK_SECONDS


class Sender:
    """`spread_seconds`: how far apart the nodes of a cluster send after a window's end, by their name.

    `stop` ends the thread, which also waits on it: a test passes one that counts the pauses. `now` returns seconds of a
    steady clock.
    """

    def __init__(
        self,
        server: Endpoint,
        outbox: Outbox,
        counts: WorkCounters,
        node: str,
        spread_seconds: float,
        stop: threading.Event | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._outbox, self._counts = server, outbox, counts
        self._delay = spread_seconds * (zlib.crc32(node.encode()) % 1000) / 1000
        self._wake, self._stop = threading.Event(), stop or threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._logged: set[int] = set()
        self._now, self._delayed_due, self._delayed_last = now, now(), ""
        self._stuck = _Stuck()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Send soon: a window was closed."""
        self._wake.set()

    def finish(self, seconds: float) -> None:
        """Send the queued reports at once, for at most `seconds`; the rest stays in the outbox."""
        self._stop.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        backoff = Backoff(1.0, _MAX_BACKOFF_SECONDS)
        while True:
            stopping = self._stop.is_set()
            blocked = self._send_all()
            if stopping:
                self._close()
                return
            if self._stop.is_set():
                continue  # once more: the last part may have come after the names were listed
            if blocked is None:
                backoff.reset()
                self._send_delayed()
                self._wake.wait()
                self._wake.clear()
                self._stop.wait(self._delay)
                continue
            pause = backoff.pause_seconds(blocked.retry_after)
            if blocked.status == _TOO_EARLY:  # reports older than the rejected window need not wait
                self._wake.wait(pause)
                self._wake.clear()
            else:
                self._stop.wait(pause)

    def _send_all(self) -> _Blocked | None:
        """Send until the outbox is empty (None) or a report cannot be sent."""
        names = self._outbox.names()
        for number, name in enumerate(names):
            blocked = self._try(name)
            if blocked is not None and not self._sent_or_delayed(name, names[number + 1 :], blocked):
                return blocked
            self._stop.wait(_CATCH_UP_PAUSE_SECONDS)
        return None

    def _try(self, name: str) -> _Blocked | None:
        """Send one report. None if it has left the outbox."""
        try:
            return self._send(name)
        except (OSError, ValueError, http.client.HTTPException) as error:
            # ValueError: the token cannot be a header, or a header is not a number.
            self._close()
            self._counts.send_errors += 1
            self._log_once(0, f"reports cannot be sent to {self._server.url}: {error}")
            return _Blocked(0)

    def _sent_or_delayed(self, name: str, later: list[str], blocked: _Blocked) -> bool:
        """Whether a report that failed was delayed, or was sent after all.

        It is delayed only if it has failed for a while and fails once more just after another report was accepted. A
        server that is down or overloaded fails all of them.
        """
        if blocked.status == _TOO_EARLY or not self._stuck.failed(name, self._now()):
            return False
        probes = dict.fromkeys([*later[:1], *later[-1:]])  # the newest too: several in a row may have the same fault
        if all(self._try(probe) is not None for probe in probes):
            return False
        if self._try(name) is None:
            return True
        try:
            self._outbox.delay(name)
        except OSError as error:
            _log.error("report %s cannot be set aside: %s", name, error)
            return False
        self._counts.delayed += 1
        _log.error(
            "the server fails at report %s (status %d) and takes others: it is set aside and tried again each hour; "
            "the server's log says why",
            name,
            blocked.status,
        )
        return True

    def _send_delayed(self) -> None:
        """Send the delayed reports again once an hour, a limited number in turn."""
        if self._now() < self._delayed_due:
            return
        self._delayed_due = self._now() + _DELAYED_SECONDS
        names = self._outbox.delayed()
        in_turn = [name for name in names if name > self._delayed_last] + [n for n in names if n <= self._delayed_last]
        for name in in_turn[:_MAX_DELAYED_TRIES]:
            self._delayed_last = name
            self._try(name)
            self._stop.wait(_CATCH_UP_PAUSE_SECONDS)

    def _send(self, name: str) -> _Blocked | None:
        """Send one report. None if it has left the outbox. Raises OSError, ValueError or HTTPException."""
        body = self._outbox.read(name)
        if body is None:
            return None
        status, reason, retry_after = self._post(body)
        if 200 <= status < 300:
            self._outbox.remove(name)
            self._counts.sent += 1
            if self._logged:
                _log.info("the server takes reports again")
            self._logged.clear()
            return None
        self._counts.refused[status] += 1
        self._log_once(status, f"the server answered {status}: {reason}")
        if status not in _FINAL:
            return _Blocked(status, retry_after)
        self._outbox.set_aside(name, "rejected")
        return None

    def _post(self, body: bytes) -> tuple[int, str, int]:
        headers = self._server.headers() | {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        reused = self._connection is not None
        if self._connection is None:
            self._connection = self._server.connect()
        try:
            return self._exchange(gzip.compress(body, 5), headers)
        except (OSError, http.client.HTTPException):
            self._close()
            if not reused:
                raise
        # The server may have closed the reused connection meanwhile: send once more on a new one.
        self._connection = self._server.connect()
        return self._exchange(gzip.compress(body, 5), headers)

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, int]:
        connection = self._connection
        assert connection is not None
        connection.request("POST", self._server.path("/v1/reports"), body=body, headers=headers)
        response = connection.getresponse()
        text = response.read(65_536)
        asked = retry_after_seconds(response.headers.get("Retry-After", ""), time.time())
        return response.status, _reason(text), asked

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _log_once(self, status: int, message: str) -> None:
        if status not in self._logged:  # once, until a report is accepted again
            _log.warning("%s (%s)", message, time.strftime("%H:%M:%S", time.gmtime()))
        self._logged.add(status)


def _reason(text: bytes) -> str:
    """The server's one-line reason."""
    try:
        value = parse_json(text)
        return str(value["reason"])[:300]
    except (ValueError, KeyError, TypeError):
        return text[:120].decode("utf-8", "replace")
