"""Which delayed report is sent next: once an hour each in turn, until a limited number of them failed. Pure.

Successes are not limited: when a server that refused a week of reports accepts them, they arrive in minutes. Every
second round leaps over what is refused, so that many reports that are refused for good keep back none of the others
for days.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

_ROUND_SECONDS = 3_600.0
_MAX_FAILURES = 20  # of a round: what the server goes on refusing costs it little
_FAILURES_BEFORE_LEAP = 3


class DelayedTurns:
    """One round an hour. A round in turn begins after the report at which the last one in turn ended.

    `now` are seconds of a steady clock; the first round is due at once.
    """

    def __init__(self, now: float) -> None:
        self._due, self._last, self._tried, self._put_back = now, "", "", ""
        self._failures = self._in_a_row = self._leap = 0
        self._leaps = True  # the first round does not
        self._left: deque[str] = deque()

    def next(self, now: float, delayed: Callable[[], Sequence[str]]) -> str | None:
        """The report to send now; None: no round is due, or this one has ended. `delayed` returns all, oldest first."""
        if now >= self._due:
            self._due, self._failures, self._in_a_row, self._leaps = now + _ROUND_SECONDS, 0, 0, not self._leaps
            names = delayed()
            self._left = deque(name for name in names if name > self._last)
            self._left.extend(name for name in names if name <= self._last)
            self._leap = len(names) // (_MAX_FAILURES - _FAILURES_BEFORE_LEAP)  # the tries are spread over all
        if not self._left:
            return None
        self._tried = self._left.popleft()
        if not self._leaps:
            self._last = self._tried
        return self._tried

    def accepted(self) -> None:
        """The server has the report."""
        self._in_a_row = 0

    def failed(self) -> None:
        """The report failed again."""
        self._failures += 1
        self._in_a_row += 1
        if self._failures >= _MAX_FAILURES:
            self._left.clear()
        elif self._leaps and self._in_a_row >= _FAILURES_BEFORE_LEAP:
            self._left.rotate(-self._leap)

    def not_now(self) -> None:
        """The server could take no report now, as it seems: this one is the next again, and then it counts as failed.

        A server may also be unable to take just this one.
        """
        if self._put_back == self._tried:
            self.failed()
            return
        self._put_back = self._tried
        self._left.appendleft(self._tried)
