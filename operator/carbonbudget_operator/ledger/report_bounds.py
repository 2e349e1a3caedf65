"""Limits what a report may add to the ledger: its number of rows, and the energy and time of its node's hours.

Without these limits a node could send many reports and have any energy. The limits are above what a real node reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.fact_sums import ReportSlices
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_rows

_LATE_SECONDS = 120
_MAX_DURATION_MS = 2 * HOUR * 1000
_MAX_REPORTED_MS = 16 * HOUR * 1000
_LATEST_HOURS = 3
# Written in some 1.5 s, with 80 MB. After a gap of 11 days a node with 250 pods in two domains is just below it.
MAX_ROWS = 200_000


def too_large(report: NodeReport, parts: ReportSlices) -> bool:
    """Whether it would be more than 200,000 rows: a domain is one in each hour, a pod and its domains in each slice."""
    if _rows_at_most(report) * parts.most_slices <= MAX_ROWS:  # mostly: then nothing need be counted
        return False
    rows = len(report.domains) * len(parts.hours)
    for pod in report.pods:
        rows += (1 + len(pod.energy_uj.keys() | pod.idle_uj.keys())) * parts.slices(pod.namespace)
    return rows > MAX_ROWS


def weight(report: NodeReport) -> int:
    """An upper estimate of its rows, by which a batch ends before it is too large."""
    return _rows_at_most(report) * (1 + (report.window_end - report.since) // HOUR)


def _rows_at_most(report: NodeReport) -> int:
    return (len(report.pods) + 1) * (len(report.domains) + 1)


def reported_ms(report: NodeReport) -> int:
    """Milliseconds that a report covers: those of its longest domain or pod."""
    domains = max((domain.duration_ms for domain in report.domains), default=0)
    return max(domains, max((pod.duration_ms for pod in report.pods), default=0))


def own_ms(report: NodeReport) -> int:
    """The time that a report adds to its node's: its window, or that of its pods, which after a gap is longer.

    A meter that could not be read for a while covers more once it answers: that is time of this domain alone.
    """
    window_ms = 1000 * (report.window_end - report.window_start)
    domains = max((domain.duration_ms for domain in report.domains), default=0)
    return max(min(domains, window_ms), max((pod.duration_ms for pod in report.pods), default=0))


@dataclass(slots=True)
class _Hour:
    """The sums of a node's hour: microjoules of all domains, and of their upper ends; milliseconds of the node's own
    time, of each domain, and of all reports.
    """

    energy_uj: int = 0
    high_uj: int = 0
    own_ms: int = 0
    domains_ms: dict[str, int] = field(default_factory=dict)
    reported_ms: int = 0


class HourBounds:
    """The sums of nodes' hours, as far as they were needed: read once from the ledger, then updated with each report.

    The limit of the energy of all domains is what the most powerful node draws in an hour and two minutes; of the upper
    ends of models, twice that. The limit of time, of the node and of each domain, is two hours, because a clock that is
    set back has an hour twice. Of all reports it is sixteen hours, for domains that could not be read at different
    times. What pods used and reserved is limited by the time of their report (`ingest/report_checks.py`), and so it is
    in the hour: 64 TiB for sixteen hours are 4 * 10^18 byte seconds, which a database's integer holds. What another
    server booked of a node is read when the node's windows show it; what it added to earlier hours after a gap, at the
    latest an hour later.
    """

    def __init__(self, max_node_watts: int) -> None:
        self._max_uj = max_node_watts * (HOUR + _LATE_SECONDS) * 1_000_000
        self._hours: dict[int, dict[int, _Hour]] = {}
        self._stale: dict[int, set[int]] = {}  # hours that are to be read again, by node
        self._windows: dict[int, dict[int, int]] = {}  # how many bytes of windows a node's hour had, by node and hour

    def forget(self) -> None:
        """Forget everything after a transaction that was rolled back."""
        self._hours.clear()
        self._stale.clear()
        self._windows.clear()

    def follow(self, windows: Iterable[tuple[int, int, int]]) -> None:
        """Mark nodes whose windows another server changed. `windows`: node, hour and the ledger's bytes of windows."""
        for node_id, hour, size in windows:
            if self._windows.get(node_id, {}).get(hour, size) != size:
                self._stale[node_id] = set(self._hours.get(node_id, ()))

    def remember(self, windows: Iterable[tuple[int, int, int]]) -> None:
        """Remember the windows as they are after the batch."""
        for node_id, hour, size in windows:
            self._windows.setdefault(node_id, {})[hour] = size

    def read(self, connection: sa.Connection, wanted: Iterable[tuple[int, int]]) -> None:
        """Read the sums of these hours, by node and start, that are not known yet."""
        missing: dict[int, set[int]] = {}
        known: dict[tuple[int, int], _Hour] = {}
        for node_id, hour in wanted:
            hours = self._hours.setdefault(node_id, {})
            stale = self._stale.get(node_id)
            if stale and hour in stale:
                stale.discard(hour)
                known[(node_id, hour)] = hours.pop(hour, _Hour())
            if hour not in hours:
                hours[hour] = _Hour()
                missing.setdefault(hour, set()).add(node_id)
        alike: dict[frozenset[int], list[int]] = {}
        for hour, node_ids in missing.items():
            alike.setdefault(frozenset(node_ids), []).append(hour)
        fact = schema.node_fact.c
        columns = sa.select(fact.start, fact.node_id, fact.domain, fact.measured_uj, fact.high_uj, fact.duration_ms)
        for nodes, starts in alike.items():
            times: dict[tuple[int, int, str], int] = {}
            for some_nodes in chunks(sorted(nodes)):
                for some in chunks(starts):  # each is looked up by the key: a range would read all nodes' rows
                    query = columns.where(fact.start.in_(some), fact.node_id.in_(some_nodes))
                    rows = valid_rows(connection.execute(query), 3, "node_hour", start=0)
                    for start, node_id, domain, energy_uj, high_uj, duration_ms in rows:
                        hour = start - start % HOUR
                        sums = self._hours[node_id][hour]
                        sums.energy_uj += energy_uj
                        sums.high_uj += high_uj
                        key = (node_id, hour, domain)
                        times[key] = times.get(key, 0) + duration_ms
            for (node_id, hour, domain), duration_ms in times.items():
                sums = self._hours[node_id][hour]
                sums.domains_ms[domain] = duration_ms
                # Which of it was caught up is not stored. The shortest domain was away least or caught up least.
                sums.own_ms = min(sums.own_ms or duration_ms, duration_ms)
                sums.reported_ms = max(sums.reported_ms, duration_ms)
        for (node_id, hour), earlier in known.items():  # these two are more exact as they were added up
            sums = self._hours[node_id][hour]
            sums.own_ms = max(sums.own_ms, earlier.own_ms)
            sums.reported_ms = max(sums.reported_ms, earlier.reported_ms)

    def take(self, node_id: int, report: NodeReport, seconds: Mapping[int, int]) -> bool:
        """Add a report; `seconds` is its overlap with each hour. False, and nothing is added, beyond a limit."""
        known = self._hours[node_id]
        whole = sum(seconds.values())
        measured_uj = sum(domain.measured_uj for domain in report.domains)
        high_uj = sum(domain.high_uj or 0 for domain in report.domains)
        time_ms, all_ms = own_ms(report), reported_ms(report)
        for hour, overlap in seconds.items():
            sums = known[hour]
            if (
                sums.energy_uj + measured_uj * overlap // whole > self._max_uj
                or sums.high_uj + high_uj * overlap // whole > 2 * self._max_uj
                or sums.own_ms + time_ms * overlap // whole > _MAX_DURATION_MS
                or sums.reported_ms + all_ms * overlap // whole > _MAX_REPORTED_MS
                or any(
                    sums.domains_ms.get(domain.name, 0) + domain.duration_ms * overlap // whole > _MAX_DURATION_MS
                    for domain in report.domains
                )
            ):
                return False
        for hour, overlap in seconds.items():
            sums = known[hour]
            sums.energy_uj += measured_uj * overlap // whole
            sums.high_uj += high_uj * overlap // whole
            sums.own_ms += time_ms * overlap // whole
            sums.reported_ms += all_ms * overlap // whole
            for domain in report.domains:
                earlier_ms = sums.domains_ms.get(domain.name, 0)
                sums.domains_ms[domain.name] = earlier_ms + domain.duration_ms * overlap // whole
        return True

    def trim(self, node_ids: Iterable[int]) -> None:
        """Forget all but the latest hours of each node: a gap may have needed hundreds."""
        for node_id in node_ids:
            for hours in (self._hours.get(node_id, {}), self._windows.get(node_id, {})):
                if len(hours) > _LATEST_HOURS:
                    for hour in sorted(hours)[:-_LATEST_HOURS]:
                        del hours[hour]
