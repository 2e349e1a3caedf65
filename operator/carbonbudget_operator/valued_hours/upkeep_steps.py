"""The steps of upkeep: store the next valued unit, seal the next hour, delete old data. Each call does one step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from carbonbudget_operator.ledger.batch_delete import BatchDeleter, DeletionUnfinished
from carbonbudget_operator.ledger.earlier_valuation import earlier_hour, totals_of
from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.ledger_engine import LedgerError, snapshot
from carbonbudget_operator.ledger.read_only_database import AWAY
from carbonbudget_operator.ledger.retention import drop_before, drop_earlier_derivations, nothing_before
from carbonbudget_operator.ledger.seal import SealError, forget_pods, seal_hour, sealed_hours
from carbonbudget_operator.ledger.stored_units import DAYS, HOURS, NAMESPACE_DAYS, STORED_LEVELS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import ValuedUnit
from carbonbudget_operator.valued_hours.restated_hours import RestatedHours
from carbonbudget_operator.valued_hours.unit_calendar import DAY, Key, signatures, unit_end, unit_of
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_SETTLED_SECONDS = 3600  # servers of an upgrade, and settings that are taken back, need not make all anew
_DROP_SECONDS = 20.0  # of each round: the other steps wait meanwhile
_GRACE_SECONDS = 900  # late windows of an ordinary hour have come by then


class UnitError(Exception):
    """A unit cannot be stored or sealed; others may succeed. `away`: the cause may be the database."""

    def __init__(self, unit: Key, error: Exception) -> None:
        level, start = unit
        when = dt.datetime.fromtimestamp(start, dt.UTC)
        super().__init__(f"unit of level {level} from {when:%Y-%m-%dT%H:%MZ}: {error or type(error).__name__}")
        self.unit = unit
        self.away = isinstance(error, (LedgerError, *AWAY))


@contextmanager
def _of(unit: Key) -> Iterator[None]:
    """An error inside becomes a UnitError of the unit."""
    try:
        yield
    except Exception as error:
        raise UnitError(unit, error) from error


class UpkeepSteps:
    """Updates stored units, seals old hours, and deletes what is past its retention."""

    def __init__(self, reader: ValuedReader, pod_days: int, keep_months: int) -> None:
        self._reader, self._pod_days, self._keep_months = reader, pod_days, keep_months
        self._since: int | None = None
        self._last: dict[int, int] | None = None
        self._quiet: set[int] = set()
        self._too_large: dict[Key, str] = {}
        self._done: tuple[int, dict[int, int]] | None = None  # the state in which all units were stored that can be
        self._signed: tuple[dict[int, int], dict[Key, str]] | None = None  # revisions, and what follows from them
        self._dropped = 0  # the instant before which all was deleted
        self._sealed = False  # something, since pods were last forgotten
        self._restated = RestatedHours(reader.derived.description)
        self.hours_unsealed = 0  # of those that should be, when `seal` was last called
        self.first_unsealed = 0  # the earliest of them, in UTC seconds

    def begin(self, now: int) -> None:
        """Begin a round: until the next one, `step` takes only hours that did not change since the one before.

        Agents that send a day's backlog change its hours for minutes: each would be valued over and over.
        """
        with snapshot(self._reader.engine) as connection:
            revisions = hours_with_facts(connection, 0, now)
        before = self._last or {}
        self._quiet = {hour for hour, revision in revisions.items() if before.get(hour) == revision}
        self._last = revisions

    def step(self, now: int, aside: Collection[Key] = ()) -> Key | None:
        """Store the next unit that is over and not stored with its present figures; which one, None without one.

        Raises:
            UnitError: one cannot be stored.
        """
        with snapshot(self._reader.engine) as connection:
            revisions = hours_with_facts(connection, 0, now)
            over = {hour: revision for hour, revision in revisions.items() if hour + HOUR + _GRACE_SECONDS <= now}
            state, waits = ((now - _GRACE_SECONDS) // HOUR, over), False
            if state == self._done:  # mostly nothing changed: two years have 18,000 hours to sign
                return None
            wanted = self._signatures(revisions)
            stored = self._reader.derived.signatures(connection, 0, now)
            for level in STORED_LEVELS:
                for key in sorted(key for key in wanted if key[0] == level):
                    end = unit_end(key[1], level)
                    if wanted[key] in (stored.get(key), self._too_large.get(key)) or end + _GRACE_SECONDS > now:
                        continue
                    if key in aside:
                        waits = True
                        continue
                    if level == HOURS:
                        if not self._is_quiet(key[1], revisions[key[1]]):
                            waits = True
                            continue
                        with _of(key):
                            unit = self._reader.make(connection, key[1])
                    else:
                        made_of = DAYS if level == NAMESPACE_DAYS else level - 1
                        parts = [child for child in wanted if child[0] == made_of and key[1] <= child[1] < end]
                        if any(stored.get(child) != wanted[child] for child in parts):
                            continue  # one of them waits
                        summed: ValuedUnit | None = None
                        with _of(key), suppress(OverflowError):
                            summed = self._reader.derived.sum_up(connection, parts, level, key[1], end)
                        if summed is None:
                            self._too_large[key] = wanted[key]  # shorter units answer for it
                            continue
                        unit = summed
                    break
                else:
                    continue
                break
            else:
                self._done = self._done if waits else state
                self._signed = None
                return None
        with _of(key):
            self._reader.derived.save(unit, end, wanted[key])
            if level == HOURS:
                self._compare(unit)
        return key

    def _signatures(self, revisions: dict[int, int]) -> dict[Key, str]:
        """The signatures that all units must have. Made once a round: two years take half a step's time."""
        if self._signed is None or self._signed[0] != revisions:
            wanted = signatures(revisions)
            for (level, start), of_day in list(wanted.items()):
                if level == DAYS:
                    wanted[NAMESPACE_DAYS, start] = self._reader.derived.namespace_signature(of_day)
            self._signed = revisions, wanted
        return self._signed[1]

    def take_restated(self) -> RestatedHours | None:
        """The hours that got other figures by other settings since this was last called; None if none did."""
        found, self._restated = self._restated, RestatedHours(self._reader.derived.description)
        return found if found.hours else None

    def _compare(self, unit: ValuedUnit) -> None:
        """Record the hour if its figures under earlier settings were different."""
        with self._reader.engine.connect() as connection:
            derivation_id = self._reader.derived.id(connection)
            previous = None if derivation_id is None else earlier_hour(connection, derivation_id, unit.start)
        if previous is not None:
            after = totals_of(row.figures for row in unit.rows)
            self._restated.add(unit.start, previous.description, previous.totals, after)

    def _is_quiet(self, hour: int, revision: int) -> bool:
        return self._last is None or (hour in self._quiet and self._last.get(hour) == revision)

    def seal(self, now: int, aside: Collection[Key] = ()) -> Key | None:
        """Seal the next hour that is old enough and stored; which one, None without one.

        Raises:
            UnitError: one cannot be sealed.
        """
        # A day later than the last report of that hour may come.
        limit = unit_of(now - (self._pod_days + 1) * DAY, HOURS)
        reader = self._reader
        with snapshot(reader.engine) as connection:
            revisions = hours_with_facts(connection, 0, limit)
            sealed = sealed_hours(connection, reader.cluster, 0, limit)
            open_ = [hour for hour in revisions if hour not in sealed]
            derivation_id = reader.derived.id(connection)
            stored = reader.derived.signatures(connection, open_[0], limit) if open_ else {}
        self.hours_unsealed, self.first_unsealed = len(open_), min(open_, default=0)
        wanted = signatures({hour: revisions[hour] for hour in open_})
        hopeful = [key for hour in open_ if (key := (HOURS, hour)) not in aside]
        for key in hopeful:
            if stored.get(key) == wanted[key] and derivation_id is not None:
                with _of(key), self._delete_if_wrong(key[1]):
                    seal_hour(reader.engine, reader.cluster, key[1], derivation_id, now, reader.valued_uj)
                self._sealed = True
                return key
        if self._sealed:
            forget_pods(reader.engine, reader.cluster, min((hour for _, hour in hopeful), default=limit))
            self._sealed = False
        return None

    @contextmanager
    def _delete_if_wrong(self, hour: int) -> Iterator[None]:
        """Delete stored units of an hour that do not add up to its measured energy, so that they are made again."""
        try:
            yield
        except SealError:
            starts = {level: unit_of(hour, level) for level in STORED_LEVELS}
            self._reader.derived.forget((level, start, unit_end(start, level)) for level, start in starts.items())
            self._done = None
            raise

    def drop(self, now: int) -> None:
        """Delete what is past its retention, and units of earlier settings when the present ones are an hour old."""
        day = dt.datetime.fromtimestamp(now, dt.UTC)
        months = day.year * 12 + day.month - 1 - self._keep_months
        first = dt.datetime(months // 12, months % 12 + 1, 1, tzinfo=dt.UTC)
        instant, engine = int(first.timestamp()), self._reader.engine
        dropper = BatchDeleter(engine, _DROP_SECONDS)
        with suppress(DeletionUnfinished):
            with engine.connect() as connection:
                done = instant == self._dropped and nothing_before(connection, instant)
            if not done:
                drop_before(engine, instant, dropper)
                self._dropped = instant
            self._since = now if self._since is None else self._since
            if now - self._since < _SETTLED_SECONDS:
                return
            with snapshot(engine) as connection:
                derivation_id = self._reader.derived.id(connection)
            if derivation_id is not None:
                drop_earlier_derivations(engine, derivation_id, dropper)
