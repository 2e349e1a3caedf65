"""Backoff: the pause before the next attempt. It grows with each failure, is random, and respects Retry-After."""

from __future__ import annotations

import random

_MAX_ASKED_SECONDS = 600


class Backoff:
    """The pauses of one loop. `first_seconds` is doubled at each pause up to `most_seconds`."""

    def __init__(self, first_seconds: float, most_seconds: float) -> None:
        self._first_s, self._most_s, self._next_s = first_seconds, most_seconds, first_seconds

    def pause_seconds(self, asked_seconds: int = 0) -> float:
        """The next pause. `asked_seconds` is the server's Retry-After.

        Random, so that a thousand callers do not come back together: half to all of the doubled pause, or up to a
        tenth more than was asked for.
        """
        random_part = random.random()  # noqa: S311 - jitter, not secrecy
        pause_s = self._next_s * (1 + random_part) / 2
        self._next_s = min(self._next_s * 2, self._most_s)
        return max(pause_s, min(asked_seconds, _MAX_ASKED_SECONDS) * (1 + random_part / 10))

    def reset(self) -> None:
        """After a success: the next pause is the first one again."""
        self._next_s = self._first_s
