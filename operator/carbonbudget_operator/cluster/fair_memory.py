"""A memory limit that many owners share. If it is exceeded, the owner that uses most loses entries. Pure.

It counts sizes only; the caller stores the entries and removes those that `key_to_remove` returns.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

_SPARE: Final = 1_000  # outdated entries of the heap before it is rebuilt


@dataclass(slots=True)
class _Owned:
    """Sizes of one owner's entries by key. Entries of `first` are removed before those of `rest`."""

    used: int = 0
    first: dict[bytes, int] = field(default_factory=dict)
    rest: dict[bytes, int] = field(default_factory=dict)


class FairMemory:
    """At most `most` bytes for all owners together, and `most_each` for one.

    Above `most`, the owner that uses most loses an entry. It has more than an equal share, so an owner within its share
    never loses an entry to another.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._owned: dict[str, _Owned] = {}
        # A heap of owners by use. Each change adds an entry; an outdated one is dropped when it reaches the top.
        self._by_used: list[tuple[int, str]] = []
        self.used = 0

    def put(self, owner: str, key: bytes, size: int, first: bool = False) -> None:
        """Add a key of `size` bytes. `first`: remove it before the other keys of its owner."""
        its = self._owned.setdefault(owner, _Owned())
        (its.first if first else its.rest)[key] = size
        self._change(owner, its, size)

    def take(self, owner: str, key: bytes) -> None:
        """Remove a key, if it is there."""
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
        """Whether the owner can add `size` bytes without exceeding a limit."""
        its = self._owned.get(owner)
        return self.used + size <= self._most and (its.used if its else 0) + size <= self._most_each

    def key_to_remove(self, owner: str) -> bytes | None:
        """The key to remove after `owner` added one, or None if no limit is exceeded.

        The newest key is removed first, so that a flood of new keys does not displace older ones.
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
