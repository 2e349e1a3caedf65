"""The units of targets' spans: where those of each namespace are counted, and their hours."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.summed_span import SummedSpan
from carbonbudget_operator.answers.unit_hours import DAY, UnitHours
from carbonbudget_operator.answers.unit_selection import UnitSelection
from carbonbudget_operator.api.target_spec import ClusterUnitSource

_DAYS_AT_ONCE: Final = 50_000  # of units in memory, besides those that are remembered: some 900 bytes each
# The digest of a source's expression, as counters are registered under it.
Digest = Callable[[ClusterUnitSource], str]


class TargetUnits:
    """Reads units. Threads share it."""

    def __init__(self, units: SelectedUnits, digest: Digest) -> None:
        self._units, self._digest = units, digest

    def read(
        self, spans: Iterable[SummedSpan], connection: sa.Connection, revisions: Mapping[int, int], through: int
    ) -> Iterator[tuple[SummedSpan, tuple[str, ...], UnitHours]]:
        """Each span with its namespaces and their hours up to `through`, read for some selections at a time.

        A target of a thousand namespaces with a baseline of a year has 366,000 days: together they would take more
        memory than the server has. `revisions`: of the hours' facts.
        """
        wanted: dict[Hashable, tuple[UnitSelection, set[int], list[tuple[SummedSpan, tuple[str, ...]]]]] = {}
        for one in spans:
            days = range(one.start // DAY, -(-one.end // DAY))
            for selection, names in self._selections(one):
                found = wanted.setdefault(selection.key, (selection, set(), []))
                found[1].update(days)
                found[2].append((one, names))
        batch: list[Hashable] = []
        size = 0
        for number, (key, (_, days_of, _)) in enumerate(wanted.items(), 1):
            batch.append(key)
            size += len(days_of)
            if size < _DAYS_AT_ONCE and number < len(wanted):
                continue
            asked = {its: wanted[its][:2] for its in batch}
            hours = self._units.read(connection, asked, revisions, through)
            for its in batch:
                yield from ((one, names, hours[its]) for one, names in wanted[its][2])
            batch, size = [], 0

    def _selections(self, one: SummedSpan) -> Iterator[tuple[UnitSelection, tuple[str, ...]]]:
        """Where the span's units are counted, and the namespaces whose hours that settles.

        Each namespace has hours of its own: what one's pods expose settles no hour of the others.
        """
        source, selector = one.asked.source, one.asked.selector
        text = "" if selector is None else selector.model_dump_json()
        key = blake2b(text.encode(), digest_size=16).digest()
        if source.client is not None:
            for name in one.namespaces:
                yield UnitSelection(("", ""), source.client, (name,), selector, key), (name,)
            return
        try:
            digest = self._digest(source)
        except ValueError as error:  # no counter can have this name: it counts nothing
            one.missing = str(error)
            digest = ""
        if source.query is not None:
            yield UnitSelection(("", digest), "", (), selector, key), ()
        for name in one.namespaces:
            counter = ("" if source.query is not None else name, digest)
            yield UnitSelection(counter, "", (name,), selector, key), (name,)
