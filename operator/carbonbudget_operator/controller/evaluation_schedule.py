"""When the next evaluation is due: after each window, and soon after a change."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

_DEBOUNCE_SECONDS: Final = 0.5  # more changes come with one: `kubectl apply -f dir`
# Two tools that undo each other's spec ring without end, and each round asks for all budgets.
_FLOOR_SECONDS: Final = 5.0


class EvaluationSchedule:
    """`changed` rings when a budget was edited. `window_seconds` is the agents' window."""

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
        self._served_at = -math.inf  # when the last round of a window was due
        self._rung_at: float | None = None  # when the last round began, if a change had rung for it

    def due_at(self, now: float) -> float:
        """A fifth of a window after its end: by then its reports have come."""
        delay = self._window_s / 5
        return ((now - delay) // self._window_s + 1) * self._window_s + delay

    async def next(self) -> None:
        """Until the next round. One that a change rings for, right after another such, waits for the floor."""
        now = self._now()
        due_at = self.due_at(now)
        if due_at - self._served_at < self._window_s / 2:  # a timer went off a little early: that round was made
            due_at += self._window_s
        try:
            await asyncio.wait_for(self._changed.wait(), due_at - now)
        except TimeoutError:
            self._served_at, self._rung_at = due_at, None
        else:
            now = self._now()
            floor_s = self._rung_at + self._floor_s - now if self._rung_at is not None else 0.0
            pause_s = max(self._debounce_s, min(floor_s, due_at - now))
            await asyncio.sleep(pause_s)
            if now + pause_s >= due_at:  # what had to wait so long is the window's own
                self._served_at, self._rung_at = due_at, None
            else:
                self._rung_at = self._now()
        self._changed.clear()
