"""Stores the windows of tracked pods while reports are booked, and reads them.

The ledger's facts are hours. A pod that has the label of a run, or that posted a span, keeps its windows beside them
for some days, so that a part of an hour can be told apart. No sum of energy is made of these rows: they say how the
pod's hours are to be divided. A report after a gap stores none, since its time is known no closer than the facts say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from carbonbudget_core.node_report import NodeReport, PodUsage
from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.bulk_rows import BulkInsert, chunks
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.run_labels import RUN
from carbonbudget_operator.spans.pod_windows import PodWindow

# A row holds a quarter of an hour: shorter rows cost more room, longer ones are written again more often.
SLOT: Final = 900
_CAPPED: Final = 0  # in place of an id
_Key = tuple[str, str]  # cluster, uid of the pod


@dataclass(frozen=True, slots=True)
class TrackedPod:
    """A pod whose windows are stored. `seen_at`, `capped_at`: the last hour in which they were, or were not."""

    id: int
    uid: str
    namespace: str
    name: str
    run: str
    seen_at: int
    capped_at: int

    @property
    def is_capped(self) -> bool:
        """Whether its windows are not stored now, because its namespace has too many tracked pods."""
        return self.capped_at > self.seen_at


class TrackedPods:
    """Which pods are tracked, for one writer. Only the thread that books uses it, except for `follow`.

    At most `most` pods of a namespace have their windows stored at a time: those that were first, until two hours
    after their last window.
    """

    def __init__(self, dialect: sa.Dialect, most: int) -> None:
        self.most = most
        self.capped = 0  # windows that were not stored for it
        self.capped_namespaces: set[str] = set()  # of the latest hour
        self._posted: set[str] = set()
        self._ids: dict[_Key, int] = {}
        columns = ("cluster", "uid", "namespace", "name", "run", "posted", "seen_at", "capped_at", "active_at")
        merge = dict.fromkeys(("namespace", "name", "run"), "set")
        merge |= dict.fromkeys(("seen_at", "capped_at", "active_at"), "max")
        self._put_pods = BulkInsert(dialect, span_tables.tracked_pod, columns, ("cluster", "uid"), merge)
        self._put_windows = BulkInsert(
            dialect, span_tables.pod_window, ("start", "pod_id", "windows"), ("start", "pod_id"), {"windows": "add"}
        )

    def follow(self, uids: Iterable[str]) -> None:
        """Track these pods, which posted something, from their next window on. Any thread may call it."""
        self._posted.update(uids)

    def load(self, connection: sa.Connection, now: int) -> None:
        """Take over what other servers were posted, and forget the pods that are gone."""
        c = span_tables.tracked_pod.c
        recent = sa.select(c.uid).where(c.posted, c.active_at > now - 3 * HOUR)
        self._posted = set(connection.scalars(recent))

    def forget(self) -> None:
        """Forget all ids: after a transaction that failed, and each hour, so that the cap counts who is there."""
        self._ids.clear()
        self.capped_namespaces.clear()

    def store(self, connection: sa.Connection, reports: Iterable[NodeReport], hour: int) -> None:
        """Store the windows of the tracked pods in reports that are booked in this transaction. `hour`: the latest."""
        posted, label = self._posted, RUN
        found: list[tuple[_Key, NodeReport, PodUsage]] = []
        for report in reports:
            if report.since < report.window_start:
                continue
            for pod in report.pods:
                if label in pod.labels or pod.uid in posted:
                    found.append(((report.cluster, pod.uid), report, pod))
        if not found:
            return
        missing = {key: pod for key, _, pod in found if key not in self._ids}
        if missing:
            self._admit(connection, missing, hour)
        rows: dict[tuple[int, int], str] = {}
        for key, report, pod in found:
            pod_id = self._ids[key]
            if pod_id == _CAPPED:
                self.capped += 1
                self.capped_namespaces.add(pod.namespace)
                continue
            at = report.window_start - report.window_start % SLOT, pod_id
            rows[at] = rows.get(at, "") + _line(report, pod)
        self._put_windows.put(connection, ((*key, rows[key]) for key in sorted(rows)))

    def _admit(self, connection: sa.Connection, pods: Mapping[_Key, PodUsage], hour: int) -> None:
        """Find or make these pods' rows, as far as their namespaces' caps allow."""
        c = span_tables.tracked_pod.c
        known: dict[_Key, int] = {}
        for cluster in {cluster for cluster, _ in pods}:
            for uids in chunks(uid for its, uid in pods if its == cluster):
                query = sa.select(c.uid, c.seen_at).where(c.cluster == cluster, c.uid.in_(uids))
                known |= {(cluster, uid): seen_at for uid, seen_at in connection.execute(query)}
        active = self._active(connection, {(cluster, pod.namespace) for (cluster, _), pod in pods.items()}, hour)
        rows: list[tuple[Any, ...]] = []
        capped: set[_Key] = set()
        # Those that have a place keep it; the others come in the order of their uids, the same for all servers.
        for key, pod in sorted(pods.items(), key=lambda item: (known.get(item[0], 0) < hour - HOUR, item[0])):
            has_place = known.get(key, 0) >= hour - HOUR
            where = key[0], pod.namespace
            if not has_place and active.get(where, 0) >= self.most:
                capped.add(key)
            elif not has_place:
                active[where] = active.get(where, 0) + 1
            seen, not_seen = (0, hour) if key in capped else (hour, 0)
            rows.append((*key, pod.namespace, pod.name, pod.labels.get(RUN, ""), False, seen, not_seen, hour + HOUR))
        self._put_pods.put(connection, sorted(rows))
        for cluster in {cluster for cluster, _ in pods}:
            for uids in chunks(uid for its, uid in pods if its == cluster):
                query_ids = sa.select(c.uid, c.id).where(c.cluster == cluster, c.uid.in_(uids))
                for uid, pod_id in connection.execute(query_ids):
                    self._ids[cluster, uid] = _CAPPED if (cluster, uid) in capped else pod_id

    @staticmethod
    def _active(connection: sa.Connection, namespaces: set[tuple[str, str]], hour: int) -> dict[tuple[str, str], int]:
        """How many pods of each cluster's namespace have a place."""
        c, found = span_tables.tracked_pod.c, dict[tuple[str, str], int]()
        for cluster in {cluster for cluster, _ in namespaces}:
            for some in chunks(sorted(name for its, name in namespaces if its == cluster)):
                where = (c.cluster == cluster, c.namespace.in_(some), c.seen_at >= hour - HOUR)
                query = sa.select(c.namespace, sa.func.count()).where(*where).group_by(c.namespace)
                found |= {(cluster, row[0]): row[1] for row in connection.execute(query)}
        return found


def _line(report: NodeReport, pod: PodUsage) -> str:
    """A window as it is stored: second within the slot, length, CPU time, energy by domain, held idle by domain."""
    start = report.window_start
    line = [start % SLOT, report.window_end - start, pod.cpu_us, dict(pod.energy_uj)]
    if any(pod.idle_uj.values()):
        line.append(dict(pod.idle_uj))
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()


def find_tracked(connection: sa.Connection, cluster: str, uid: str) -> TrackedPod | None:
    """The tracked pod of this uid; None if it is not tracked."""
    c = span_tables.tracked_pod.c
    return _tracked(connection, c.cluster == cluster, c.uid == uid)


def tracked_by_id(connection: sa.Connection, cluster: str, pod_id: int) -> TrackedPod | None:
    """The tracked pod of this id; None if it is of another cluster."""
    c = span_tables.tracked_pod.c
    return _tracked(connection, c.cluster == cluster, c.id == pod_id)


def _tracked(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> TrackedPod | None:
    c = span_tables.tracked_pod.c
    row = connection.execute(
        sa.select(c.id, c.uid, c.namespace, c.name, c.run, c.seen_at, c.capped_at).where(*where)
    ).first()
    return None if row is None else TrackedPod(*row)


def read_windows(connection: sa.Connection, pod_id: int, start: int, end: int) -> list[PodWindow]:
    """The stored windows of a pod that touch [start, end), UTC seconds, in order of time.

    Parts of one window, of an agent that was restarted in it, are one window again.
    """
    c = span_tables.pod_window.c
    found: dict[tuple[int, int], PodWindow] = {}
    slots = range(start - start % SLOT, end, SLOT)
    for some in chunks(slots):
        rows = connection.execute(sa.select(c.start, c.windows).where(c.start.in_(some), c.pod_id == pod_id))
        for slot, text in rows:
            for window in _windows(slot, text):
                if window.start_ms < end * 1000 and window.end_ms > start * 1000:
                    key = (window.start_ms, window.end_ms)
                    found[key] = window if key not in found else _joined(found[key], window)
    return [found[key] for key in sorted(found)]


def _windows(slot: int, text: str) -> Iterable[PodWindow]:
    for line in text.splitlines():
        try:
            offset, length, cpu_us, energy_uj, *idle = orjson.loads(line)
        except ValueError:  # an edited file: the hour's facts stand in
            continue
        start_ms = (slot + offset) * 1000
        yield PodWindow(start_ms, start_ms + length * 1000, energy_uj, idle[0] if idle else {}, cpu_us)


def _joined(one: PodWindow, other: PodWindow) -> PodWindow:
    return PodWindow(
        one.start_ms,
        one.end_ms,
        _added(one.energy_uj, other.energy_uj),
        _added(one.idle_uj, other.idle_uj),
        one.cpu_us + other.cpu_us,
    )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}
