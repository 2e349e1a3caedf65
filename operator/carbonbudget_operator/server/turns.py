"""Who waits for whom: a queue of callers with limits for each, which can be paused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal

_WAIT_SECONDS: Final = 20.0  # the controller gives a question 30 s
COME_AGAIN_SECONDS: Final = 5


class Turns:
    """A queue of callers.

    At most `size` have a turn at once, at most `each` of these are one caller's, and at most `waiting` requests wait,
    each at most `seconds`.
    """

    def __init__(self, name: str, size: int, each: int, waiting: int, seconds: float | None = None) -> None:
        self._name, self._size, self._each, self._most_waiting = name, size, each, waiting
        self._wait_seconds = seconds
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._paused: asyncio.Event | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._waiting)

    @property
    def has_running(self) -> bool:
        """Whether a request has a turn."""
        return bool(self._running)

    @asynccontextmanager
    async def paused(self, seconds: float) -> AsyncIterator[None]:
        """Begin no turn until the block ends. It begins when all turns have ended, at the latest after `seconds`."""
        self._paused = asyncio.Event()
        try:
            if self._running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._paused.wait()
            yield
        finally:
            self._paused = None
            self._begin_waiting()

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """The caller's turn. The next turn goes to the request that has waited longest and may run.

        Raises:
            Refusal: 503 if too many wait, or the turn does not come in time.
        """
        if self._may_run(who):
            self._running[who] += 1
        else:
            await self._wait(who)
        try:
            yield
        finally:
            self._end(who)

    async def _wait(self, who: str) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise self._busy(f"{self._most_waiting} of them wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (who, turn)
        self._waiting.append(place)
        seconds = _WAIT_SECONDS if self._wait_seconds is None else self._wait_seconds
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # the turn came at the same moment
                self._end(who)
            if isinstance(error, TimeoutError):
                raise self._busy(f"this one waited {seconds:.0f} s for its turn") from None
            raise

    def _may_run(self, who: str) -> bool:
        return self._paused is None and self._running.total() < self._size and self._running[who] < self._each

    def _end(self, who: str) -> None:
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        if self._paused is not None and not self._running:
            self._paused.set()
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        for place in list(self._waiting):
            next_who, turn = place
            if not turn.done() and self._may_run(next_who):  # done: its time is up, and its task has not run yet
                self._waiting.remove(place)
                self._running[next_who] += 1
                turn.set_result(None)

    def _busy(self, why: str) -> Refusal:
        return Refusal(503, "busy", f"{self._name} are busy, {why}: try again later", COME_AGAIN_SECONDS)
