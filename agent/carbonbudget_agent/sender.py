"""The sender: a thread that sends the reports of the outbox to the server, oldest first.

After 2xx the ledger has the report, and its file is deleted. After 409 no server will ever accept it: the report is
rejected. After 400, 413 and 422 this server refuses it with its present version and settings: the report is delayed.
It stays on disk, is sent again in turn, and no other report waits for it. After any other answer, or none, a report
is sent again with backoff, and delayed if it goes on failing while the server accepts another. No error ends the
thread, because that would be noticed only when the outbox is full.
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

from carbonbudget_agent.delayed_turns import DelayedTurns
from carbonbudget_agent.https_client import Endpoint, retry_after_seconds
from carbonbudget_agent.outbox import Outbox, window_start
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.backoff import Backoff
from carbonbudget_core.jsons import parse_json

_log = logging.getLogger(__name__)
_CONFLICT = 409  # the ledger has that window with other content
# By another version of the server or with other settings the report may be accepted: its cluster, its node's power.
_REFUSED = frozenset({400, 413, 422})
_OLDEST_SECONDS = 35 * 86_400  # what is refused and older than this is too old for a server, whatever its settings
_NOT_NOW = frozenset({0, 401, 408, 429, 503})  # no answer, no login yet, too many at once: not about this report
_TOO_EARLY = 425  # the window ends in the server's future: one of the two clocks is wrong
_MAX_BACKOFF_SECONDS = 60.0
# After this many tries over this time, another report is sent to find out whether the fault is this report's.
_STUCK_TRIES, _STUCK_SECONDS = 5, 60.0
_LOG_AGAIN_SECONDS = 3_600.0
_CATCH_UP_PAUSE_SECONDS = 0.05  # a day of windows in about a minute and a half, and no flood


@dataclass(frozen=True, slots=True)
class _Blocked:
    """What stopped the sending: the status (0: no answer), the seconds that the server asked to wait, its reason."""

    status: int
    retry_after: int = 0
    reason: str = ""


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
    steady clock, `wall` UTC seconds.
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
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._server, self._outbox, self._counts = server, outbox, counts
        self._spread_s = spread_seconds * (zlib.crc32(node.encode()) % 1000) / 1000
        self._wake, self._stop = threading.Event(), stop or threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._logged: set[int] = set()
        self._log_again_at: dict[int | str, float] = {}
        self._now, self._wall = now, wall
        self._turns, self._stuck = DelayedTurns(now()), _Stuck()
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
                self._stop.wait(self._spread_s)
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
            if blocked is not None and blocked.status in _REFUSED:
                self._log_refusal(blocked, f"report {name} is delayed and tried again later")
                self._delay(name)  # if that fails it stays where it is, and the later ones go on
            elif blocked is not None and not self._sent_or_delayed(name, names[number + 1 :], blocked):
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
        if not any(self._accepts(probe) for probe in probes):
            return False
        if self._try(name) is None:
            return True
        if not self._delay(name):
            return False
        _log.error(
            "the server fails at report %s (status %d) and takes others: it is delayed and tried again later; "
            "the server's log says why",
            name,
            blocked.status,
        )
        return True

    def _accepts(self, name: str) -> bool:
        """Send a report to find out whether the server accepts any. A refusal shows nothing: it needs no ledger."""
        sent = self._counts.sent
        self._try(name)
        return self._counts.sent > sent

    def _delay(self, name: str) -> bool:
        """Let the other reports go first. Whether that was possible."""
        try:
            self._outbox.delay(name)
        except OSError as error:
            if self._logs_now("delay"):
                _log.error("report %s cannot be delayed: %s", name, error)
            return False
        self._counts.delayed += 1
        return True

    def _send_delayed(self) -> None:
        """Send the delayed reports whose turn it is.

        Returns early when a window was closed, because new reports go first, and when the server seems to take none
        now: after the next window it is asked again.
        """
        while not (self._wake.is_set() or self._stop.is_set()):
            name = self._turns.next(self._now(), self._outbox.delayed)
            if name is None:
                return
            blocked = self._try(name)
            if blocked is None:
                self._turns.accepted()
            elif blocked.status in _NOT_NOW:
                self._turns.not_now()
                return
            else:
                self._turns.failed()
                if blocked.status in _REFUSED:
                    self._log_refusal(blocked, f"report {name} stays delayed")
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
        refused = status in _REFUSED
        blocked = _Blocked(status, retry_after, reason)
        if status == _CONFLICT or (refused and self._wall() - window_start(name) > _OLDEST_SECONDS):
            self._outbox.take_out(name, "rejected")
            self._counts.rejected += 1
            self._log_refusal(blocked, f"report {name} is rejected and not sent again")
            return None
        if not refused:
            self._log_once(status, f"the server answered {status}: {reason}")
        return blocked

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

    def _log_refusal(self, blocked: _Blocked, what: str) -> None:
        """Log a refusal of one report and what becomes of it, once an hour for each status."""
        if self._logs_now(blocked.status):
            _log.warning("the server answered %d: %s; %s", blocked.status, blocked.reason, what)

    def _logs_now(self, what: int | str) -> bool:
        """Whether it is an hour since `what` was logged."""
        now = self._now()
        if now < self._log_again_at.get(what, now):
            return False
        self._log_again_at[what] = now + _LOG_AGAIN_SECONDS
        return True

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
