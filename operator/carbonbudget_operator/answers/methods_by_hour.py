"""By which method each hour was counted: hours that are sealed by the settings of then, the others by those of today."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.targets.counted_method import Method, method_of

# The text of a derivation is written and read in one place; nothing else of it is used here.
from carbonbudget_operator.valuation.derivation import _read
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_INTENSITY: Final = "carbon.intensity"
MOST_METHODS: Final = 8  # of one span: with two of them it is already clear that hours do not compare


class MethodsByHour:
    """The methods of the hours with facts of one question, in one snapshot."""

    def __init__(self, connection: sa.Connection, reader: ValuedReader, hours: Iterable[int]) -> None:
        """`hours`: their starts in UTC seconds, ascending."""
        self._hours = list(hours)
        self._starts: list[int] = []  # of hours from which on another method holds
        self._methods: list[Method | None] = []
        if not self._hours:
            return
        sealed = sealed_hours(connection, reader.cluster, self._hours[0], self._hours[-1] + 1)
        texts = _descriptions(connection, set(sealed.values()))
        for hour in self._hours:
            method = _method(texts[sealed[hour]] if hour in sealed else reader.derived.description, hour)
            if not self._starts or method != self._methods[-1]:
                self._starts.append(hour)
                self._methods.append(method)

    def of(self, start: int, end: int) -> list[Method]:
        """The methods of [start, end), each once, the one of the newest hour last; without hours whose text is unknown.

        Empty where no hour has facts.
        """
        inside = self._hours[bisect_left(self._hours, start) : bisect_left(self._hours, end)]
        if not inside:
            return []
        first, last = (bisect_right(self._starts, hour) - 1 for hour in (inside[0], inside[-1]))
        newest_first = dict.fromkeys(reversed(self._methods[first : last + 1]))
        return [one for one in reversed(list(newest_first)[:MOST_METHODS]) if one is not None]


def _descriptions(connection: sa.Connection, ids: set[int]) -> dict[int, str]:
    c = schema.derivation.c
    rows = connection.execute(sa.select(c.id, c.description).where(c.id.in_(ids))) if ids else ()
    return {row.id: row.description for row in rows}


def _method(text: str, hour: int) -> Method | None:
    by_start = _methods_of(text)
    return by_start[max(start for start in by_start if start <= hour)] if by_start else None


@lru_cache(maxsize=256)
def _methods_of(text: str) -> Mapping[int, Method]:
    """The methods of a derivation's text by the UTC second from which they hold; empty if it cannot be read."""
    found = _read(text)
    return {} if found is None else {start: method_of(_with_sources(flat)) for start, flat in found[1].items()}


def _with_sources(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with the names of the sources of intensities: what a source answers, or states, is no method."""
    listed, _, _ = str(settings.get(_INTENSITY, "")).rpartition(", ")
    try:
        sources = [str(one).partition(" {")[0].partition(": ")[0] for one in ast.literal_eval(listed)]
    except (ValueError, SyntaxError):
        return dict(settings)
    return {**settings, "carbon.intensity.sources": sources}
