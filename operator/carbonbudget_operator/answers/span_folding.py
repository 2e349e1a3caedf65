"""Folds the results of old spans into their rows, and deletes windows, results and pods that are past their retention.

A day's spans of a pod are folded together, a day before their windows are deleted: dividing a day costs little more
than dividing an hour. What is not final then stays as it is, and is folded from hourly facts when it is.

Namespaces take turns, pod by pod. A turn is one division, whose cost is bounded, and all of its results are stored: a
namespace with many spans delays others by its own pod in turn, and no division is made twice.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.pod_spans import MOST_SPANS, PodSpansReader, result_of
from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, DeletionUnfinished, ids_of
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.span_store import DAY, read_spans
from carbonbudget_operator.ledger.tracked_pods import tracked_by_id
from carbonbudget_operator.ledger.write_locks import write_transaction
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_log = logging.getLogger(__name__)
_STEP_SECONDS: Final = 10.0
_AT_ONCE: Final = 2_000  # rows that one transaction deletes
_WRITTEN_AT_ONCE: Final = 500  # results that one transaction stores
_LEAST_AGE: Final = 6 * 3600


class SpanFolding:
    """The upkeep of spans on one ledger. Each step ends after some seconds; the next one goes on."""

    def __init__(
        self, reader: ValuedReader, window_days: int, result_days: int, pod_days: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`pod_days`: when pods' hours are sealed; by then everything is folded as it is. `clock` is in seconds."""
        self._reader, self._spans, self._clock = reader, PodSpansReader(reader), clock
        self._window_days, self._result_days, self._pod_days = window_days, result_days, pod_days
        self._limit = 0  # spans posted before are to be folded
        self._done: set[int] = set()  # pods of which all is folded up to there that can be
        self._served: dict[str, int] = {}  # the last turn of each namespace, by number
        self._turn = 0
        self._has_failed = False

    def step(self, now: int) -> None:
        """Fold what is old enough, then delete what is too old. `now` is UTC seconds. Raises SQLAlchemyError."""
        until = self._clock() + _STEP_SECONDS
        # Before the windows are deleted, and before the pods' hours are sealed, whichever is sooner.
        age = max(min(self._window_days - 1, self._pod_days - 2) * DAY, _LEAST_AGE)
        limit = (now - age) // DAY * DAY
        if limit != self._limit:
            self._limit = limit
            self._done.clear()
        waiting = self._waiting(limit)
        self._served = {name: turn for name, turn in self._served.items() if name in waiting}
        turns = deque(sorted(waiting, key=lambda name: (self._served.get(name, 0), name)))
        while turns and self._clock() < until:
            name = turns.popleft()
            self._turn += 1
            self._served[name] = (
                self._turn
            )  # before its pod is folded: one that fails is not the next one's first again
            self._fold(waiting[name].popleft(), limit, now)
            if waiting[name]:
                turns.append(name)
        try:
            self._drop(now, BatchDeleter(self._reader.engine, _STEP_SECONDS))
        except DeletionUnfinished:
            pass

    def _waiting(self, limit: int) -> dict[str, deque[int]]:
        """The pods with spans to fold, by namespace."""
        span, pod = span_tables.span.c, span_tables.tracked_pod.c
        has_open = sa.exists().where(span.pod_id == pod.id, span.result.is_(None), span.posted_at < limit)
        found: dict[str, deque[int]] = defaultdict(deque)
        with self._reader.engine.connect() as connection:
            rows = connection.execute(
                sa.select(pod.namespace, pod.id).where(pod.cluster == self._reader.cluster, has_open).order_by(pod.id)
            )
            for namespace, pod_id in rows:
                if pod_id not in self._done:
                    found[namespace].append(pod_id)
        return found

    def _fold(self, pod_id: int, limit: int, now: int) -> None:
        try:
            self._fold_pod(pod_id, limit, now)
        except sa.exc.SQLAlchemyError:
            raise
        except Exception:  # what a pod stated must not keep the spans of others from being folded
            if not self._has_failed:
                _log.exception(
                    "the spans of pod %s of the ledger cannot be folded; further ones are not logged", pod_id
                )
            self._has_failed = True
        self._done.add(pod_id)

    def _fold_pod(self, pod_id: int, limit: int, now: int) -> None:
        """Store the results of all of its spans that can be folded, some at a time.

        They are of one division, which knows 50,000 spans at most, however many a pod posted, and is bounded by itself
        (`span_division.py`). A process that ends meanwhile leaves the rest to the next one.
        """
        with snapshot(self._reader.engine) as connection:
            pod = tracked_by_id(connection, self._reader.cluster, pod_id)
            stored = read_spans(connection, pod_id, MOST_SPANS) if pod is not None else []
            old = [one for one in stored if one.result is None and one.posted_at < limit]
            if pod is None or not old:
                return
            divided = self._spans.divide(connection, pod, stored, old, (0, 0), now)
        last_chance = now - (self._pod_days - 1) * DAY
        results: list[dict[str, object]] = []
        for one in old:
            result = result_of(one, divided)
            if result.state != "final" and one.posted_at < last_chance:
                result = result.model_copy(update={"state": "final"})
            if result.state == "final":
                results.append({"its_number": one.number, "its_result": result.model_dump_json().encode()})
            if len(results) == _WRITTEN_AT_ONCE:
                self._write(results)
                results = []
        self._write(results)

    def _write(self, results: Sequence[Mapping[str, object]]) -> None:
        if not results:
            return
        table, engine = span_tables.span, self._reader.engine
        update = (
            sa.update(table)
            .where(table.c.number == sa.bindparam("its_number"), table.c.result.is_(None))
            .values(result=sa.bindparam("its_result"))
        )
        with write_transaction(engine) as connection:
            connection.execute(update, list(results))

    def _drop(self, now: int, dropper: BatchDeleter) -> None:
        tables = span_tables
        dropper.before(tables.pod_window, now - self._window_days * DAY)
        limit = now - self._result_days * DAY
        span, pod = tables.span.c, tables.tracked_pod.c
        with self._reader.engine.connect() as connection:
            first, last = _old_numbers(connection, limit)
            pods = ids_of(connection, sa.select(pod.id).where(pod.active_at < limit - DAY))
        for at in range(first, last, _AT_ONCE):
            dropper.delete([sa.delete(tables.span).where(span.number >= at, span.number < min(last, at + _AT_ONCE))])
        dropper.rows(tables.unit_count, tables.unit_count.c.posted_at < limit)
        dropper.rows(tables.posted_unit_hour, tables.posted_unit_hour.c.hour < limit)
        dropper.these(pods, _deletions)
        dropper.before(tables.posted_count, limit // DAY)


def _deletions(ids: Sequence[object]) -> list[sa.Delete]:
    """All that is left of pods that are past their retention."""
    tables = span_tables
    posted = (tables.progress_point, tables.unit_count, tables.posted_unit_hour, tables.span)
    found = [sa.delete(table).where(table.c.pod_id.in_(ids)) for table in posted]
    return [*found, sa.delete(tables.tracked_pod).where(tables.tracked_pod.c.id.in_(ids))]


def _old_numbers(connection: sa.Connection, limit: int) -> tuple[int, int]:
    """The numbers [first, last) of the spans that were posted before `limit`: those at the beginning."""
    c = span_tables.span.c
    first = connection.scalar(sa.select(sa.func.min(c.number)))
    if first is None:
        return 0, 0
    kept = connection.scalar(sa.select(c.number).where(c.posted_at >= limit).order_by(c.number).limit(1))
    return first, kept if kept is not None else (connection.scalar(sa.select(sa.func.max(c.number))) or first) + 1
