"""Which namespaces a caller of /api/v1 may read.

Anybody with a token may ask, so that the questions to the API server are bounded in all: agents' tokens are reviewed
over the same connections. Tenants take turns, and one search of a tenant runs at a time, since a namespace has as many
accounts and tokens as its editors like. What a caller may not read is most, so that it is asked again less often: a
right that is taken away ends within a minute, and one that is given shows within five. Namespaces that a caller names
are asked for in turns of their own, which no search delays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.ingest.caller_authentication import tenant_of
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller
from carbonbudget_operator.kube.review_turns import ReviewTurns
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

MAX_NAMESPACES: Final = 1_000
_AT_ONCE: Final = 8  # of the client's 32 connections
_OF_A_SEARCH: Final = 4
_NAMED_EACH: Final = 200  # of one tenant, running and waiting
_MOST_WAITING: Final = 1_000
_SECONDS: Final = 5
_FRESH_SECONDS: Final = 60.0  # as long as a right is cached elsewhere
_DENIED_SECONDS: Final = 300.0
_MAX_CALLERS: Final = 500

# Those that run pods, or did a while ago; None while that is not known yet.
Namespaces = Callable[[], Awaitable[Collection[str] | None]]


@dataclass(frozen=True, slots=True)
class _Search:
    """What a caller may read `among` these names. It holds until `until`, and that the others are denied longer."""

    allowed: list[str]
    among: frozenset[str]
    until: float
    denied_until: float

    def unsure(self, names: frozenset[str], now: float) -> Iterable[str]:
        """The given names that must be asked for."""
        return names - (self.among - set(self.allowed)) if now < self.denied_until else names


class VisibleNamespaces:
    """Finds them, for all callers together: few questions at once, one search of a tenant at a time."""

    def __init__(self, access: Access, candidates: Namespaces, naming: str = "filter=namespace=team-a") -> None:
        """`naming` is the parameter by which a caller names a namespace."""
        self._access, self._candidates, self._naming = access, candidates, naming
        self._turns = ReviewTurns(_MOST_WAITING, _OF_A_SEARCH, _AT_ONCE, "too many search for their namespaces")
        self._named = ReviewTurns(_MOST_WAITING, _NAMED_EACH, _AT_ONCE, "too many ask for namespaces by name")
        self._locks: dict[str, asyncio.Lock] = {}  # by tenant, while one of its callers searches or waits
        self._users: Counter[str] = Counter()
        self._found: dict[str, dict[bytes, _Search]] = {}  # by tenant and by the caller's rights, the oldest first
        self._names: frozenset[str] = frozenset()  # the newest: searches share it

    async def among(self, caller: Caller, names: Iterable[str]) -> list[str]:
        """The given names in which the caller may get carbonbudgets, in order. Raises Refusal."""
        allowed: dict[str, bool] = {}
        with _refusals():
            async with asyncio.timeout(_SECONDS):
                await self._ask(caller, names, allowed, lambda: self._named.turn(tenant_of(caller.user)))
        return sorted(name for name, may in allowed.items() if may)

    async def of(self, caller: Caller) -> list[str]:
        """All that the caller may read, of those that run pods or did a while ago. Raises Refusal."""
        if caller.namespaces is not None and EVERY_NAMESPACE not in caller.namespaces:
            return await self.among(caller, caller.namespaces)
        tenant = tenant_of(caller.user)
        with _refusals():
            async with asyncio.timeout(_SECONDS), self._only_search_of(tenant):
                return await self._search(caller, tenant)

    async def _search(self, caller: Caller, tenant: str) -> list[str]:
        last, now = self._found.get(tenant, {}).get(caller.rights_key), time.monotonic()
        if last is not None and now < last.until:
            return last.allowed
        names = await self._candidates()
        if names is None:
            raise Refusal(503, "starting", "the server does not know the pods yet: try again", 5)
        if len(names) > MAX_NAMESPACES:
            reason = f"there are too many namespaces to look through: name yours ({self._naming})"
            raise Refusal(422, "unanswerable", reason)
        if self._names != names:
            self._names = frozenset(names)
        among = self._names
        denied_until = now + _DENIED_SECONDS
        if last is not None and now < last.denied_until:
            denied_until = last.denied_until
        wanted = among if last is None else last.unsure(among, now)
        denied = among - frozenset(wanted)
        answers: dict[str, bool] = {}
        until = 0.0  # a search that does not end is kept as far as it came: the next one goes on there
        try:
            await self._ask(caller, wanted, answers, lambda: self._turns.turn(tenant))
            until = min(now + _FRESH_SECONDS, denied_until)
        finally:
            allowed = sorted(name for name, may in answers.items() if may)
            known = among if until else denied | answers.keys()
            self._keep(tenant, caller.rights_key, _Search(allowed, known, until, denied_until))
        return allowed

    async def _ask(
        self, caller: Caller, names: Iterable[str], answers: dict[str, bool],
        turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:  # fmt: skip
        """Ask for each of the names, few at once, each in a `turn`, and put the answers into `answers` as they come."""
        left = iter(sorted(set(names)))

        async def ask_next() -> None:
            for name in left:
                async with turn():
                    answers[name] = await self._access.may_read_budgets(caller, name, remember=False)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_OF_A_SEARCH):
                    group.create_task(ask_next())
        except ExceptionGroup as errors:  # the first ended the others
            raise errors.exceptions[0] from None

    def _keep(self, tenant: str, key: bytes, found: _Search) -> None:
        its = self._found.setdefault(tenant, {})
        its.pop(key, None)
        its[key] = found
        if sum(map(len, self._found.values())) > _MAX_CALLERS:
            largest = max(self._found, key=lambda name: len(self._found[name]))
            del self._found[largest][next(iter(self._found[largest]))]
            if not self._found[largest]:
                del self._found[largest]

    @asynccontextmanager
    async def _only_search_of(self, tenant: str) -> AsyncIterator[None]:
        """Wait until no other search of this tenant runs."""
        lock = self._locks.setdefault(tenant, asyncio.Lock())
        self._users[tenant] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[tenant] -= 1
            if not self._users[tenant]:
                del self._users[tenant], self._locks[tenant]


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what prevents an answer into a Refusal 503."""
    try:
        yield
    except AccessUnavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
    except TimeoutError:
        reason = f"the API server did not say within {_SECONDS} s what you may read: try again, or name a namespace"
        raise Refusal(503, "api_server", reason, 5) from None


async def no_namespaces() -> Collection[str]:
    """Where nobody looks for pods: each caller names the namespaces."""
    return ()
