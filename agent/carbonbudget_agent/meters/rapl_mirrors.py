"""Finds RAPL zones that are names of one counter, so that its energy counts once.

Some kernels make a zone for each die of a package (`package-0-die-0`, `package-0-die-1`) although all of them read
the package's one register. Others have a real counter for each die. The zones' files do not say which; the values do:
of one register, each value lies between two readings of the other name, whatever happens between the reads.
Two counters that are distinct are equal at most by chance, at a start from 0 for example, and not for long.

While a pair is undecided, the second name is withheld. If the pair proves distinct, what was withheld is released;
if it proves to be one counter, it is dropped. So no energy is counted twice and none is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

_log = logging.getLogger(__name__)
# A register is refreshed each millisecond, perhaps not for all cores at once: two of these at 1,000 W.
_SKEW_UJ = 2_000_000
# One counter is what agreed at this many readings that moved, over this much energy: to 0.4 % or better.
_READINGS = 3
_MOVED_UJ = 500_000_000


@dataclass(slots=True)
class _Pair:
    """Two names in doubt; `since` is what both read at first, `last` at the latest reading."""

    first: str
    second: str
    range_uj: int
    since_uj: tuple[int, int] | None = None
    last_uj: tuple[int, int] = (0, 0)
    agreed: int = 0

    def moved_uj(self, which: int) -> int:
        """How far the counter went since the pair was first seen."""
        assert self.since_uj is not None
        return (self.last_uj[which] - self.since_uj[which]) % self.range_uj


@dataclass(slots=True)
class Mirrors:
    """Which zones count. `released_uj` is cumulative: energy that was withheld and then proved to be distinct."""

    released_uj: dict[str, int] = field(default_factory=dict)
    _doubtful: list[_Pair] = field(default_factory=list)
    _same: list[_Pair] = field(default_factory=list)

    def suspect(self, keys: Iterable[str], range_uj: Mapping[str, int]) -> None:
        """These zones may be names of one counter: those with the same range, which a counter's register has."""
        for first, second in combinations(keys, 2):
            if range_uj[first] == range_uj[second]:
                self._doubtful.append(_Pair(first, second, range_uj[first]))

    @property
    def suspects(self) -> set[str]:
        """Zones that must be read twice at each reading."""
        return {key for pair in (*self._doubtful, *self._same) for key in (pair.first, pair.second)}

    def counts(self, key: str) -> bool:
        """Whether this zone's energy is its own; not while it is withheld, or is another name of a counter."""
        return not any(pair.second == key for pair in (*self._doubtful, *self._same))

    def look(self, values: Mapping[str, int], again: Mapping[str, int]) -> None:
        """Compare one reading: all `values`, and all of them once more afterwards."""
        for pair in [pair for pair in self._same if not _one_counter(pair, values, again)]:
            self._same.remove(pair)
            _log.warning("RAPL zones %s and %s are two counters after all; both count", pair.first, pair.second)
        distinct = [pair for pair in self._doubtful if not _one_counter(pair, values, again)]
        for pair in self._doubtful:
            if pair in distinct or pair.first not in values or pair.second not in values:
                continue
            now_uj = values[pair.first], values[pair.second]
            if pair.since_uj is None:
                pair.since_uj = pair.last_uj = now_uj
            pair.agreed += now_uj[0] != pair.last_uj[0] and now_uj[1] != pair.last_uj[1]
            pair.last_uj = now_uj
        self._doubtful = [pair for pair in self._doubtful if pair not in distinct]
        for pair in {pair.second: pair for pair in distinct}.values():  # a name may have been in doubt with several
            self._release(pair)
        for pair in [pair for pair in self._doubtful if pair.agreed >= _READINGS and pair.moved_uj(0) >= _MOVED_UJ]:
            self._doubtful.remove(pair)
            self._same.append(pair)
            _log.info("RAPL zones %s and %s are names of one counter: it counts once", pair.first, pair.second)

    def _release(self, pair: _Pair) -> None:
        """The pair is distinct. What the second drew meanwhile counts, if no other pair withholds it."""
        if pair.since_uj is not None and self.counts(pair.second):
            domain = pair.second.partition("/")[0]
            self.released_uj[domain] = self.released_uj.get(domain, 0) + pair.moved_uj(1)


def _one_counter(pair: _Pair, values: Mapping[str, int], again: Mapping[str, int]) -> bool:
    """Whether the second value lies between two readings of the first; true while they cannot be compared."""
    if not {pair.first, pair.second} <= values.keys() & again.keys():
        return True
    low_uj, size_uj = values[pair.first] - _SKEW_UJ, pair.range_uj
    return (values[pair.second] - low_uj) % size_uj <= (again[pair.first] - low_uj) % size_uj + _SKEW_UJ
