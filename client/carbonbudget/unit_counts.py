"""Functional units that were counted and not taken yet: added up by name, so that many calls make one record.

A serving process counts at each request. A record for each call would use up the bounds of the queue and of the server.
"""

from __future__ import annotations

import threading
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Named = tuple[str | None, str | None, str | None]

_MOST_KEYS = 1_000
_MOST_CALLS = 100_000  # that are not added up yet; others add them up long before
_ADD_UP_AT = 64
_LONGEST_MS = 30 * 60_000  # of a record; the server refuses counts that are longer than its bound
_MOST_PARTS = 1_500  # 31 days
_LARGEST = 2**53 - 1  # of one record
_WAIT_S = 1.0


class UnitCounts:
    """Sums of one place, by unit and by what identifies a record: run, model and version.

    `add` waits for nobody, also where a signal handler calls it within another call: calls are appended to a queue,
    and whoever gets the lock adds them up.
    """

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._calls: deque[tuple[Named, str, float, int]] = deque()
        self._adding = threading.Lock()
        self._sums: dict[tuple[Named, str], list[Any]] = {}  # the sum, and the time of its last call
        self._fractions: dict[tuple[Named, str], float] = {}  # what is left of a sum when whole units were taken
        self._ends_ms: dict[str, int] = {}  # where the newest record of a name ended
        self.dropped = 0  # units

    def add(self, named: Named, name: str, count: float) -> None:
        """Count. 0 is no unit, but says that there was none since the call before."""
        calls = self._calls
        if len(calls) >= _MOST_CALLS:
            self.dropped += int(count)
            return
        calls.append((named, name, count, time.time_ns() // 1_000_000))
        if len(calls) >= _ADD_UP_AT and self._adding.acquire(blocking=False):
            try:
                self._add_up()
            finally:
                self._adding.release()

    @property
    def empty(self) -> bool:
        """Whether nothing was counted since `take`."""
        return not (self._calls or self._sums)

    def take(self) -> list[tuple[Named, dict[str, Any]]]:
        """One record a name, without its id: from the end of the one before to the last call. Longer ones are divided.

        Fractions that make no whole unit yet stay for the next record.
        """
        if not self._adding.acquire(timeout=_WAIT_S):
            return []
        try:
            self._add_up()
            sums, self._sums = self._sums, {}
            found: list[tuple[Named, dict[str, Any]]] = []
            for (named, name), (counted, at_ms) in sums.items():
                whole = min(round(counted), _LARGEST)
                if whole != counted:
                    self._fractions[named, name] = counted - whole
                if whole > 0:
                    start_ms = min(self._ends_ms.get(name, self._start_ms), at_ms)
                    self._ends_ms[name] = at_ms
                    found.extend((named, record) for record in _parts(name, whole, start_ms, at_ms))
            return found
        finally:
            self._adding.release()

    def _add_up(self) -> None:
        """With the lock."""
        calls, sums = self._calls, self._sums
        for _ in range(len(calls)):
            named, name, count, at_ms = calls.popleft()
            key = named, name
            known = sums.get(key)
            if known is not None:
                known[0] += count
                known[1] = at_ms
            elif not self._has_room(key):
                self.dropped += int(count)
            elif count:
                sums[key] = [count + self._fractions.pop(key, 0), at_ms]
            else:
                self._ends_ms[name] = at_ms

    def _has_room(self, key: tuple[Named, str]) -> bool:
        # Names come from the code that is tracked. One that makes a new name at each call must not fill the memory.
        filled = (self._sums, None), (self._ends_ms, key[1]), (self._fractions, key)
        return all(len(kept) < _MOST_KEYS or known in kept for kept, known in filled)


def _parts(name: str, count: int, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """Records that add up to the count, each of equal time and of half an hour at most."""
    long_ms = end_ms - start_ms
    number = max(1, -(-long_ms // _LONGEST_MS))
    if number > _MOST_PARTS:  # nothing was counted for a month
        number, long_ms = _MOST_PARTS, _MOST_PARTS * _LONGEST_MS
    edges = [(end_ms - long_ms + long_ms * part // number, count * part // number) for part in range(number + 1)]
    return [
        {"name": name, "count": counted - before, "start_ms": since_ms, "end_ms": until_ms}
        for (since_ms, before), (until_ms, counted) in zip(edges, edges[1:])
        if counted > before
    ]
