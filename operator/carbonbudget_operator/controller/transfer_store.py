"""The transfers that are not decided, from a watch of all CarbonTransfers.

Decided ones are not stored: they never change. At most 200 of a namespace wait here, and 4,000 of all. Further ones are
read again by a new list each minute, so that nobody fills the memory of the controller or delays others.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.carbontransfer import CarbonTransfer
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import TRANSFER
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.budgets.transfers import PendingTransfer
from carbonbudget_operator.kube.client import KubeClient

MOST_OF_A_NAMESPACE: Final = 200
MOST: Final = 4_000
_MOST_REMEMBERED: Final = 10_000
_RELIST_SECONDS: Final = 60.0
_MOST_PARSED: Final = 2 * 2**20  # bytes of memory; of a larger object only the metadata come, and it stays undecided


@dataclass(frozen=True, slots=True)
class StoredTransfer:
    """A transfer that is not decided. `pending` is None where its spec cannot be read; `defect` says why."""

    uid: str
    namespace: str
    name: str
    pending: PendingTransfer | None
    reason: str = ""
    defect: str = ""
    message: str = ""  # of its status

    @property
    def path(self) -> ApiPath:
        """The transfer's path in the API."""
        return TRANSFER.path(self.namespace, self.name)


class TransferStore:
    """Undecided transfers by uid, and an event that is set when there is a new one. One event loop, so no lock."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._stored: dict[str, StoredTransfer] = {}
        self._of: Counter[str] = Counter()  # by namespace
        self._left_out = False
        # Decided ones of which the watch may still show an older status.
        self._decided: dict[str, None] = {}
        self.changed = asyncio.Event()

    def snapshot(self) -> list[StoredTransfer]:
        """All that are stored."""
        return list(self._stored.values())

    def claims(self, uid: str, period: Period) -> None:
        """A booking of it in this period begins now."""
        stored = self._stored.get(uid)
        if stored is not None and stored.pending is not None:
            pending = replace(stored.pending, claimed=period, claimed_at=int(self._now()))
            self._stored[uid] = replace(stored, pending=pending)

    def decided(self, uid: str) -> None:
        """Note that the transfer's decision was written: it is not decided again."""
        self.forget(uid)
        self._decided[uid] = None
        if len(self._decided) > _MOST_REMEMBERED:
            del self._decided[next(iter(self._decided))]

    def forget(self, uid: str) -> None:
        """Remove one that is decided or gone."""
        if (stored := self._stored.pop(uid, None)) is not None:
            self._of[stored.namespace] -= 1

    async def follow(self, client: KubeClient) -> None:
        """Watch until cancelled."""
        while True:
            await self._follow_once(client)

    async def _follow_once(self, client: KubeClient) -> None:
        """Watch until cancelled, or, where some were left out, until it is time to list again."""
        seen: set[str] = set()
        listed_at: float | None = None
        loop = asyncio.get_running_loop()
        self._left_out = False
        async with aclosing(client.watch(TRANSFER.collection, most_parsed=_MOST_PARSED)) as events:  # type: ignore[type-var] # typed without aclose
            while True:
                again_at = listed_at + _RELIST_SECONDS if listed_at is not None and self._left_out else None
                try:
                    async with asyncio.timeout_at(again_at):
                        event, body = await anext(events)
                except TimeoutError:
                    return
                if event == "LISTING":
                    seen.clear()
                elif body is None:
                    listed_at = loop.time()
                    for uid in [uid for uid in self._stored if uid not in seen]:
                        self.forget(uid)
                else:
                    seen.add(self.seen(event, body))

    def seen(self, event: str, body: Mapping[str, object]) -> str:
        """Take one watch event. Returns the object's uid."""
        metadata = at(body, "metadata")
        uid = str(metadata.get("uid", ""))
        if event == "DELETED" or at(body, "status").get("state"):
            self.forget(uid)
            self._decided.pop(uid, None)
            return uid
        if "spec" not in body or uid in self._decided:  # without spec: too large, and its status is not known either
            return uid
        namespace = str(metadata.get("namespace", ""))
        previous = self._stored.get(uid)
        if previous is None and (self._of[namespace] >= MOST_OF_A_NAMESPACE or len(self._stored) >= MOST):
            self._left_out = True
            return uid
        self._of[namespace] += previous is None
        self._stored[uid] = _parsed(body, uid, namespace, previous, int(self._now()))
        if previous is None:
            self.changed.set()
        return uid


def _parsed(
    body: Mapping[str, object], uid: str, namespace: str, previous: StoredTransfer | None, now: int
) -> StoredTransfer:
    metadata = at(body, "metadata")
    name = str(metadata.get("name", ""))
    try:
        transfer = CarbonTransfer.model_validate(body)
        created_at = seconds(dt.datetime.fromisoformat(str(metadata.get("creationTimestamp"))))
        amount_ug = parse_mass(transfer.spec.amount)
    except (ValidationError, QuantityError, ValueError, OverflowError) as error:
        sentence = str(error) if isinstance(error, QuantityError) else "its fields cannot be read"
        return StoredTransfer(uid, namespace, name, None, defect=f"neither limit was changed: {sentence}")
    spec, status = transfer.spec, transfer.status
    claimed = None
    if status.period_start is not None and status.period_end is not None:
        claimed = Period(seconds(status.period_start), seconds(status.period_end))
    before = previous.pending if previous is not None else None
    pending = PendingTransfer(
        uid=uid,
        source=f"{namespace}/{spec.source}",
        receiver=f"{spec.to.namespace}/{spec.to.name}",
        amount_ug=amount_ug,
        created_at=created_at,
        seen_at=before.seen_at if before is not None else now,
        claimed=claimed,
        claimed_at=before.claimed_at if before is not None and before.claimed == claimed else now,
    )
    return StoredTransfer(uid, namespace, name, pending, spec.reason, message=status.message or "")
