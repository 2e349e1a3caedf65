"""Whose token is reviewed next, and whose is not reviewed: a flood of invalid tokens must not shut out other callers.

Addresses take turns, so that an address with one token to review waits for one token of each other address, however
many those have. No token is known here, only addresses and whether an answer was a refusal.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_REFUSED_SECONDS: Final = 10.0
_MOST_REFUSED: Final = 100  # of one address in that time; the page's sign-ins fail at most 20 times
_MOST_ADDRESSES: Final = 4_096


class AccessUnavailable(Exception):
    """The API server did not answer, so a caller can be neither accepted nor refused."""


class TooManyRefused(Exception):
    """Too many tokens of this address were refused lately, so that no unknown one is reviewed for some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too many invalid tokens came from this address: try again in a few seconds")
        self.seconds = max(1, round(seconds))


class ReviewTurns:
    """Reviews of one kind: so many run at once, and so many more wait, with a limit of each address.

    When all places are taken, the address with the most waiting reviews loses its newest.
    """

    def __init__(self, places: int, each: int, at_once: int) -> None:
        self._places, self._each, self._at_once = places, each, at_once
        self._running = self._queued = 0
        self._of: Counter[str] = Counter()  # places by address
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by address, the next one first

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """The turn of one review. Raises AccessUnavailable if there is no place for it, or no longer."""
        if self._of[address] >= self._each:
            raise _no_place()
        self._make_room(address)
        self._of[address] += 1
        try:
            await self._begin(address)
            try:
                yield
            finally:
                self._end()
        finally:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    def _make_room(self, address: str) -> None:
        if self._running + self._queued < self._places:
            return
        largest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=address)
        if len(self._waiting.get(address, ())) >= len(self._waiting.get(largest, ())):
            raise _no_place()
        newest = self._waiting[largest][-1]
        self._leave(largest, newest)
        newest.set_exception(_no_place())

    async def _begin(self, address: str) -> None:
        if self._running < self._at_once:  # nobody waits then
            self._running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(address, turn)
            elif turn.exception() is None:  # its turn came at the same moment
                self._end()
            raise

    def _leave(self, address: str, turn: asyncio.Future[None]) -> None:
        with suppress(KeyError, ValueError):  # it has left already
            its = self._waiting[address]
            its.remove(turn)
            self._queued -= 1
            if not its:
                del self._waiting[address]

    def _end(self) -> None:
        self._running -= 1
        while self._waiting and self._running < self._at_once:
            address = next(iter(self._waiting))
            its = self._waiting.pop(address)
            turn = its.popleft()
            self._queued -= 1
            if its:
                self._waiting[address] = its  # behind all others
            if not turn.done():
                self._running += 1
                turn.set_result(None)


class RefusedTokens:
    """How many tokens of each address were refused in the last seconds. A hundred in ten seconds are too many."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}  # by address: how many, and until when they count

    def check(self, address: str) -> None:
        """Raises TooManyRefused."""
        count, until = self._counts.get(address, (0, 0.0))
        left = until - time.monotonic()
        if count >= _MOST_REFUSED and left > 0:
            raise TooManyRefused(left)

    def add(self, address: str) -> None:
        """A token of this address was reviewed and refused."""
        now = time.monotonic()
        count, until = self._counts.pop(address, (0, 0.0))
        if now >= until:
            count, until = 0, now + _REFUSED_SECONDS
        if len(self._counts) >= _MOST_ADDRESSES:  # the address that began longest ago
            del self._counts[next(iter(self._counts))]
        self._counts[address] = count + 1, until


def _no_place() -> AccessUnavailable:
    return AccessUnavailable("too many unknown tokens are being checked: try again later")
