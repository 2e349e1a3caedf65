"""Finds the hours that a target lacks, and reads what it gets of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from carbonbudget_operator.exports.exported_rows import (
    ExportedRows,
    content_digest,
    exported_rows,
    packed,
    unpacked,
    with_vanished,
)
from carbonbudget_operator.ledger.export_cursor import ExportCursor, HourState
from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.unit_calendar import signatures
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

# Late windows of an ordinary hour have come by then: upkeep stores no hour before.
CLOSED_AFTER_SECONDS: Final = 900
_QUIET_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """`ready`: hours to send now, new ones before restated ones, each oldest first. `waiting`: how many are lacking.

    `closed_at` is the UTC second when the oldest hour was closed of which the target has nothing; None without one.
    `oldest` is the first hour that the ledger has, `final` are hours that the target has and that change no more.
    """

    ready: Sequence[int]
    waiting: int
    closed_at: int | None
    oldest: int
    final: Sequence[int]


@dataclass(frozen=True, slots=True)
class HourContent:
    """What is sent of an hour. `rows` has zeros for rows that vanished; `present` are those that did not, packed."""

    state: HourState
    rows: ExportedRows
    present: bytes


class HourPlanner:
    """The hours of one target, valued with the settings of this server.

    Upkeep stores the values of hours, the oldest first. After an upgrade it values all hours again, for hours: a new
    hour does not wait for that and is valued here, when its facts have not changed for half a minute. A restated hour
    waits for upkeep.
    """

    def __init__(self, book: ValuedReader, cursor: ExportCursor, labels: Mapping[str, str], cluster: str) -> None:
        self._book, self._cursor, self._labels = book, cursor, labels
        # What a row has beside the hour's facts: its valuation, and the tags of this target.
        words = f"{book.derived.description}; {sorted(labels.items())}; {cluster}"
        self._terms = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self._before: tuple[int, dict[int, int]] = (0, {})  # when revisions were read half a minute ago, and these
        self._latest: tuple[int, dict[int, int]] = (0, {})

    def plan(self, first: int, now: int) -> ExportPlan:
        """All hours from `first` on that are closed and that the target lacks.

        An hour whose facts still change is lacking and not ready. A sealed hour that was sent with its last figures is
        never looked at again.
        """
        with snapshot(self._book.engine) as connection:
            revisions = hours_with_facts(connection, first, now)
            kept = self._book.derived.signatures(connection, first, now)
            sealed = sealed_hours(connection, self._book.cluster, first, now)
            states = self._cursor.states(connection)
        wanted = signatures(revisions)
        new: list[int] = []
        restated: list[int] = []
        final: list[int] = []
        for hour in revisions:
            state = states.get(hour)
            if hour + HOUR + CLOSED_AFTER_SECONDS > now:
                continue
            if state is not None and state.is_sent:
                if state.is_final:
                    continue
                if state.version != self._version(wanted[HOURS, hour]):
                    restated.append(hour)
                elif hour in sealed:
                    final.append(hour)
            elif state is None or state.revision < 2:
                new.append(hour)
            else:
                restated.append(hour)
        quiet = self._quiet(revisions, now)
        ready = [hour for hour in new if kept.get((HOURS, hour)) == wanted[HOURS, hour] or hour in quiet]
        ready += [hour for hour in restated if kept.get((HOURS, hour)) == wanted[HOURS, hour]]
        closed_at = new[0] + HOUR + CLOSED_AFTER_SECONDS if new else None
        return ExportPlan(ready, len(new) + len(restated), closed_at, min(revisions, default=first), final)

    def _quiet(self, revisions: dict[int, int], now: int) -> set[int]:
        """The hours whose facts have not changed for `_QUIET_SECONDS`."""
        if now - self._latest[0] >= _QUIET_SECONDS:
            self._before, self._latest = self._latest, (now, revisions)
        before, latest = self._before[1], self._latest[1]
        return {hour for hour, revision in revisions.items() if before.get(hour) == latest.get(hour) == revision}

    def content(self, hour: int) -> HourContent | None:
        """What to send of an hour; None if it has no facts any more."""
        with snapshot(self._book.engine) as connection:
            signature = signatures(hours_with_facts(connection, hour, hour + 1)).get((HOURS, hour))
            state, sent = self._cursor.state(connection, hour)
            if signature is None:
                return None
            stored = self._book.derived.signatures(connection, hour, hour + 1).get((HOURS, hour))
            unit = self._book.read(connection, (HOURS, hour), stored == signature)
        rows = exported_rows(unit.rows, self._labels)
        version, digest, present = self._version(signature), content_digest(rows), packed(rows)
        if state is None:
            return HourContent(HourState(version, 1, digest, False), with_vanished(rows, ()), present)
        same = state.digest == digest
        revision = state.revision if same else state.revision + 1
        return HourContent(
            HourState(version, revision, digest, same and state.is_sent), with_vanished(rows, unpacked(sent)), present
        )

    def _version(self, signature: str) -> str:
        return f"{self._terms} {signature}"
