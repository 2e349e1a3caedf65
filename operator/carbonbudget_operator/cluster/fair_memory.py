"""Room that many owners share fairly: where there is too little, who has most gives up its own. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

_SPARE: Final = 1_000  # entries that may not hold any more


@dataclass(slots=True)
class _Owned:
    """What one owner has, by key; `first` is given up before `rest`."""

    used: int = 0
    first: dict[bytes, int] = field(default_factory=dict)
    rest: dict[bytes, int] = field(default_factory=dict)


class FairMemory:
    """`most` bytes of all owners together, `most_each` of one.

    Beyond `most` the owner with most of all gives up: it has more than an equal share, so that an owner within its
    share never loses anything to another.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._owned: dict[str, _Owned] = {}
        # Who had most: each change adds an entry, and one that does not hold any more is left out when it comes up.
        self._by_used: list[tuple[int, str]] = []
        self.used = 0

    def put(self, owner: str, key: bytes, size: int, first: bool = False) -> None:
        """Take a new key in; `first`: it is given up before the others of its owner."""
        its = self._owned.setdefault(owner, _Owned())
        (its.first if first else its.rest)[key] = size
        self._change(owner, its, size)

    def take(self, owner: str, key: bytes) -> None:
        """Take a key out; one that is not there is none."""
        its = self._owned.get(owner)
        if its is None:
            return
        size = its.rest.pop(key, None)
        if size is None:
            size = its.first.pop(key, 0)
        self._change(owner, its, -size)
        if not its.first and not its.rest:
            del self._owned[owner]

    def fits(self, owner: str, size: int) -> bool:
        """Whether so much more of the owner has room, and no owner would have to give up anything."""
        its = self._owned.get(owner)
        return self.used + size <= self._most and (its.used if its else 0) + size <= self._most_each

    def beyond(self, owner: str) -> bytes | None:
        """The key that must go, after `owner` put one in; None where all have room.

        What came last goes before what was there: the new ones of a flood, not what counted before it.
        """
        if owner in self._owned and self._owned[owner].used > self._most_each:
            its = self._owned[owner]
        elif self.used > self._most:
            its = self._largest()
        else:
            return None
        return next(iter(its.first)) if its.first else next(reversed(its.rest))

    def _change(self, owner: str, its: _Owned, size: int) -> None:
        its.used += size
        self.used += size
        heapq.heappush(self._by_used, (-its.used, owner))
        if len(self._by_used) > 2 * len(self._owned) + _SPARE:
            self._by_used = [(-its.used, owner) for owner, its in self._owned.items()]
            heapq.heapify(self._by_used)

    def _largest(self) -> _Owned:
        while True:
            used, owner = self._by_used[0]
            its = self._owned.get(owner)
            if its is not None and its.used == -used:
                return its
            heapq.heappop(self._by_used)
