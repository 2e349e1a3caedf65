"""Which delayed report is sent next: once an hour each in turn, until a limited number of them failed. Pure.

Successes are not limited: when a server that refused a week of reports accepts them, they arrive in minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

_ROUND_SECONDS = 3_600.0
_MAX_FAILURES = 20  # of a round: what the server goes on refusing costs it little


class DelayedTurns:
    """One round an hour. The next round begins after the report at which this one ended.

    `now` are seconds of a steady clock; the first round is due at once.
    """

    def __init__(self, now: float) -> None:
        self._due, self._last, self._failures = now, "", 0
        self._left: deque[str] = deque()

    def next(self, now: float, delayed: Callable[[], Sequence[str]]) -> str | None:
        """The report to send now; None: no round is due, or this one has ended. `delayed` returns all, oldest first."""
        if now >= self._due:
            self._due, self._failures = now + _ROUND_SECONDS, 0
            names = delayed()
            self._left = deque(name for name in names if name > self._last)
            self._left.extend(name for name in names if name <= self._last)
        if not self._left:
            return None
        self._last = self._left.popleft()
        return self._last

    def failed(self) -> None:
        """The report failed again."""
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            self._left.clear()
