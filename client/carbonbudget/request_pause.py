"""When a request may be sent again after one that failed."""

from __future__ import annotations

import random

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0


class RequestPause:
    """A doubled, random pause of our own, and the one that the server asked for. Times are of `time.monotonic`."""

    def __init__(self) -> None:
        self._own_until_s = self._server_until_s = 0.0
        self._next_s = _FIRST_PAUSE_S

    def until_s(self, asked: bool = False) -> float:
        """When it is over. Who asks for a flush waits for the server's alone: the process may be at its end."""
        return self._server_until_s if asked else max(self._own_until_s, self._server_until_s)

    def failed(self, now_s: float, retry_after_s: float = 0.0) -> None:
        """A request failed; the server asked for so many seconds."""
        self._own_until_s = now_s + self._next_s * (1 + random.random()) / 2  # noqa: S311 - jitter, not secrecy
        self._server_until_s = now_s + retry_after_s
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)

    def worked(self) -> None:
        """A request succeeded: the next pause of our own is the first one again."""
        self._next_s = _FIRST_PAUSE_S
