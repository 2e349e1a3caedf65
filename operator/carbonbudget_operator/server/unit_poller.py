"""Asks Prometheus for the hours of the counters that targets want, and stores what was counted.

One query for each counter, namespace and hour. One server of all asks at a time. Database and counting run in one
thread with one connection of its own, which pauses between series, so that no report waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from carbonbudget_core.backoff import Backoff
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, DeletionUnfinished
from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
from carbonbudget_operator.ledger.unit_store import FailedHour, StoredCounter, UnitStore
from carbonbudget_operator.server.unit_metrics import UnitMetrics
from carbonbudget_operator.server.unit_queries import QueryFailed, UnitQueries
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.units.counter_expression import InvalidCounter
from carbonbudget_operator.units.counting import HourUnits, RawSeries, UnusableAnswer, count_hour, count_vector
from carbonbudget_operator.units.pending_hours import NOT_IN_STORE, AttemptedHour, PendingHours
from carbonbudget_operator.units.promql import counter_query, scraped_query
from carbonbudget_operator.units.query_answer import raw_series, values_of

HOUR: Final = 3600
DAY: Final = 86_400
STEP_SECONDS: Final = 30.0  # between two rounds
_ROUND_SECONDS: Final = 20.0  # no query begins later in a round: the lease is 120 s
_MOST_OF_A_ROUND: Final = 2_000
_FAILURES_IN_A_ROW: Final = 8  # then the store is away, and the round ends
_LONGEST_PAUSE_SECONDS: Final = 300.0
_SCRAPED_MINUTES: Final = 30  # of an hour in which the store got samples: then no series means no units
_MOST_SCRAPED_HOURS: Final = 2_000
_LONG_PAST_SECONDS: Final = 2 * DAY  # an hour of before of which the store has no samples will hardly come back
_WANTED_SECONDS: Final = 3 * DAY  # for which a counter is asked for after a target last needed it
_MISSING_SECONDS: Final = 7 * DAY  # for which the metrics show hours that were given up
_MOST_REASONS: Final = 1_000
_DROP_SECONDS: Final = 10.0
_LONGEST_REST_SECONDS: Final = 0.2
_SAMPLES_AT_ONCE: Final = 2_000  # some 2 ms of counting, after which other threads have their turn

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _NotScraped(UnusableAnswer):
    """The store answers, and has no samples of an hour."""


class UnitPoller:
    """Counts units for one cluster. Without a URL in the settings it does nothing, and opens nothing."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, engine: sa.Engine | None = None) -> None:
        """`engine`: in place of a connection of its own, for tests."""
        self._settings, self._is_on = settings.units, bool(settings.units.url)
        self._metrics = UnitMetrics(registry)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="units")
        self._own_engine = engine is None and self._is_on
        self._engine = engine
        self._queries = UnitQueries(settings.units)
        self._holder = uuid.uuid4().hex
        self._cluster, self._ledger = settings.cluster, settings.server.ledger
        self._store: UnitStore | None = None
        self._pending: PendingHours | None = None
        self._counters: dict[int, StoredCounter] = {}
        self._scraped: dict[int, float] = {}  # minutes by hour; those of hours without enough, for one round
        self._backoff = Backoff(STEP_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._not_before = 0.0
        self._away = False
        self._dropped_at = 0
        self._missing_of = (0, 0)
        self._told: dict[int, str] = {}
        self._told_reasons: set[str] = set()
        self._last_turn = ""  # the namespace that was asked for last: those after it come first in the next round

    async def step(self, now: int) -> int:
        """One round; how many hours became known. `now` is the UTC second.

        Raises:
            QueryFailed: the store gave no usable answer to any query of this round, for the first time since it last
                gave one: between the rounds that fail are others in which nothing is due, so a caller that logs the
                first failure of several would log each of them. The metrics count all.
            LedgerError: the ledger is away.
        """
        if not self._is_on or now < self._not_before:
            return 0
        due = await self._in_thread(lambda: self._plan(now))
        self._not_before = 0.0
        if not due:
            return 0
        self._scraped = {hour: minutes for hour, minutes in self._scraped.items() if minutes >= _SCRAPED_MINUTES}
        asked = _Round(due)
        await asyncio.gather(*(self._ask_on(asked, now) for _ in range(self._settings.queries_at_once)))
        if asked.ledger_error is not None:
            raise asked.ledger_error
        failures = await self._in_thread(lambda: self._after(asked, now))
        if failures:
            await self._queries.close()
        if asked.is_reached:
            self._backoff.reset()
            self._away = False
        if asked.is_answered:
            self._metrics.last_success.set(time.time())
        elif failures:
            if asked.is_reached or not asked.is_away:
                if not self._is_news(str(failures[0].reason)):
                    return asked.known
            else:
                self._not_before = now + self._backoff.pause_seconds(asked.asked_seconds)
                if self._away:  # it is logged already
                    return asked.known
                self._away = True
            raise QueryFailed(f"{failures[0].reason}; nothing counts as zero, the hours are asked for again")
        return asked.known

    def _is_news(self, reason: str) -> bool:
        """Whether it was not told yet: what is wrong with a tenant's counter would fill the log otherwise."""
        if len(self._told_reasons) > _MOST_REASONS:
            self._told_reasons.clear()
        is_news = reason not in self._told_reasons
        self._told_reasons.add(reason)
        return is_news

    async def close(self) -> None:
        """Close the connections. No step runs any more."""
        await self._queries.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._own_engine and self._engine is not None:
            self._engine.dispose()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _opened(self) -> UnitStore:
        if self._store is None:
            if self._engine is None:
                self._engine = open_ledger(self._ledger, 1)
            self._store = UnitStore(self._engine, self._cluster, self._settings.counters_per_namespace)
        return self._store

    def _plan(self, now: int) -> list[tuple[StoredCounter, int]]:
        """What to ask for in this round; nothing if another server asks."""
        store = self._opened()
        assert self._engine is not None
        with ledger_errors(self._engine):
            if not store.acquire(now, self._holder):
                self._pending = None  # the other server changes what is known
                self._metrics.show(0, 0, 0)
                return []
            horizon = now - self._settings.give_up_days * DAY
            horizon += -horizon % HOUR
            end = now - self._settings.delay_seconds
            end -= end % HOUR
            store.give_up(horizon)
            if now - self._dropped_at >= HOUR:
                with suppress(DeletionUnfinished):
                    store.drop_unused(now - self._settings.unused_days * DAY, BatchDeleter(self._engine, _DROP_SECONDS))
                    self._dropped_at = now
            return self._due(store, now, horizon, end)

    def _due(self, store: UnitStore, now: int, horizon: int, end: int) -> list[tuple[StoredCounter, int]]:
        self._counters = {one.id: one for one in store.counters(now - _WANTED_SECONDS)}
        pending = self._pending = self._pending or PendingHours()
        pending.keep(self._counters)
        pending.move(horizon, end)
        new = {}
        for counter_id, one in self._counters.items():
            first, wanted = pending.first_of(counter_id), max(one.first_hour, horizon)
            if first is None or wanted < first:
                new[counter_id] = wanted
        if new:
            known, failed = store.known_hours(new, horizon), store.failed_hours(new, horizon)
            for counter_id, first in new.items():
                namespace = self._counters[counter_id].namespace
                pending.put(counter_id, namespace, first, end, known.get(counter_id, ()), failed.get(counter_id, {}))
        if horizon != self._missing_of[0]:  # once an hour
            self._missing_of = horizon, self._missing(store, horizon)
        self._show(pending)
        due = pending.due(now, _MOST_OF_A_ROUND, self._last_turn)
        return [(self._counters[key], hour) for key, hour in due]

    def _show(self, pending: PendingHours) -> None:
        waiting, failed, lost = pending.counts()
        self._metrics.show(waiting, failed, lost + self._missing_of[1])

    def _missing(self, store: UnitStore, horizon: int) -> int:
        """Hours that were given up lately."""
        since = horizon - _MISSING_SECONDS
        wanted = {key: one.first_hour for key, one in self._counters.items() if one.first_hour < horizon}
        known = store.known_hours(wanted, since) if wanted else {}
        return sum(
            (horizon - max(first, since)) // HOUR - sum(first <= hour < horizon for hour in known.get(key, ()))
            for key, first in wanted.items()
        )

    async def _ask_on(self, asked: _Round, now: int) -> None:
        """Take one hour after the other until the round is over."""
        while (found := asked.next()) is not None:
            counter, hour = found
            self._last_turn = counter.namespace
            try:
                counted = await self._count(counter, hour)
            except (QueryFailed, UnusableAnswer, InvalidCounter) as error:
                self._metrics.failures.inc()
                asked.fail(counter, hour, error)
                continue
            try:
                await self._in_thread(lambda: self._keep(counter, hour, counted))  # noqa: B023 - awaited at once
            except LedgerError as error:
                asked.ledger_error = error
                return
            asked.succeed()

    async def _count(self, counter: StoredCounter, hour: int) -> HourUnits:
        """Ask for an hour and count it. Raises QueryFailed, UnusableAnswer, InvalidCounter."""
        settings = self._settings
        query = counter_query(
            counter.expression, counter.namespace, settings.lookback_seconds, settings.namespace_label,
            settings.pod_label,
        )  # fmt: skip
        self._metrics.queries.inc()
        body = await self._queries.ask(query, hour + HOUR)
        counted = await self._in_thread(lambda: self._counted(counter, hour, body))
        if not counted.is_sampled and settings.scraped_query:
            await self._require_scraped(hour)
        return counted

    def _counted(self, counter: StoredCounter, hour: int, body: bytes) -> HourUnits:
        settings = self._settings
        labels = settings.namespace_label, settings.pod_label
        try:
            if counter.expression.query:
                return count_vector(values_of(body), *labels, settings.most_units_per_hour)
            series = _unhurried(raw_series(body))
            return count_hour(
                series, counter.namespace, hour, settings.lookback_seconds, *labels, settings.most_units_per_hour
            )
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, UnusableAnswer):
                raise
            raise UnusableAnswer("the answer has samples of an unknown form: check units.url") from None

    async def _require_scraped(self, hour: int) -> None:
        """Raise unless the store got samples in an hour: one that was away, or has forgotten, knows of no series."""
        if (minutes := self._scraped.get(hour)) is None:
            self._metrics.queries.inc()
            found = values_of(await self._queries.ask(scraped_query(self._settings.scraped_query), hour + HOUR))
            try:
                minutes = max((float(value) for _, value in found), default=0.0)
            except ValueError:
                minutes = 0.0
            if len(self._scraped) >= _MOST_SCRAPED_HOURS:
                self._scraped.clear()
            self._scraped[hour] = minutes
        if not minutes >= _SCRAPED_MINUTES:
            raise _NotScraped(
                f"Prometheus has samples of {minutes:g} of that hour's 60 minutes: it was away, or has forgotten the "
                "hour (units.scraped_query)"
            )

    def _keep(self, counter: StoredCounter, hour: int, counted: HourUnits) -> None:
        assert self._engine is not None
        began = time.monotonic()
        with ledger_errors(self._engine):
            self._opened().store_hour(counter.id, hour, counted)
        # A writer that waits for SQLite's lock tries again only now and then: leave it free for twice as long.
        time.sleep(min(2 * (time.monotonic() - began), _LONGEST_REST_SECONDS))
        if self._pending is not None:
            self._pending.known(counter.id, hour)
        if counted.refused and self._told.get(counter.id) != counted.refused:
            _log.warning("units of namespace %s: %s", counter.namespace or "(all)", counted.refused)
            self._told[counter.id] = counted.refused

    def _after(self, asked: _Round, now: int) -> list[FailedHour]:
        """Store the failures of a round. They count against an hour only if others were answered meanwhile."""
        assert self._engine is not None
        pending = self._pending
        if pending is None:
            return []
        failures = []
        for counter, hour, error in asked.failures:
            attempts = max(1, pending.attempts(counter.id, hour) + asked.is_reached)
            if isinstance(error, _NotScraped) and hour < now - _LONG_PAST_SECONDS:
                attempts = NOT_IN_STORE
            attempt = AttemptedHour(now, attempts)
            pending.failed(counter.id, hour, attempt)
            failures.append(FailedHour(counter.id, hour, attempt, str(error)))
        self._show(pending)
        with ledger_errors(self._engine):
            self._opened().store_failures(failures)
        return failures


class _Round:
    """The hours of one round, who is next, and how it went."""

    def __init__(self, due: list[tuple[StoredCounter, int]]) -> None:
        self._due = iter(due)
        self._until = time.monotonic() + _ROUND_SECONDS
        self._in_a_row = 0
        self.known = 0
        self.is_answered = False  # by any usable answer
        self.is_away = False  # by a failure that is not of one counter alone
        self.is_reached = False  # by any answer of a store that is not away
        self.asked_seconds = 0
        self.ledger_error: LedgerError | None = None
        self.failures: list[tuple[StoredCounter, int, Exception]] = []

    def next(self) -> tuple[StoredCounter, int] | None:
        """The next hour; None if the round is over."""
        is_over = self.ledger_error is not None or self._in_a_row >= _FAILURES_IN_A_ROW
        if is_over or time.monotonic() > self._until:
            return None
        return next(self._due, None)

    def fail(self, counter: StoredCounter, hour: int, error: Exception) -> None:
        """A store that answers and has nothing of an hour, or nothing of this counter, is not away.

        Then the round goes on: the counters of one namespace are no reason not to ask for those of the next one.
        """
        if isinstance(error, _NotScraped):
            self.is_answered = self.is_reached = True
        elif isinstance(error, (QueryFailed, UnusableAnswer)) and error.of_counter:
            self._in_a_row, self.is_reached = 0, True
        elif not isinstance(error, InvalidCounter):  # no query was sent of that
            self._in_a_row += 1
            self.is_away = True
        if isinstance(error, QueryFailed):
            self.asked_seconds = max(self.asked_seconds, error.asked_seconds)
        self.failures.append((counter, hour, error))

    def succeed(self) -> None:
        self._in_a_row = 0
        self.known += 1
        self.is_answered = self.is_reached = True


def _unhurried(series: Iterator[RawSeries]) -> Iterator[RawSeries]:
    """The series, with a pause now and then in which other threads run: Python lets one run at a time."""
    samples = 0
    for one in series:
        samples += len(one.samples)
        if samples > _SAMPLES_AT_ONCE:
            samples = 0
            time.sleep(0.001)
        yield one
