"""Stores which counters targets want and what they counted in each hour; reads the units back.

An hour that is known stays as it is: Prometheus forgets, the ledger does not. An hour that is not known is never zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.unit_days import (
    ABSENT,
    COUNTED,
    DAY,
    HOUR,
    NOTHING_KNOWN,
    UNKNOWN,
    WITH_GAPS,
    PodKey,
    add_pods,
    day_of,
    with_hour,
)
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day, unit_failure, unit_lease
from carbonbudget_operator.ledger.write_locks import write_transaction
from carbonbudget_operator.units.counter_expression import CounterExpression
from carbonbudget_operator.units.counting import HourUnits
from carbonbudget_operator.units.pending_hours import NOT_IN_STORE, AttemptedHour

LEASE_SECONDS: Final = 120
MOST_COUNTERS: Final = 200  # of a namespace
_RENEWED_SECONDS: Final = HOUR  # `wanted_at` is written at most so often
_FOR_EVER: Final = 2**62
_DROPPED: Final = "dropped "  # in place of the digest of a counter whose hours are being deleted
_GIVEN_UP: Final = "the hour is older than units.give_up_days, after which Prometheus is not asked any more"
_WHOLE_DAY: Final = COUNTED * 24
_STATE_NAMES: Final = {COUNTED: "counted", WITH_GAPS: "counted", ABSENT: "absent"}

CounterKey = tuple[str, CounterExpression]


class WantedCounter(NamedTuple):
    """A counter of a namespace that a target needs from an hour on. The namespace is empty for a raw query.

    `of_cluster`: for a target of several namespaces. The limit of a namespace's counters does not hold for it: else its
    tenants could keep it from being counted, by targets of their own.
    """

    namespace: str
    expression: CounterExpression
    first_hour: int
    of_cluster: bool = False


class StoredCounter(NamedTuple):
    """A counter as it is stored. Its hours before `missing_before` that are not known are given up."""

    id: int
    namespace: str
    expression: CounterExpression
    first_hour: int
    missing_before: int


class FailedHour(NamedTuple):
    """An hour for which there was no usable answer."""

    counter_id: int
    hour: int
    attempt: AttemptedHour
    reason: str


@dataclass(frozen=True, slots=True)
class CounterHours:
    """What is known of a counter in a span.

    `states`: counted, absent (no series: 0 units), failed (asked again) or missing (given up, or long past and not in
    the store) by hour; an hour that is not there was not asked for yet. `units`: millionths by hour, then by namespace
    and pod; pods that counted nothing are not there. `gaps`: counted hours in which something was refused. `reason`:
    why the newest hour that failed or is missing did; empty if none is. `refused`: what was refused in one of `gaps`.
    """

    states: Mapping[int, str] = field(default_factory=dict)
    units: Mapping[int, Mapping[PodKey, int]] = field(default_factory=dict)
    gaps: frozenset[int] = frozenset()
    reason: str = ""
    refused: str = ""


class UnitStore:
    """The counters of one cluster. `most_counters`: those of a namespace; more are not stored."""

    def __init__(self, engine: sa.Engine, cluster: str, most_counters: int = MOST_COUNTERS) -> None:
        self._engine, self._cluster, self._most_counters = engine, cluster, most_counters
        columns = ("cluster", "namespace", "digest", "expression", "first_hour", "wanted_at")
        self._counters = BulkInsert(
            engine.dialect, unit_counter, columns, columns[:3], {"first_hour": "min", "wanted_at": "max"}
        )
        self._days = BulkInsert(
            engine.dialect, unit_day, ("counter_id", "day", "states", "refused", "pods"), ("counter_id", "day"),
            {"states": "set", "refused": "set", "pods": "set"},
        )  # fmt: skip
        self._failures = BulkInsert(
            engine.dialect, unit_failure, ("counter_id", "hour", "asked_at", "attempts", "reason"),
            ("counter_id", "hour"), {"asked_at": "set", "attempts": "set", "reason": "set"},
        )  # fmt: skip
        self._leases = BulkInsert(engine.dialect, unit_lease, ("cluster", "holder", "lease_until"), ("cluster",))

    def register(self, counters: Iterable[WantedCounter], now: int) -> None:
        """Store new counters, earlier first hours, and once in an hour that a counter is still wanted.

        Mostly nothing is written, and no transaction that writes is begun.
        """
        wanted: dict[tuple[str, str], WantedCounter] = {}
        for one in counters:
            key = one.namespace, one.expression.digest
            if (before := wanted.get(key)) is not None:
                first, wide = min(one.first_hour, before.first_hour), one.of_cluster or before.of_cluster
                one = WantedCounter(one.namespace, one.expression, first, wide)
            wanted[key] = one
        c = unit_counter.c
        query = sa.select(c.namespace, c.digest, c.first_hour, c.wanted_at).where(c.cluster == self._cluster)
        with self._engine.connect() as connection:
            stored = {(row.namespace, row.digest): row for row in connection.execute(query)}
        numbers: dict[str, int] = defaultdict(int)
        for namespace, digest in stored:
            numbers[namespace] += not digest.startswith(_DROPPED)
        rows = []
        for (namespace, digest), one in wanted.items():
            first, found = one.first_hour - one.first_hour % HOUR, stored.get((namespace, digest))
            if found is None:
                numbers[namespace] += 1
                if numbers[namespace] > self._most_counters and not one.of_cluster:
                    continue
            elif found.first_hour <= first and found.wanted_at > now - _RENEWED_SECONDS:
                continue
            rows.append((self._cluster, namespace, digest, one.expression.to_json(), first, now))
        if rows:
            with write_transaction(self._engine) as connection:
                self._counters.put(connection, sorted(rows))  # in one order: other servers do the same at that time

    def acquire(self, now: int, holder: str) -> bool:
        """Whether this server asks Prometheus until LEASE_SECONDS later; False if another one does."""
        c = unit_lease.c
        free = (c.holder == holder) | (c.lease_until <= now) | (c.lease_until > now + 5 * LEASE_SECONDS)
        with write_transaction(self._engine) as connection:
            taken = connection.execute(
                sa.update(unit_lease)
                .where(c.cluster == self._cluster, free)
                .values(holder=holder, lease_until=now + LEASE_SECONDS)
            )
            if not taken.rowcount:
                self._leases.put(connection, [(self._cluster, holder, now + LEASE_SECONDS)])
            found = connection.scalar(sa.select(c.holder).where(c.cluster == self._cluster))
        return bool(found == holder)

    def counters(self, wanted_since: int = 0) -> list[StoredCounter]:
        """The counters that a target has asked for since. One of a later version, which cannot be read, is left out."""
        c = unit_counter.c
        query = sa.select(c.id, c.namespace, c.expression, c.first_hour, c.missing_before)
        found = []
        with self._engine.connect() as connection:
            for row in connection.execute(
                query.where(c.cluster == self._cluster, c.wanted_at >= wanted_since).order_by(c.id)
            ):
                try:
                    expression = CounterExpression.from_json(row.expression)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                found.append(StoredCounter(row.id, row.namespace, expression, row.first_hour, row.missing_before))
        return found

    def known_hours(self, counter_ids: Collection[int], since: int) -> dict[int, set[int]]:
        """The known hours from `since` on, by counter."""
        c, found = unit_day.c, defaultdict[int, set[int]](set)
        with self._engine.connect() as connection:
            for some in chunks(sorted(counter_ids)):
                query = sa.select(c.counter_id, c.day, c.states)
                for counter_id, day, states in connection.execute(
                    query.where(c.counter_id.in_(some), c.day > since - DAY)
                ):
                    hours = (day + index * HOUR for index, letter in enumerate(states) if letter != UNKNOWN)
                    found[counter_id].update(hour for hour in hours if hour >= since)
        return found

    def failed_hours(self, counter_ids: Collection[int], since: int) -> dict[int, dict[int, AttemptedHour]]:
        """The failed hours from `since` on, by counter."""
        c, found = unit_failure.c, defaultdict[int, dict[int, AttemptedHour]](dict)
        with self._engine.connect() as connection:
            for some in chunks(sorted(counter_ids)):
                query = sa.select(c.counter_id, c.hour, c.asked_at, c.attempts)
                for row in connection.execute(query.where(c.counter_id.in_(some), c.hour >= since)):
                    found[row.counter_id][row.hour] = AttemptedHour(row.asked_at, row.attempts)
        return found

    def store_hour(self, counter_id: int, hour: int, counted: HourUnits) -> bool:
        """Store what was counted in one transaction; False if the hour is known already, or the counter is gone."""
        day, index = day_of(hour)
        letter = ABSENT if counted.is_absent else WITH_GAPS if counted.gaps else COUNTED
        with write_transaction(self._engine) as connection:
            # Its row is the lock of a counter: another server may still believe that it has the lease.
            is_named = ~unit_counter.c.digest.startswith(_DROPPED)
            lock = sa.select(unit_counter.c.id).where(unit_counter.c.id == counter_id, is_named).with_for_update()
            if connection.scalar(lock) is None:
                return False
            at = (unit_day.c.counter_id == counter_id, unit_day.c.day == day)
            found = connection.execute(sa.select(unit_day).where(*at)).first()
            states, pods, refused = (found.states, found.pods, found.refused) if found else (NOTHING_KNOWN, "[]", "")
            if states[index] != UNKNOWN:
                return False
            states, pods = with_hour(states, pods, index, letter, counted.micro, counted.unknown)
            self._days.put(connection, [(counter_id, day, states, counted.refused[:512] or refused, pods)])
            failure = unit_failure.c
            connection.execute(sa.delete(unit_failure).where(failure.counter_id == counter_id, failure.hour == hour))
        return True

    def store_failures(self, failures: Sequence[FailedHour]) -> None:
        """Store that hours were asked for in vain. An hour that is known meanwhile is read as known."""
        rows = sorted((one.counter_id, one.hour, *one.attempt, one.reason[:512]) for one in failures)
        if rows:
            with write_transaction(self._engine) as connection:
                self._failures.put(connection, rows)

    def give_up(self, horizon: int) -> None:
        """Hours before `horizon` that are not known are missing from now on."""
        c = unit_counter.c
        behind = (c.cluster == self._cluster, c.missing_before < horizon)
        with self._engine.connect() as connection:
            if not connection.scalar(sa.select(sa.exists().where(*behind))):
                return
        with write_transaction(self._engine) as connection:
            connection.execute(sa.update(unit_counter).where(*behind).values(missing_before=horizon))

    def drop_unused(self, wanted_since: int, dropper: BatchDeleter) -> None:
        """Delete counters that no target has asked for since, with their hours. Raises DeletionUnfinished.

        They lose their names first: one that is wanted again in this moment begins anew, with an id of its own. Their
        rows go last, so that the next call goes on where this one was interrupted.
        """
        c = unit_counter.c
        mine, is_left = c.cluster == self._cluster, c.digest.startswith(_DROPPED)
        with self._engine.connect() as connection:
            some = connection.scalar(sa.select(sa.exists().where(mine, c.wanted_at < wanted_since, ~is_left)))
        if some:
            with write_transaction(self._engine) as connection:
                connection.execute(
                    sa.update(unit_counter)
                    .where(mine, c.wanted_at < wanted_since, ~is_left)
                    .values(digest=sa.literal(_DROPPED) + sa.cast(c.id, sa.String), expression="")
                )
        with self._engine.connect() as connection:
            ids = ids_of(connection, sa.select(c.id).where(mine, is_left))
        for counter_id in ids:
            _drop_hours(dropper, counter_id, _FOR_EVER)
            dropper.before(kept_units, _FOR_EVER, prefix={"counter_id": counter_id})
            dropper.delete([sa.delete(unit_counter).where(c.id == counter_id)])


def drop_units_before(engine: sa.Engine, instant: int, dropper: BatchDeleter) -> None:
    """Forget the days that end before an instant. Raises DeletionUnfinished."""
    with engine.connect() as connection:
        ids = ids_of(connection, sa.select(unit_counter.c.id))
    for counter_id in ids:
        _drop_hours(dropper, counter_id, instant - instant % DAY)


def _drop_hours(dropper: BatchDeleter, counter_id: int, limit: int) -> None:
    dropper.before(unit_day, limit, prefix={"counter_id": counter_id})
    dropper.before(unit_failure, limit, prefix={"counter_id": counter_id})


class CounterReadings(Mapping[CounterKey, CounterHours]):
    """What is known of several counters. It holds them as they are stored; each access decodes one counter anew.

    All of them decoded would take a hundred times the memory: go through them one after the other.
    """

    def __init__(self, start: int, end: int) -> None:
        self._start, self._end = start, end
        self._missing_before: dict[CounterKey, int | None] = {}
        self._days: dict[CounterKey, list[Any]] = defaultdict(list)
        self._failures: dict[CounterKey, dict[int, tuple[int, str]]] = defaultdict(dict)

    def __iter__(self) -> Iterator[CounterKey]:
        return iter(self._missing_before)

    def __len__(self) -> int:
        return len(self._missing_before)

    def __getitem__(self, key: CounterKey) -> CounterHours:
        missing_before = self._missing_before[key]
        if missing_before is None:
            return CounterHours(reason="the counter was not asked for yet")
        start, end = self._start, self._end
        states: dict[int, str] = {}
        units: dict[int, dict[PodKey, int]] = {}
        gaps, refused = set(), ""
        for _, day, letters, day_refused, pods in self._days.get(key, ()):
            if letters == _WHOLE_DAY and start <= day and day + DAY <= end:  # nearly all
                states.update(dict.fromkeys(range(day, day + DAY, HOUR), "counted"))
                letters = ""
            for index, letter in enumerate(letters):
                hour = day + index * HOUR
                if letter != UNKNOWN and start <= hour < end:
                    states[hour] = _STATE_NAMES[letter]
                    if letter == WITH_GAPS:
                        gaps.add(hour)
                        refused = day_refused
            add_pods(pods, day, start, end, units)
        reasons = {}
        for hour, (attempts, reason) in self._failures.get(key, {}).items():
            if hour not in states:
                states[hour] = "missing" if hour < missing_before or attempts == NOT_IN_STORE else "failed"
                reasons[hour] = reason
        for hour in range(start, min(end, missing_before), HOUR):
            if hour not in states:
                states[hour] = "missing"
                reasons[hour] = _GIVEN_UP
        newest = reasons[max(reasons)] if reasons else ""
        return CounterHours(states, units, frozenset(gaps), newest, refused)


def read_units(
    connection: sa.Connection, cluster: str, counters: Sequence[CounterKey], start: int, end: int
) -> CounterReadings:  # fmt: skip
    """What is known of counters, by namespace and expression, in the full hours of [start, end)."""
    start += -start % HOUR
    readings = CounterReadings(start, end)
    c, day, failure = unit_counter.c, unit_day.c, unit_failure.c
    query = sa.select(c.namespace, c.digest, c.id, c.missing_before).where(c.cluster == cluster)
    stored = {(row.namespace, row.digest): row for row in connection.execute(query)}
    keys: dict[int, CounterKey] = {}
    for key in counters:
        found = stored.get((key[0], key[1].digest))
        readings._missing_before[key] = None if found is None else found.missing_before
        if found is not None:
            keys[found.id] = key
    columns = (day.counter_id, day.day, day.states, day.refused, day.pods)
    for some in chunks(sorted(keys)):
        within = (day.counter_id.in_(some), day.day > start - DAY, day.day < end)
        for row in connection.execute(sa.select(*columns).where(*within).order_by(day.counter_id, day.day)):
            readings._days[keys[row[0]]].append(row)
        at = (failure.counter_id.in_(some), failure.hour >= start, failure.hour < end)
        for counter_id, hour, attempts, reason in connection.execute(
            sa.select(failure.counter_id, failure.hour, failure.attempts, failure.reason).where(*at)
        ):
            readings._failures[keys[counter_id]][hour] = attempts, reason
    return readings
