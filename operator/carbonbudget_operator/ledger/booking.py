"""Booking: converts a batch of node reports into facts in one transaction, each report once.

On PostgreSQL several servers may book at once. A transaction locks the hours of its nodes, so that no window is booked
twice, and in one order, so that there is no deadlock. On SQLite one process books at a time: the server, or a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

import sqlalchemy as sa

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.cuts import NO_CUTS, Cuts, load_cuts
from carbonbudget_operator.ledger.fact_sums import FactBatch, ReportSlices
from carbonbudget_operator.ledger.id_cache import IdCache, NodeRecord
from carbonbudget_operator.ledger.report_bounds import HourBounds, too_large
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import TrackedPods
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

_DIGEST = 8
_ENTRY = 2 * _DIGEST
# A node's hour has at most 360 windows of ten seconds, and parts of some where agents were restarted. More windows are
# invented, and each of them would count.
_MAX_WINDOWS = 1_000


class BookingResult(Enum):
    """The result of booking one report."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    SEALED = "sealed"  # its hour takes no more windows
    TOO_MANY = "too_many"  # more windows than a node's hour can have
    TOO_LARGE = "too_large"  # more rows than any honest report has
    IMPOSSIBLE = "impossible"  # with it the node's hour would have more energy or time than is possible


@dataclass(frozen=True, slots=True)
class CheckedReport:
    """A report that passed all checks, and the digest of the content that its node sent, which finds duplicates."""

    report: NodeReport
    digest: bytes


@dataclass(slots=True)
class _Windows:
    """The booked windows of a node's hour: key and content digest of each, and whether this batch added any."""

    entries: bytes
    changed: bool = False

    def result(self, key: bytes, content: bytes) -> BookingResult:
        """The result for a window; STORED if it is new and the hour has less than the most windows."""
        at = self.entries.find(key)
        while at >= 0:
            if at % _ENTRY == 0:
                same = self.entries[at + _DIGEST : at + _ENTRY] == content
                return BookingResult.DUPLICATE if same else BookingResult.CONFLICT
            at = self.entries.find(key, at + 1)
        return BookingResult.TOO_MANY if len(self.entries) >= _MAX_WINDOWS * _ENTRY else BookingResult.STORED

    def add(self, key: bytes, content: bytes) -> None:
        self.entries += key + content
        self.changed = True


@dataclass(slots=True)
class _Span:
    first_start: int
    last_end: int


@dataclass(slots=True)
class _Changes:
    """What a batch changes in addition to the facts."""

    spans: dict[int, _Span] = field(default_factory=dict)
    latest: dict[tuple[str, str], NodeReport] = field(default_factory=dict)
    hours: set[int] = field(default_factory=set)

    def add(self, node_id: int, report: NodeReport, hours: Iterable[int]) -> None:
        span = self.spans.setdefault(node_id, _Span(report.since, report.window_end))
        span.first_start = min(span.first_start, report.since)
        if report.window_end >= span.last_end:
            span.last_end = report.window_end
            self.latest[(report.cluster, report.node)] = report
        self.hours.update(hours)


class Booker:
    """Books batches. It caches ids, and the sums of the nodes' latest hours."""

    def __init__(
        self,
        engine: sa.Engine,
        max_label_values: int = 10_000,
        max_node_watts: int = 20_000,
        max_tracked_pods: int = 500,
    ) -> None:
        """`max_tracked_pods`: of a namespace."""
        self._engine = engine
        dialect = engine.dialect
        self._postgresql = dialect.name == "postgresql"
        self.ids = IdCache(dialect, max_label_values)
        self.selected_labels = self.ids.label_bound.selected
        self.tracked = TrackedPods(dialect, max_tracked_pods)
        self._bounds = HourBounds(max_node_watts)
        self._ids_of = (0, 0)  # the latest booked and the latest sealed hour when the ids were read
        windows = ("hour", "node_id", "windows")
        self._make_windows = BulkInsert(dialect, schema.node_windows, windows, windows[:2])
        self._put_windows = BulkInsert(dialect, schema.node_windows, windows, windows[:2], {"windows": "set"})
        self._put_spans = BulkInsert(
            dialect, schema.node_span, ("node_id", "first_start", "last_end"), ("node_id",),
            {"first_start": "min", "last_end": "max"},
        )  # fmt: skip
        self._put_revisions = BulkInsert(
            dialect, schema.hour_revision, ("hour", "revision"), ("hour",), {"revision": "add"}
        )
        self._sums = {table: _adder(dialect, table) for table in (schema.node_fact, schema.pod_fact, schema.pod_energy)}

    def book(self, reports: Sequence[CheckedReport]) -> list[BookingResult]:
        """Book a batch. Returns the result of each report. All of it is committed or nothing (SQLAlchemyError)."""
        try:
            with write_transaction(self._engine, AdvisoryLock.BOOKINGS, shared=True) as connection:
                return self._book(connection, reports)
        except BaseException:
            self.ids.forget()
            self.tracked.forget()
            self._bounds.forget()
            raise

    def _book(self, connection: sa.Connection, reports: Sequence[CheckedReport]) -> list[BookingResult]:
        sealed = schema.sealed_hour.c
        newest_sealed = connection.scalar(
            sa.select(sa.func.max(sealed.hour)).where(
                sealed.cluster.in_({checked.report.cluster for checked in reports})
            )
        )
        self._forget_at_new_hour(max(_hour(checked.report) for checked in reports), newest_sealed or 0)
        nodes = self.ids.nodes(connection, (checked.report for checked in reports))
        node_of = [nodes[(checked.report.cluster, checked.report.node)] for checked in reports]
        first = min(checked.report.since for checked in reports)
        cuts = load_cuts(connection, first - HOUR, max(checked.report.window_end for checked in reports))
        parts_of = [_parts(checked.report, cuts) for checked in reports]
        results = [
            BookingResult.SEALED
            if newest_sealed is not None and checked.report.since < newest_sealed + HOUR
            else BookingResult.TOO_LARGE
            if too_large(checked.report, parts)
            else BookingResult.STORED
            for checked, parts in zip(reports, parts_of, strict=True)
        ]
        keys = [(_hour(checked.report), node.id) for checked, node in zip(reports, node_of, strict=True)]
        to_lock = {key for key, result in zip(keys, results, strict=True) if result is BookingResult.STORED}
        if self._postgresql:  # after a gap a report adds to earlier hours too, and so may another server
            for (hour, node_id), checked, result in zip(keys, reports, results, strict=True):
                if result is BookingResult.STORED:
                    to_lock.update((earlier, node_id) for earlier in range(_full(checked.report.since), hour, HOUR))
        windows = self._windows(connection, to_lock)
        stored: list[tuple[NodeRecord, NodeReport]] = []
        parts_stored: list[ReportSlices] = []
        booked = [at for at, result in enumerate(results) if result is BookingResult.STORED]
        self._bounds.follow((node_id, hour, len(found.entries)) for (hour, node_id), found in windows.items())
        self._bounds.read(connection, ((node_of[at].id, hour) for at in booked for hour in parts_of[at].hours))
        for at in booked:
            checked, node, found = reports[at], node_of[at], windows[keys[at]]
            key = _key(checked.report)
            results[at] = found.result(key, checked.digest)
            if results[at] is not BookingResult.STORED:
                continue
            if not self._bounds.take(node.id, checked.report, parts_of[at].hours):
                results[at] = BookingResult.IMPOSSIBLE
                continue
            found.add(key, checked.digest)
            stored.append((node, checked.report))
            parts_stored.append(parts_of[at])
        self._bounds.remember((node_id, hour, len(found.entries)) for (hour, node_id), found in windows.items())
        self._bounds.trim({node_of[at].id for at in booked})
        if not stored:
            return results
        batch, changes = FactBatch(), _Changes()
        pod_ids_of = self.ids.pods(connection, stored, self._ids_of[0])
        for (node, report), pod_ids, parts in zip(stored, pod_ids_of, parts_stored, strict=True):
            batch.add(node.id, pod_ids, report, parts)
            changes.add(node.id, report, parts.hours)
        self.tracked.store(connection, (report for _, report in stored), self._ids_of[0])
        self._write(connection, batch, changes, windows)
        return results

    def _forget_at_new_hour(self, hour: int, newest_sealed: int) -> None:
        """Read all ids again each hour, so that memory has only nodes and pods that exist in the ledger."""
        latest = (max(hour, self._ids_of[0]), newest_sealed)
        if latest != self._ids_of:
            self.ids.forget()
            self.tracked.forget()
            self._bounds.forget()
            self._ids_of = latest

    def _windows(self, connection: sa.Connection, keys: set[tuple[int, int]]) -> dict[tuple[int, int], _Windows]:
        """Lock and read the node hours."""
        if self._postgresql:  # only a row that is there can be locked
            self._make_windows.put(connection, ((*key, b"") for key in sorted(keys)))
        found = {key: _Windows(b"") for key in sorted(keys)}
        table = schema.node_windows
        for hour in sorted({hour for hour, _ in keys}):
            for node_ids in chunks(sorted(node_id for at, node_id in keys if at == hour)):
                query = (
                    sa.select(table.c.node_id, table.c.windows)
                    .where(table.c.hour == hour, table.c.node_id.in_(node_ids))
                    .order_by(table.c.node_id)
                    .with_for_update()
                )
                for node_id, entries in connection.execute(query):
                    found[(hour, node_id)] = _Windows(entries)
        return found

    def _write(
        self, connection: sa.Connection, batch: FactBatch, changes: _Changes, windows: dict[tuple[int, int], _Windows]
    ) -> None:
        for table, rows in (
            (schema.node_fact, batch.node_facts),
            (schema.pod_fact, batch.pod_facts),
            (schema.pod_energy, batch.pod_energy),
        ):
            self._sums[table].put(connection, rows.values())
        self._put_windows.put(connection, ((*key, found.entries) for key, found in windows.items() if found.changed))
        self.ids.describe(connection, changes.latest)
        self._put_spans.put(
            connection, ((node_id, s.first_start, s.last_end) for node_id, s in sorted(changes.spans.items()))
        )
        self.touch(connection, changes.hours)  # last, because all servers update these rows

    def touch(self, connection: sa.Connection, hours: Iterable[int]) -> None:
        """Raise the revision of these hours: what readers have derived from them is out of date."""
        self._put_revisions.put(connection, ((hour, 1) for hour in sorted(hours)))


def _parts(report: NodeReport, cuts: Cuts) -> ReportSlices:
    """The report's slices; its whole hours if only cuts make it too large: a report matters more than cuts."""
    parts = ReportSlices(report, cuts)
    return ReportSlices(report, NO_CUTS) if too_large(report, parts) else parts


def _adder(dialect: sa.Dialect, table: sa.Table) -> BulkInsert:
    keys = [column.name for column in table.primary_key]
    counts = [column.name for column in table.columns if column.name not in keys]
    return BulkInsert(dialect, table, (*keys, *counts), keys, dict.fromkeys(counts, "add"))


def _hour(report: NodeReport) -> int:
    return _full(report.window_start)


def _full(at: int) -> int:
    return at - at % HOUR


def _key(report: NodeReport) -> bytes:
    text = f"{report.boot_id}\n{report.window_start}\n{report.part}"
    return blake2b(text.encode(), digest_size=_DIGEST).digest()
