"""Turns of pages whose answers may be large: some at once while the answers are small, two where one is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, TypeVar

from carbonbudget_operator.web.gateway import AnswerTooLarge
from carbonbudget_operator.web.page_questions import NotShown, Questions
from carbonbudget_operator.web.user_turns import UserTurns

_SECONDS: Final = 20.0
_SMALL_BYTES: Final = 128 * 2**10  # of each answer; a page of two takes about two megabytes while it is made
_MOST_REMEMBERED: Final = 1_000

_T = TypeVar("_T")


class PageTurns:
    """How large an answer is shows when it comes. So a page is asked for among the small ones first.

    Where an answer is too large for that, it is asked for again among the large ones, each of which takes tens of
    megabytes. That a page of a user was large is remembered until it is small again. A page asks two questions: of the
    16 that the gateway asks at once, these pages leave four to the others.
    """

    def __init__(self) -> None:
        self._small, self._large = UserTurns(4, 2), UserTurns(2, 1)
        self._were_large: dict[tuple[str, int], None] = {}

    async def made(self, address: str, questions: Questions, make: Callable[[int | None], Awaitable[_T]]) -> _T:
        """What `make` makes of the answers to `questions`; its argument is how many bytes an answer may have.

        Raises NotShown where no turn comes in time.
        """
        user = questions.caller.user or questions.caller.name
        page = user, hash(address)
        if page not in self._were_large:
            with suppress(AnswerTooLarge):
                async with self._turn(self._small, user):
                    return await make(_SMALL_BYTES)
        self._were_large.pop(page, None)
        self._were_large[page] = None  # the last of them
        if len(self._were_large) > _MOST_REMEMBERED:
            del self._were_large[next(iter(self._were_large))]
        async with self._turn(self._large, user):
            made = await make(None)
        if questions.largest_bytes <= _SMALL_BYTES:
            self._were_large.pop(page, None)
        return made

    @asynccontextmanager
    async def _turn(self, turns: UserTurns, user: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(turns.turn(user, _SECONDS))
            except TimeoutError:
                raise NotShown(503, "Too many of these pages are being made: try again in a minute.") from None
            yield
