"""By which settings each hour was valued: hours that are sealed by those of then, the others by those of today."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.targets.counted_method import Method, method_changes, method_of, settings_of
from carbonbudget_operator.valuation.derivation import BUNDLED, read_description
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_INTENSITY: Final = "carbon.intensity"
MOST_METHODS: Final = 8  # of one span: with two of them it is already clear that hours do not compare


class ValuingSettings(NamedTuple):
    """What values an hour. `since`: the UTC second from which its settings hold in their text.

    `version`: rules and bundled tables. `settings`: each as a key and JSON. `method`: those of `counted_method`.
    """

    text: str
    since: int
    version: tuple[str, str]
    settings: tuple[str, ...]
    method: Method


class SettingsByHour:
    """The settings of the hours with facts of one question, in one snapshot."""

    def __init__(self, connection: sa.Connection, reader: ValuedReader, hours: Iterable[int]) -> None:
        """`hours`: their starts in UTC seconds, ascending."""
        self._hours = list(hours)
        self._starts: list[int] = []  # of hours from which on other settings hold
        self._runs: list[ValuingSettings | None] = []  # None: of a text that cannot be read
        if not self._hours:
            return
        sealed = sealed_hours(connection, reader.cluster, self._hours[0], self._hours[-1] + 1)
        texts = _descriptions(connection, set(sealed.values()))
        for hour in self._hours:
            found = _in_force(texts[sealed[hour]] if hour in sealed else reader.derived.description, hour)
            if not self._starts or found is not self._runs[-1]:
                self._starts.append(hour)
                self._runs.append(found)

    def methods(self, start: int, end: int) -> list[Method]:
        """The methods of [start, end), each once, the newest hour's last; without hours whose text cannot be read.

        Empty where no hour has facts.
        """
        inside = self._hours[bisect_left(self._hours, start) : bisect_left(self._hours, end)]
        if not inside:
            return []
        first, last = (bisect_right(self._starts, hour) - 1 for hour in (inside[0], inside[-1]))
        newest_first = dict.fromkeys(one.method for one in reversed(self._runs[first : last + 1]) if one is not None)
        return list(reversed(list(newest_first)[:MOST_METHODS]))

    def changes(self) -> list[tuple[int, list[str]]]:
        """What differs between one hour and the next, by the UTC second from which it does."""
        known = [(hour, one) for hour, one in zip(self._starts, self._runs, strict=True) if one is not None]
        found = []
        for (_, before), (hour, present) in pairwise(known):
            what = [] if before.version == present.version else [BUNDLED]
            what += method_changes(before.settings, [present.settings])
            if what:
                # A date is exact, also where the first hour after it has no facts.
                found.append((present.since if before.text == present.text else hour, what))
        return found


def _descriptions(connection: sa.Connection, ids: set[int]) -> dict[int, str]:
    c = schema.derivation.c
    rows = connection.execute(sa.select(c.id, c.description).where(c.id.in_(ids))) if ids else ()
    return {row.id: row.description for row in rows}


def _in_force(text: str, hour: int) -> ValuingSettings | None:
    by_start = _read_whole(text)
    return by_start[max(start for start in by_start if start <= hour)] if by_start else None


@lru_cache(maxsize=256)
def _read_whole(text: str) -> Mapping[int, ValuingSettings]:
    """The settings of a derivation's text by the UTC second from which they hold; empty if it cannot be read."""
    found = read_description(text)
    if found is None:
        return {}
    version, by_start = found
    return {
        start: ValuingSettings(text, start, version, settings_of(flat), method_of(_with_sources(flat)))
        for start, flat in by_start.items()
    }


def _with_sources(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with the names of the sources of intensities: what a source answers, or states, is no method."""
    listed, _, _ = str(settings.get(_INTENSITY, "")).rpartition(", ")
    try:
        sources = [str(one).partition(" {")[0].partition(": ")[0] for one in ast.literal_eval(listed)]
    except (ValueError, SyntaxError):
        return dict(settings)
    return {**settings, "carbon.intensity.sources": sources}
