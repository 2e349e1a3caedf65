"""Turns at the server: so many questions at once of all users together, and fewer of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class UserShare:
    """What one user has under way. `bytes`: received of the answers to it."""

    turns: asyncio.Semaphore
    questions: int = 0
    bytes: int = 0


class UserTurns:
    """At most `each` questions of a user at once, and `most` of all users. The rest waits in the order of arrival."""

    def __init__(self, most: int, each: int) -> None:
        self._all, self._each = asyncio.Semaphore(most), each
        self._shares: dict[str, UserShare] = {}

    def __len__(self) -> int:
        """How many users have a question waiting or under way."""
        return len(self._shares)

    @asynccontextmanager
    async def turn(self, user: str, seconds: float) -> AsyncIterator[UserShare]:
        """A turn of the user, who waits for it first. Raises TimeoutError where there is none within `seconds`."""
        share = self._shares.setdefault(user, UserShare(asyncio.Semaphore(self._each)))
        share.questions += 1
        try:
            async with AsyncExitStack() as held:
                async with asyncio.timeout(seconds):
                    # The user's own first: who waits for it takes nothing from the others.
                    await held.enter_async_context(share.turns)
                    await held.enter_async_context(self._all)
                yield share
        finally:
            share.questions -= 1
            if share.questions == 0:
                del self._shares[user]
