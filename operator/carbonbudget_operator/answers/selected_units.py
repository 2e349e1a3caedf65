"""Units of selections hour by hour: which hours are known, and how many units the selected pods served in each.

Days that were read stay in memory as 24 numbers for each counter and selector: a thousand targets ask again each hour
for the same month, of which one hour is new.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.unit_day_facts import SEALED, Asked, UnitDayFacts, read_unit_day_facts
from carbonbudget_operator.answers.unit_hours import DAY, NO_STORE, NOT_ASKED, UnitDay, UnitHours, hours_of
from carbonbudget_operator.answers.unit_selection import LabelMatches, UnitSelection, named
from carbonbudget_operator.ledger.labelled_units import (
    NO_LABELS,
    NOT_KNOWN_THERE,
    LabelledUnits,
    PodNames,
    pod_namespaces,
    units_of_pods,
    units_of_sealed,
)
from carbonbudget_operator.ledger.posted_units import posted_units
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unit_days import ABSENT, NOTHING_KNOWN, UNKNOWN
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_MAX_DAYS: Final = 100_000  # some 900 bytes each: a month of three thousand targets
_IMPOSSIBLE = (
    "a pod of the namespace counted more units in the hour than can be (units.most_units_per_hour), or negative values "
    "or no numbers: see what its pods expose"
)
_MIXED = (
    "a part of these units has no pods, and those of a namespace are not known in the hour: let the query name a "
    "namespace and pod with every series, or with none"
)

_Filled = tuple[UnitSelection, UnitDay]


class SelectedUnits:
    """Reads units of selections, and remembers days. Threads share it, and none waits for what another one reads."""

    def __init__(
        self, cluster: str, result_days: int, max_days: int = _MAX_DAYS, has_prometheus: bool = True
    ) -> None:  # fmt: skip
        """`result_days`: for how long the units that pods post are stored. Without a Prometheus nothing else comes."""
        self._cluster, self._result_days, self._max_days = cluster, result_days, max_days
        self._not_asked = NOT_ASKED if has_prometheus else NO_STORE
        self._known: dict[tuple[Hashable, int], UnitDay] = {}
        self._labels = LabelMatches()
        self._lock = threading.Lock()  # of the days that are remembered

    def read(
        self, connection: sa.Connection, asked: Mapping[Hashable, Asked], revisions: Mapping[int, int], through: int
    ) -> dict[Hashable, UnitHours]:
        """The hours of each selection on the days (numbers since 1970) that are asked for.

        `revisions`: of the hours' facts; `through`: the end of the last whole hour that is reported.
        """
        found: dict[Hashable, dict[int, UnitDay]] = {key: {} for key in asked}
        if any(days for _, days in asked.values()):
            stored_from = through - self._result_days * DAY
            facts = read_unit_day_facts(connection, self._cluster, list(asked.values()), revisions, stored_from)
            missing: dict[int, dict[Hashable, _Filled]] = defaultdict(dict)
            for key, (selection, days) in asked.items():
                for day in days:
                    known = self._known.get((key, day))
                    if known is not None and known.signature == facts.signature(selection, day):
                        found[key][day] = known
                        continue
                    fresh = found[key][day] = facts.empty_day(selection, day)
                    if not facts.is_empty(selection, day):
                        missing[day][key] = selection, fresh
            self._fill(connection, missing, facts)
            self._remember(missing)
        return {key: UnitHours(its, self._not_asked) for key, its in found.items()}

    def _fill(
        self, connection: sa.Connection, missing: Mapping[int, Mapping[Hashable, _Filled]], facts: UnitDayFacts
    ) -> None:
        if not missing:
            return
        pods = self._pods(connection, chain.from_iterable(its.values() for its in missing.values()), min(missing) * DAY)
        for day, filled in sorted(missing.items()):
            of_counter: dict[int, list[_Filled]] = defaultdict(list)
            of_client: dict[str, list[_Filled]] = defaultdict(list)
            for selection, units in filled.values():
                counter = facts.counters.get(selection.counter)
                if selection.client:
                    of_client[selection.client].append((selection, units))
                elif counter is not None:
                    of_counter[counter.id].append((selection, units))
            for client, selections in of_client.items():
                names = {name for selection, _ in selections for name in selection.namespaces}
                read = posted_units(connection, self._cluster, client, named(names), day * DAY, (day + 1) * DAY)
                self._add(connection, list(read), selections, day * DAY)
            if of_counter:
                self._fill_counted(connection, day, of_counter, facts, pods)

    def _pods(self, connection: sa.Connection, filled: Iterable[_Filled], since: int) -> PodNames:
        """The pods that counters may have counted since then."""
        names = {name for selection, _ in filled if not selection.client for name in selection.namespaces}
        if EVERY_NAMESPACE in names:
            names = pod_namespaces(connection, self._cluster)
        return PodNames(connection, self._cluster, names, since)

    def _fill_counted(
        self,
        connection: sa.Connection,
        day: int,
        of_counter: Mapping[int, Sequence[_Filled]],
        facts: UnitDayFacts,
        pods: PodNames,
    ) -> None:
        start, stored = day * DAY, [hour for hour in hours_of(day) if hour not in facts.sealed]
        read = list(units_of_pods(connection, pods, of_counter, start, stored)) if stored else []
        kept: set[tuple[int, int]] = set()
        if len(stored) < 24:
            of_sealed = units_of_sealed(connection, of_counter, start, start + DAY)
            of_sealed_hours = [row for row in of_sealed if row.hour in facts.sealed]
            kept = {(row.counter_id, row.hour) for row in of_sealed_hours}
            read += of_sealed_hours
        rows: dict[int, list[LabelledUnits]] = defaultdict(list)
        for row in read:
            rows[row.counter_id].append(row)
        for counter_id, selections in of_counter.items():
            for at, letter in enumerate(facts.letters.get((counter_id, start), NOTHING_KNOWN)):
                if letter == UNKNOWN:
                    continue
                hour = start + at * HOUR
                known = hour not in facts.sealed or letter == ABSENT or (counter_id, hour) in kept
                for _, units in selections:
                    units.known[at] = known
                    if not known:
                        units.reasons[at] = SEALED
            self._add(connection, rows[counter_id], selections, start)

    def _add(
        self, connection: sa.Connection, rows: Sequence[LabelledUnits], selections: Sequence[_Filled], start: int
    ) -> None:
        """Add the rows of one counter to the selections that they belong to; `start` is the day's first second."""
        labels = self._loaded_labels(connection, {row.label_set_id for row in rows})
        of_namespace: dict[str, list[_Filled]] = defaultdict(list)
        for selection, units in selections:
            for name in selection.namespaces or ("",):
                of_namespace[name].append((selection, units))
        # Units without pods may be that namespace's: without it they would be set against too few emissions.
        lost = {row.hour for row in rows if row.label_set_id == NOT_KNOWN_THERE}
        for hour in lost & {row.hour for row in rows if row.label_set_id == NO_LABELS and row.micro > 0}:
            for _, units in selections:
                at = (hour - start) // HOUR
                units.known[at], units.reasons[at] = False, _MIXED
        for row in sorted(rows, key=lambda row: row.label_set_id != NOT_KNOWN_THERE):
            at = (row.hour - start) // HOUR
            for selection, units in chain(of_namespace[row.namespace], of_namespace[EVERY_NAMESPACE]):
                if not units.known[at]:
                    continue
                if row.label_set_id == NOT_KNOWN_THERE:
                    units.known[at], units.reasons[at] = False, _IMPOSSIBLE
                elif labels.belong(row, selection):
                    units.add(at, row.micro)

    def _loaded_labels(self, connection: sa.Connection, ids: Collection[int]) -> LabelMatches:
        if self._labels.is_full:
            self._labels = LabelMatches()  # another thread keeps the one that it has
        labels = self._labels
        labels.load(connection, ids)
        return labels

    def _remember(self, read: Mapping[int, Mapping[Hashable, _Filled]]) -> None:
        with self._lock:
            for day, filled in read.items():
                for key, (_, units) in filled.items():
                    self._known.pop((key, day), None)
                    self._known[(key, day)] = units
            while len(self._known) > self._max_days:
                del self._known[next(iter(self._known))]
