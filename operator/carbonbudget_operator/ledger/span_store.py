"""Stores what pods post: spans, counts of units, progress. Reads spans back.

Several requests are stored in one transaction. What comes again is left as it is, so that a client may repeat itself.
A count is also added to its hours here, so that what a pod posts costs its own request and no reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.bulk_rows import MOST_ADDED, BulkInsert, chunks
from carbonbudget_operator.ledger.known_records import KnownRecords
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.units.counting import MICRO
from carbonbudget_operator.units.spread_count import hours_touched, spread_count

DAY: Final = 86_400
_NONE: Final = -1  # PostgreSQL takes the rows as arrays of numbers
# Of progress that are kept of a pod. The prediction uses the last ones whose energy is measured already, so that they
# have to reach back some minutes: these do at one a second, which is the most that a pod may post.
_MOST_POINTS: Final = 300
_MOST_COUNT: Final = 10**12  # a larger one is no count of work: its hours are not known


@dataclass(frozen=True, slots=True)
class PostedUnit:
    """How many of a functional unit were made in [start_ms, end_ms)."""

    id: str
    name: str
    count: int
    start_ms: int
    end_ms: int

    @property
    def records(self) -> int:
        """What it costs: a row for each hour that it touches."""
        return hours_touched(self.start_ms, self.end_ms)


@dataclass(frozen=True, slots=True)
class ProgressPoint:
    """So many of so many steps were done at `at_ms`."""

    unit: str
    done: int
    total: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Post:
    """One request: whose pod it is about, and what it holds. `name` is empty where the pod's name is not known."""

    namespace: str
    uid: str
    name: str = ""
    run: str | None = None
    spans: Sequence[Span] = ()
    units: Sequence[PostedUnit] = ()
    progress: ProgressPoint | None = None

    @property
    def records(self) -> int:
        """What counts against the namespace's limit of a day."""
        return len(self.spans) + sum(unit.records for unit in self.units)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span in the ledger. `result` are its folded figures, once its windows are gone."""

    span: Span
    number: int
    run: str | None
    posted_at: int
    result: bytes | None


@dataclass(slots=True)
class SpanStore:
    """Stores posts of one cluster in one ledger. `most_of_a_day`: spans and units of a namespace in a UTC day."""

    engine: sa.Engine
    cluster: str
    most_of_a_day: int
    _bulk: Mapping[str, BulkInsert] = field(init=False)
    _known: tuple[KnownRecords, KnownRecords] = field(init=False)

    def __post_init__(self) -> None:
        dialect, tables = self.engine.dialect, span_tables

        def bulk(table: sa.Table, keys: Sequence[str], merge: Mapping[str, str] | None = None) -> BulkInsert:
            columns = [column.name for column in table.columns if column.name not in ("number", "result")]
            return BulkInsert(dialect, table, columns, keys, merge)

        self._bulk = {
            "pods": BulkInsert(
                dialect, tables.tracked_pod, ("cluster", "uid", "namespace", "name", "posted", "active_at"),
                ("cluster", "uid"), {"posted": "set", "active_at": "max"},
            ),
            "spans": bulk(tables.span, ("pod_id", "id")),
            "units": bulk(tables.unit_count, ("pod_id", "id")),
            "hours": bulk(
                tables.posted_unit_hour, ("pod_id", "name", "hour"), {"micro": "add_bounded", "counts": "add"}
            ),
            # A training that was restarted does its steps again: the last time counts.
            "points": bulk(tables.progress_point, ("pod_id", "unit", "done"), {"total": "set", "at_ms": "set"}),
            "counts": bulk(tables.posted_count, ("day", "cluster", "namespace"), {"records": "add"}),
        }  # fmt: skip
        self._known = KnownRecords(dialect, tables.span), KnownRecords(dialect, tables.unit_count)

    def store(self, posts: Sequence[Post], now: int) -> list[bool]:
        """Store them in one transaction; for each, whether it was: False if its namespace posted too much today.

        `now` is the UTC second. Raises SQLAlchemyError: nothing is stored.
        """
        day = now // DAY
        # Another server may get the same counts again.
        lock = AdvisoryLock.POSTED_UNITS if any(post.units for post in posts) else None
        with write_transaction(self.engine, lock) as connection:
            counted = self._counted(connection, day, {post.namespace for post in posts})
            ids = self._pods(connection, posts, now)
            known_spans, known_units = self._known_ids(connection, ids, posts)
            stored, taken, growth = [], list[tuple[int, Post]](), Counter[str]()
            for post in posts:
                pod_id = ids[post.uid]
                new = sum((pod_id, span.id) not in known_spans for span in post.spans)
                new += sum(unit.records for unit in post.units if (pod_id, unit.id) not in known_units)
                fits = counted.get(post.namespace, 0) + growth[post.namespace] + new <= self.most_of_a_day
                stored.append(fits)
                if fits:
                    growth[post.namespace] += new
                    taken.append((pod_id, post))
            self._put(connection, taken, known_units, now)
            rows = ((day, self.cluster, name, number) for name, number in sorted(growth.items()) if number)
            self._bulk["counts"].put(connection, rows)
        return stored

    def _counted(self, connection: sa.Connection, day: int, namespaces: set[str]) -> dict[str, int]:
        c, found = span_tables.posted_count.c, dict[str, int]()
        for some in chunks(sorted(namespaces)):
            where = (c.day == day, c.cluster == self.cluster, c.namespace.in_(some))
            rows = connection.execute(sa.select(c.namespace, c.records).where(*where))
            found |= {row.namespace: row.records for row in rows}
        return found

    def _pods(self, connection: sa.Connection, posts: Sequence[Post], now: int) -> dict[str, int]:
        """The ids of the posts' pods by uid; those that were not tracked are from now on."""
        wanted = {post.uid: post for post in posts}
        ids: dict[str, int] = {}
        current: set[str] = set()
        c = span_tables.tracked_pod.c
        query = sa.select(c.uid, c.id, c.posted, c.active_at)

        def read() -> None:
            for uids in chunks(sorted(wanted)):
                rows = connection.execute(query.where(c.cluster == self.cluster, c.uid.in_(uids)))
                for uid, pod_id, posted, active_at in rows:
                    ids[uid] = pod_id
                    if posted and active_at > now - 600:  # mostly: then its row is not written again
                        current.add(uid)

        read()
        missing = sorted(wanted.keys() - current)
        if missing:
            rows = ((self.cluster, uid, wanted[uid].namespace, wanted[uid].name, True, now) for uid in missing)
            self._bulk["pods"].put(connection, rows)
            read()
        return ids

    def _known_ids(
        self, connection: sa.Connection, ids: Mapping[str, int], posts: Sequence[Post]
    ) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
        """Pod and id of the posted spans, and of the counts, that are stored already. `ids` are the pods' by uid."""
        spans, units = self._known
        return (
            spans.find(connection, [(ids[post.uid], span.id) for post in posts for span in post.spans]),
            units.find(connection, [(ids[post.uid], unit.id) for post in posts for unit in post.units]),
        )

    def _put(
        self, connection: sa.Connection, posts: Iterable[tuple[int, Post]], known_units: Collection[tuple[int, str]],
        now: int,
    ) -> None:  # fmt: skip
        spans: dict[tuple[int, str], tuple[Any, ...]] = {}
        units: dict[tuple[int, str], tuple[Any, ...]] = {}
        hours: dict[tuple[int, str, int], list[int]] = {}
        points: dict[tuple[int, str, int], tuple[Any, ...]] = {}
        for pod_id, post in posts:
            for span in post.spans:
                spans.setdefault((pod_id, span.id), (pod_id, span.id, post.run or "", *_columns(span), now))
            for unit in post.units:
                if (pod_id, unit.id) in known_units or (pod_id, unit.id) in units:
                    continue
                units[pod_id, unit.id] = (
                    pod_id, unit.id, unit.name, unit.count, unit.start_ms, unit.end_ms, now,
                )  # fmt: skip
                for hour, micro in _by_hour(unit):
                    its = hours.setdefault((pod_id, unit.name, hour), [0, 0])
                    its[0], its[1] = min(its[0] + micro, MOST_ADDED), its[1] + 1
            if (at := post.progress) is not None:
                points[pod_id, at.unit, at.done] = (pod_id, at.unit, at.done, at.total, at.at_ms)
        self._bulk["spans"].put(connection, spans.values())
        self._bulk["units"].put(connection, units.values())
        self._bulk["hours"].put(connection, ((*key, *its) for key, its in sorted(hours.items())))
        self._bulk["points"].put(connection, points.values())
        for pod_id in {pod_id for pod_id, _, _ in points}:
            _trim_points(connection, pod_id)


def _by_hour(unit: PostedUnit) -> Iterable[tuple[int, int]]:
    """The hours of a count with their parts, in millionths."""
    parts = spread_count(unit.count * MICRO, unit.start_ms, unit.end_ms)
    return parts if unit.count <= _MOST_COUNT else ((hour, MOST_ADDED) for hour, _ in parts)


def _columns(span: Span) -> tuple[Any, ...]:
    step = _NONE if span.step is None else span.step
    return (span.name, step, span.start_ms, span.end_ms, *_grown(span.cpu_us), *_grown(span.gpu_uj))


def _grown(counter: tuple[int, int] | None) -> tuple[int, int]:
    """A counter's first reading and what it grew by: shorter to store than two readings."""
    return (_NONE, _NONE) if counter is None else (counter[0], counter[1] - counter[0])


def _trim_points(connection: sa.Connection, pod_id: int) -> None:
    c = span_tables.progress_point.c
    last = connection.execute(
        sa.select(c.at_ms).where(c.pod_id == pod_id).order_by(c.at_ms.desc()).offset(_MOST_POINTS).limit(1)
    ).first()
    if last is not None:
        connection.execute(sa.delete(span_tables.progress_point).where(c.pod_id == pod_id, c.at_ms <= last.at_ms))


def read_spans(connection: sa.Connection, pod_id: int, most: int) -> list[StoredSpan]:
    """The newest spans of a pod, at most so many, in the order in which they came."""
    table = span_tables.span
    newest = sa.select(table).where(table.c.pod_id == pod_id).order_by(table.c.number.desc()).limit(most)
    return [stored_span(row) for row in reversed(connection.execute(newest).all())]


def stored_span(row: Any) -> StoredSpan:
    """A row of the table `span`."""
    cpu = None if row.cpu_us == _NONE else (row.cpu_us, row.cpu_us + row.cpu_grown_us)
    gpu = None if row.gpu_uj == _NONE else (row.gpu_uj, row.gpu_uj + row.gpu_grown_uj)
    step = None if row.step == _NONE else row.step
    span = Span(row.id, row.name, step, row.start_ms, row.end_ms, cpu, gpu)
    return StoredSpan(span, row.number, row.run or None, row.posted_at, row.result)


def read_progress(connection: sa.Connection, pod_id: int, unit: str) -> list[ProgressPoint]:
    """What a pod said of its progress in a unit, in order of time."""
    c = span_tables.progress_point.c
    rows = connection.execute(
        sa.select(c.unit, c.done, c.total, c.at_ms).where(c.pod_id == pod_id, c.unit == unit).order_by(c.at_ms)
    )
    return [ProgressPoint(*row) for row in rows]
