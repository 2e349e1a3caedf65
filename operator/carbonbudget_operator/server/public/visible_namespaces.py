"""Which namespaces a caller of /api/v1 may read.

Anybody with a token may ask, so that the questions to the API server are bounded in all: agents' tokens are reviewed
over the same connections. What a caller may not read is most, so that it is asked again less often: a right that is
taken away ends within a minute, and one that is given shows within five. Who names a namespace is asked for at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

MAX_NAMESPACES: Final = 1_000
_AT_ONCE: Final = 8  # of the client's 32 connections
_SECONDS: Final = 5
_FRESH_SECONDS: Final = 60.0  # as long as a right is cached elsewhere
_DENIED_SECONDS: Final = 300.0
_MAX_CALLERS: Final = 500

# Those that run pods, or did a while ago; None while that is not known yet.
Namespaces = Callable[[], Awaitable[Collection[str] | None]]
_Key = tuple[str, str, tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class _Search:
    """What a caller may read `among` these names. It holds until `until`, and that the others are denied longer."""

    allowed: list[str]
    among: frozenset[str]
    until: float
    denied_until: float

    def unsure(self, names: frozenset[str], now: float) -> Iterable[str]:
        """Those of the names that must be asked for."""
        return names - (self.among - set(self.allowed)) if now < self.denied_until else names


class VisibleNamespaces:
    """Finds them, for all callers together: few questions at once, one search of a caller at a time."""

    def __init__(self, access: Access, candidates: Namespaces, naming: str = "filter=namespace=team-a") -> None:
        """`naming` is the parameter by which a caller names a namespace."""
        self._access, self._candidates, self._naming = access, candidates, naming
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._searching: dict[_Key, asyncio.Lock] = {}
        self._found: dict[_Key, _Search] = {}
        self._names: frozenset[str] = frozenset()  # the newest: searches share it

    async def among(self, caller: Caller, names: Iterable[str]) -> list[str]:
        """Those of the names in which the caller may get carbonbudgets, in order. Raises Refusal."""
        wanted = sorted(set(names))
        try:
            async with asyncio.timeout(_SECONDS):
                allowed = await asyncio.gather(*(self._may_read(caller, name) for name in wanted))
        except AccessUnavailable as error:
            raise Refusal(503, "api_server", str(error), 5) from None
        except TimeoutError:
            reason = f"the API server did not say within {_SECONDS} s what you may read: try again, or name a namespace"
            raise Refusal(503, "api_server", reason, 5) from None
        return [name for name, may in zip(wanted, allowed, strict=True) if may]

    async def of(self, caller: Caller) -> list[str]:
        """All that the caller may read, of those that run pods or did a while ago. Raises Refusal."""
        if caller.namespaces is not None and EVERY_NAMESPACE not in caller.namespaces:
            return await self.among(caller, caller.namespaces)
        key = (caller.user, caller.uid, caller.groups, repr(sorted(caller.extra.items())))
        async with self._searching.setdefault(key, asyncio.Lock()):
            try:
                last, now = self._found.get(key), time.monotonic()
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
                allowed = await self.among(caller, among if last is None else last.unsure(among, now))
                if len(self._found) >= _MAX_CALLERS:
                    self._found.clear()
                self._found[key] = _Search(allowed, among, min(now + _FRESH_SECONDS, denied_until), denied_until)
                return allowed
            finally:
                self._searching.pop(key, None)

    async def _may_read(self, caller: Caller, name: str) -> bool:
        async with self._turns:
            return await self._access.may_read_budgets(caller, name, remember=False)


async def no_namespaces() -> Collection[str]:
    """Where nobody looks for pods: each caller names the namespaces."""
    return ()
