"""Whose review the API server is asked for next, and whose not at all: a flood of one must not shut out the others.

Owners take turns, so that one with a single review waits for one review of each other owner, however many those have.
The owner of an unknown token is its address, that of a question for a right is its tenant. No token is known here.
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
    """Reviews of one kind: so many run at once, and others wait, with a limit of places in all and of each owner.

    When all places are taken, the owner with the most waiting reviews loses its newest.
    """

    def __init__(self, places: int, each: int, at_once: int, refusal: str = "too many reviews are in progress") -> None:
        """`refusal` is the reason for those that get no place."""
        self._places, self._each, self._at_once, self._refusal = places, each, at_once, refusal
        self._running = self._queued = 0
        self._of: Counter[str] = Counter()  # places by owner
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by owner, the next one first

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """The turn of one review. Raises AccessUnavailable if there is no place for it, or no longer."""
        if self._of[owner] >= self._each:
            raise self._no_place()
        self._make_room(owner)
        self._of[owner] += 1
        try:
            await self._begin(owner)
            try:
                yield
            finally:
                self._end()
        finally:
            self._of[owner] -= 1
            if not self._of[owner]:
                del self._of[owner]

    def _make_room(self, owner: str) -> None:
        if self._running + self._queued < self._places:
            return
        largest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=owner)
        if len(self._waiting.get(owner, ())) >= len(self._waiting.get(largest, ())):
            raise self._no_place()
        newest = self._waiting[largest][-1]
        self._leave(largest, newest)
        if not newest.done():  # it may have been cancelled at this moment, and not left yet
            newest.set_exception(self._no_place())

    async def _begin(self, owner: str) -> None:
        if self._running < self._at_once:  # nobody waits then
            self._running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(owner, turn)
            elif turn.exception() is None:  # its turn came at the same moment
                self._end()
            raise

    def _leave(self, owner: str, turn: asyncio.Future[None]) -> None:
        with suppress(KeyError, ValueError):  # it has left already
            its = self._waiting[owner]
            its.remove(turn)
            self._queued -= 1
            if not its:
                del self._waiting[owner]

    def _end(self) -> None:
        self._running -= 1
        while self._waiting and self._running < self._at_once:
            owner = next(iter(self._waiting))
            its = self._waiting.pop(owner)
            turn = its.popleft()
            self._queued -= 1
            if its:
                self._waiting[owner] = its  # behind all others
            if not turn.done():
                self._running += 1
                turn.set_result(None)

    def _no_place(self) -> AccessUnavailable:
        return AccessUnavailable(f"{self._refusal}: try again later")


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
