"""When the next evaluation is due: after each window, and soon after a change."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

_DEBOUNCE_SECONDS: Final = 0.5  # more changes come with one: `kubectl apply -f dir`
# Two tools that undo each other's edits would cause evaluations without end, and each asks for all budgets.
_FLOOR_SECONDS: Final = 5.0


class EvaluationSchedule:
    """Decides when to evaluate. `changed` is set when a budget is edited. `window_seconds` is the agents' window."""

    def __init__(
        self,
        changed: asyncio.Event,
        window_seconds: int,
        now: Callable[[], float] = time.time,
        debounce_seconds: float = _DEBOUNCE_SECONDS,
        floor_seconds: float = _FLOOR_SECONDS,
    ) -> None:
        self._changed, self._window_s, self._now = changed, window_seconds, now
        self._debounce_s, self._floor_s = debounce_seconds, floor_seconds
        self._served_at = -math.inf  # when the last window's evaluation was due
        self._changed_at: float | None = None  # when the last evaluation began, if a change caused it

    def due_at(self, now: float) -> float:
        """A fifth of a window after its end: by then its reports have come."""
        delay = self._window_s / 5
        return ((now - delay) // self._window_s + 1) * self._window_s + delay

    async def next(self) -> None:
        """Wait until the next evaluation. Two that changes cause are at least `floor_seconds` apart."""
        now = self._now()
        due_at = self.due_at(now)
        if due_at - self._served_at < self._window_s / 2:  # a timer went off a little early: that evaluation was made
            due_at += self._window_s
        try:
            await asyncio.wait_for(self._changed.wait(), due_at - now)
        except TimeoutError:
            self._served_at, self._changed_at = due_at, None
        else:
            now = self._now()
            floor_s = self._changed_at + self._floor_s - now if self._changed_at is not None else 0.0
            pause_s = max(self._debounce_s, min(floor_s, due_at - now))
            await asyncio.sleep(pause_s)
            if now + pause_s >= due_at:  # what had to wait so long is the window's own
                self._served_at, self._changed_at = due_at, None
            else:
                self._changed_at = self._now()
        self._changed.clear()
