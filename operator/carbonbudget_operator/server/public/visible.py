"""Which namespaces a caller of /api/v1 may read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access import Access, AccessUnavailable, Caller

MAX_NAMESPACES = 1_000
_AT_ONCE = 16
_SECONDS = 5

Namespaces = Callable[[], Awaitable[Collection[str]]]  # those that run pods, or did a while ago


async def visible_namespaces(access: Access, caller: Caller, candidates: Iterable[str]) -> list[str]:
    """Those of the candidates in which the caller may get carbonbudgets, in order. Raises Refusal."""
    names = sorted(set(candidates))
    if len(names) > MAX_NAMESPACES:
        reason = f"the cluster has {len(names)} namespaces: name yours, for example filter=namespace=team-a"
        raise Refusal(422, "unanswerable", reason)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def may_read(name: str) -> bool:
        async with turns:
            return await access.may_read_budgets(caller, name)

    try:
        async with asyncio.timeout(_SECONDS):
            allowed = await asyncio.gather(*map(may_read, names))
    except AccessUnavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
    except TimeoutError:
        reason = f"the API server did not say within {_SECONDS} s what you may read: try again, or name a namespace"
        raise Refusal(503, "api_server", reason, 5) from None
    return [name for name, may in zip(names, allowed, strict=True) if may]


async def no_namespaces() -> Collection[str]:
    """Where nobody looks for pods: each caller names the namespaces."""
    return ()
