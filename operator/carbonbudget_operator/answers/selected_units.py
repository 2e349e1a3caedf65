"""Units of selections hour by hour: which hours are known, and how many units the selected pods served in each.

Days that were read stay in memory as 24 numbers for each counter and selector: a thousand targets ask again each hour
for the same month, of which one hour is new.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.budgets.coverage import Covers, among, selects
from carbonbudget_operator.ledger.controller_pods import label_sets
from carbonbudget_operator.ledger.labelled_units import (
    KNOWN_WHEN_SEALED,
    MOST_MICRO,
    NO_LABELS,
    NOT_KNOWN_THERE,
    LabelledUnits,
    PodNames,
    RegisteredCounter,
    counted_days,
    failed_hours,
    pod_namespaces,
    registered_counters,
    sealed_hours_of,
    units_of_pods,
    units_of_sealed,
)
from carbonbudget_operator.ledger.posted_units import posted_revisions, posted_units
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unit_days import ABSENT, NOTHING_KNOWN, UNKNOWN
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

DAY: Final = 24 * HOUR
_MAX_DAYS: Final = 100_000  # some 900 bytes each: a month of three thousand targets
_MAX_LABEL_SETS: Final = 50_000
_NO_UNITS: Final = bytes(8 * 24)
_NAMED_AT_ONCE: Final = 500  # namespaces in one statement; of more, all are read
_IMPOSSIBLE = (
    "a pod of the namespace counted more units in the hour than can be (units.most_units_per_hour), or negative values "
    "or no numbers: see what its pods expose"
)
_MIXED = (
    "a part of these units has no pods, and those of a namespace are not known in the hour: let the query name a "
    "namespace and pod with every series, or with none"
)
_SEALED = "the pods of these hours are no longer stored, so their labels are not known (server.pod_days)"
_TOO_MANY = "the pods of one hour count together more than can be: see what their counters expose"
_GIVEN_UP = "the hour is older than units.give_up_days, after which Prometheus is not asked any more"
_NOT_ASKED = "Prometheus has not been asked for these hours yet"
_NO_STORE = "no Prometheus is configured to count them (units.url)"


@dataclass(frozen=True, slots=True)
class UnitSelection:
    """One counter's units of selected pods. `counter` is its namespace ("" for a query) and digest.

    `client`: the name of units that the pods count themselves, in place of a counter. `namespaces`: none for what a
    query counts that names no pods, which is about the target's pods as a whole.
    """

    counter: tuple[str, str]
    client: str
    namespaces: tuple[str, ...]
    selector: LabelSelector | None
    selector_key: bytes

    @property
    def key(self) -> Hashable:
        """What two selections have in common that have the same units."""
        return (self.counter, self.client, self.namespaces, self.selector_key)


@dataclass(slots=True)
class UnitDay:
    """A day's units in millionths by hour, and which of its hours are known."""

    signature: Hashable
    micro: array[int]
    known: bytearray
    reasons: dict[int, str] = field(default_factory=dict)  # of hours that were asked for and are not known

    def add(self, at: int, micro: int) -> None:
        """Add units to an hour that is known. Pods claim them: more than any pods can serve are not believed."""
        if not self.known[at]:
            return
        total = self.micro[at] + micro
        if total >= MOST_MICRO:
            self.known[at], self.reasons[at] = False, _TOO_MANY
            total = 0
        self.micro[at] = total


_Filled = tuple[UnitSelection, UnitDay]


class UnitHours:
    """The hours of one selection in one question."""

    def __init__(self, days: Mapping[int, UnitDay], not_asked: str = _NOT_ASKED) -> None:
        """`not_asked`: why hours are not known that nobody was asked for."""
        self._days, self._not_asked = days, not_asked

    def known(self, start: int, end: int) -> bytes:
        """One byte for each hour of [start, end), whole hours: 1 where it is known."""
        return b"".join(bytes(day.known[first:last]) for day, first, last in self._cut(start, end))

    def units_micro(self, start: int, end: int) -> int:
        """Units of the known hours of [start, end)."""
        return sum(sum(day.micro[first:last]) for day, first, last in self._cut(start, end))

    def reason(self, start: int, end: int) -> str:
        """Why hours of [start, end) are not known, which some are not: of the newest that was asked for in vain."""
        for day, first, last in reversed(list(self._cut(start, end))):
            for at in range(last - 1, first - 1, -1):
                if not day.known[at] and (text := day.reasons.get(at)):
                    return text
        return self._not_asked

    def _cut(self, start: int, end: int) -> Iterator[tuple[UnitDay, int, int]]:
        for number in range(start // DAY, -(-end // DAY)):
            since = number * DAY
            yield self._days[number], max(0, start - since) // HOUR, (min(end, since + DAY) - since) // HOUR


@dataclass(slots=True)
class _Labels:
    """Sets of labels that were read, and which selectors match them. It only grows, because threads share it."""

    sets: dict[int, Mapping[str, str]] = field(default_factory=dict)
    matches: dict[tuple[bytes, int], bool] = field(default_factory=dict)


class SelectedUnits:
    """Reads units of selections, and remembers days. Threads share it, and none waits for what another one reads."""

    def __init__(
        self, cluster: str, result_days: int, max_days: int = _MAX_DAYS, has_prometheus: bool = True
    ) -> None:  # fmt: skip
        """`result_days`: for how long the units that pods post are stored. Without a Prometheus nothing else comes."""
        self._cluster, self._result_days, self._max_days = cluster, result_days, max_days
        self._not_asked = _NOT_ASKED if has_prometheus else _NO_STORE
        self._known: dict[tuple[Hashable, int], UnitDay] = {}
        self._labels = _Labels()
        self._lock = threading.Lock()  # of the days that are remembered

    def read(
        self,
        connection: sa.Connection,
        asked: Mapping[Hashable, tuple[UnitSelection, Collection[int]]],
        revisions: Mapping[int, int],
        through: int,
    ) -> dict[Hashable, UnitHours]:
        """The hours of each selection on the days (numbers since 1970) that are asked for.

        `revisions`: of the hours' facts; `through`: the end of the last whole hour that is reported.
        """
        found: dict[Hashable, dict[int, UnitDay]] = {key: {} for key in asked}
        days = {day for _, numbers in asked.values() for day in numbers}
        if not days:
            return {key: UnitHours(its, self._not_asked) for key, its in found.items()}
        start, end = min(days) * DAY, (max(days) + 1) * DAY
        sealed = sealed_hours_of(connection, self._cluster, start, end)
        facts = {day: hash(tuple(revisions.get(hour, 0) for hour in _hours(day))) for day in days}
        gone = {day: sum(hour in sealed for hour in _hours(day)) for day in days}
        counters = registered_counters(
            connection, self._cluster, {one.counter for one, _ in asked.values() if not one.client}
        )
        ids = {counter.id for counter in counters.values()}
        letters, failed = counted_days(connection, ids, start, end), failed_hours(connection, ids, start, end)
        stored_from = through - self._result_days * DAY
        posted_in = {day: bytes(hour not in sealed and hour >= stored_from for hour in _hours(day)) for day in days}
        posted = self._posted(connection, asked, {day for day, known in posted_in.items() if any(known)})
        missing: dict[int, dict[Hashable, UnitDay]] = defaultdict(dict)
        for key, (one, numbers) in asked.items():
            if one.client:
                for day in numbers:
                    counts = posted[one.client].of(one.namespaces, day)
                    version = (facts[day], posted_in[day], counts)
                    remembered = self._known.get((key, day))
                    if remembered is not None and remembered.signature == version:
                        found[key][day] = remembered
                        continue
                    reasons = {at: _SEALED for at, known in enumerate(posted_in[day]) if not known}
                    fresh = UnitDay(version, array("q", _NO_UNITS), bytearray(posted_in[day]), reasons)
                    found[key][day] = fresh
                    if any(counts) and any(posted_in[day]):
                        missing[day][key] = fresh
                continue
            counter = counters.get(one.counter)
            for day in numbers:
                at = (counter.id if counter is not None else 0, day * DAY)
                seen = (letters.get(at), tuple(failed.get(at, {}).items()))
                signature = (facts[day], gone[day], counter, seen)
                remembered = self._known.get((key, day))
                if remembered is not None and remembered.signature == signature:
                    found[key][day] = remembered
                    continue
                fresh = UnitDay(signature, array("q", _NO_UNITS), bytearray(24), dict(failed.get(at, {})))
                missing[day][key] = found[key][day] = fresh
        self._fill(connection, asked, missing, counters, letters, sealed)
        self._remember(missing)
        return {key: UnitHours(its, self._not_asked) for key, its in found.items()}

    def _fill(
        self,
        connection: sa.Connection,
        asked: Mapping[Hashable, tuple[UnitSelection, Collection[int]]],
        missing: Mapping[int, Mapping[Hashable, UnitDay]],
        counters: Mapping[tuple[str, str], RegisteredCounter],
        letters: Mapping[tuple[int, int], str],
        sealed: Collection[int],
    ) -> None:
        if not missing:
            return
        names = {
            name for filled in missing.values() for key in filled if not asked[key][0].client
            for name in asked[key][0].namespaces
        }  # fmt: skip
        if EVERY_NAMESPACE in names:
            names = pod_namespaces(connection, self._cluster)
        pods = PodNames(connection, self._cluster, names, min(missing) * DAY)
        for day, filled in sorted(missing.items()):
            of_counter: dict[int, list[_Filled]] = defaultdict(list)
            of_client: dict[str, list[_Filled]] = defaultdict(list)
            for key, its in filled.items():
                one, counter = asked[key][0], counters.get(asked[key][0].counter)
                if one.client:
                    of_client[one.client].append((one, its))
                elif counter is not None:
                    of_counter[counter.id].append((one, its))
                    _give_up(its, day * DAY, counter.missing_before)
            for client, selections in of_client.items():
                names = {name for one, _ in selections for name in one.namespaces}
                read = posted_units(connection, self._cluster, client, _named(names), day * DAY, (day + 1) * DAY)
                self._add(connection, list(read), selections, day * DAY)
            if of_counter:
                self._fill_day(connection, day * DAY, of_counter, letters, sealed, pods)

    def _fill_day(
        self,
        connection: sa.Connection,
        day: int,
        of_counter: Mapping[int, Sequence[_Filled]],
        letters: Mapping[tuple[int, int], str],
        sealed: Collection[int],
        pods: PodNames,
    ) -> None:
        stored = [hour for hour in _hours(day // DAY) if hour not in sealed]
        read = list(units_of_pods(connection, pods, of_counter, day, stored)) if stored else []
        kept: set[tuple[int, int]] = set()
        if len(stored) < 24:
            of_sealed = [row for row in units_of_sealed(connection, of_counter, day, day + DAY) if row.hour in sealed]
            kept = {(row.counter_id, row.hour) for row in of_sealed}
            read += of_sealed
        for counter_id, selections in of_counter.items():
            for index, letter in enumerate(letters.get((counter_id, day), NOTHING_KNOWN)):
                if letter == UNKNOWN:
                    continue
                hour = day + index * HOUR
                known = hour not in sealed or letter == ABSENT or (counter_id, hour) in kept
                for _, filled in selections:
                    filled.known[index] = known
                    if not known:
                        filled.reasons[index] = _SEALED
        rows: dict[int, list[LabelledUnits]] = defaultdict(list)
        for row in read:
            rows[row.counter_id].append(row)
        for counter_id, selections in of_counter.items():
            self._add(connection, rows[counter_id], selections, day)

    def _posted(
        self, connection: sa.Connection, asked: Mapping[Hashable, tuple[UnitSelection, Collection[int]]],
        days: Collection[int],
    ) -> Mapping[str, _PostedCounts]:  # fmt: skip
        """What pods posted under each name of their own units on these days, by which a day is remembered."""
        names: dict[str, set[str]] = defaultdict(set)
        for one, _ in asked.values():
            if one.client:
                names[one.client].update(one.namespaces)
        if not days:
            return defaultdict(lambda: _PostedCounts({}))
        start, end = min(days) * DAY, (max(days) + 1) * DAY
        return {
            client: _PostedCounts(posted_revisions(connection, self._cluster, client, _named(of_client), start, end))
            for client, of_client in names.items()
        }

    def _add(
        self, connection: sa.Connection, rows: Sequence[LabelledUnits], selections: Sequence[_Filled], day: int
    ) -> None:
        """Add the rows of one counter to the selections that they belong to."""
        labels = self._load_labels(connection, {row.label_set_id for row in rows})
        of_namespace: dict[str, list[_Filled]] = defaultdict(list)
        for one, filled in selections:
            for name in one.namespaces or ("",):
                of_namespace[name].append((one, filled))
        # Units without pods may be that namespace's: without it they would be set against too few emissions.
        lost = {row.hour for row in rows if row.label_set_id == NOT_KNOWN_THERE}
        for hour in lost & {row.hour for row in rows if row.label_set_id == NO_LABELS and row.micro > 0}:
            for _, filled in selections:
                at = (hour - day) // HOUR
                filled.known[at], filled.reasons[at] = False, _MIXED
        for row in sorted(rows, key=lambda row: row.label_set_id != NOT_KNOWN_THERE):
            at = (row.hour - day) // HOUR
            for one, filled in chain(of_namespace[row.namespace], of_namespace[EVERY_NAMESPACE]):
                if not filled.known[at]:
                    continue
                if row.label_set_id == NOT_KNOWN_THERE:
                    filled.known[at], filled.reasons[at] = False, _IMPOSSIBLE
                elif _is_of(one, row, labels):
                    filled.add(at, row.micro)

    def _load_labels(self, connection: sa.Connection, ids: Iterable[int]) -> _Labels:
        if len(self._labels.sets) > _MAX_LABEL_SETS or len(self._labels.matches) > 20 * _MAX_LABEL_SETS:
            self._labels = _Labels()  # another thread keeps the one that it has
        labels = self._labels
        unknown = {key for key in ids if key > NO_LABELS and key not in labels.sets}
        labels.sets |= {key: json.loads(text) for key, text in label_sets(connection, unknown).items()}
        return labels

    def _remember(self, read: Mapping[int, Mapping[Hashable, UnitDay]]) -> None:
        with self._lock:
            for day, filled in read.items():
                for key, its in filled.items():
                    self._known.pop((key, day), None)
                    self._known[(key, day)] = its
            while len(self._known) > self._max_days:
                del self._known[next(iter(self._known))]


@dataclass(frozen=True, slots=True)
class _PostedCounts:
    """How many counts pods posted under one name, by namespace and day."""

    counts: Mapping[tuple[str, int], int]

    def of(self, namespaces: Sequence[str], day: int) -> tuple[int, ...]:
        """The counts of each of the namespaces on a day."""
        if EVERY_NAMESPACE in namespaces:
            return tuple(counts for (_, number), counts in sorted(self.counts.items()) if number == day)
        return tuple(self.counts.get((name, day), 0) for name in namespaces)


def _named(names: Collection[str]) -> Collection[str] | None:
    """The namespaces to read; None for all."""
    return None if EVERY_NAMESPACE in names or len(names) > _NAMED_AT_ONCE else names


def _is_of(one: UnitSelection, row: LabelledUnits, labels: _Labels) -> bool:
    if row.label_set_id == KNOWN_WHEN_SEALED:
        return False
    if row.label_set_id == NO_LABELS:
        return not one.namespaces
    if not among(one.namespaces, row.namespace):
        return False
    if one.selector is None:
        return True
    key = (one.selector_key, row.label_set_id)
    found = labels.matches.get(key)
    if found is None:
        found = selects(one.selector, labels.sets.get(row.label_set_id, {})) is Covers.YES
        labels.matches[key] = found
    return found


def runs_of(known: bytes, start: int, longest: int | None = None) -> list[tuple[int, int]]:
    """The maximal runs of known hours, [start, end) each; `longest` bounds them, in hours."""
    runs: list[tuple[int, int]] = []
    first = known.find(1)
    while first >= 0:
        end = known.find(0, first)
        end = len(known) if end < 0 else end
        step = longest or end - first
        runs += ((start + at * HOUR, start + min(end, at + step) * HOUR) for at in range(first, end, step))
        first = known.find(1, end)
    return runs


def _hours(day: int) -> Sequence[int]:
    return range(day * DAY, (day + 1) * DAY, HOUR)


def _give_up(filled: UnitDay, day: int, missing_before: int) -> None:
    """Note of hours that were never asked for and will not be why they are missing."""
    for index in range(24):
        if day + index * HOUR < missing_before:
            filled.reasons.setdefault(index, _GIVEN_UP)
