"""Makes, closes and reopens the emissions report of a period.

The offline command `carbonbudget report` and the server call the same functions, so that both close a period with the
same bytes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.external_summary import external_summary
from carbonbudget_operator.answers.period_change import period_change
from carbonbudget_operator.answers.report_comparison import restatement, summary
from carbonbudget_operator.answers.report_coverage import nodes_with_gaps
from carbonbudget_operator.answers.report_hash import canonical_json, digest
from carbonbudget_operator.answers.settings_by_hour import SettingsByHour
from carbonbudget_operator.answers.time_ranges import covered_range, parse_time_range, time_range_before
from carbonbudget_operator.answers.window_parser import before
from carbonbudget_operator.ledger import closed_reports
from carbonbudget_operator.ledger.closed_reports import AlreadyClosed, ClosedReport
from carbonbudget_operator.ledger.fact_reader import SILENT_SECONDS, hours_with_facts
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import expectations, reported_ms
from carbonbudget_operator.ledger.seal import sealed_until
from carbonbudget_operator.ledger.write_locks import write_transaction
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

MAX_REASON: Final = 500
_NAMED: Final = 3


class ClosingError(Exception):
    """The period cannot be closed or reopened. The message is one line: why, and what to do."""


class NotClosed(ClosingError):
    """The period has no closed report."""


def _no_progress(_done: int, _all: int) -> None:
    """Shows no progress."""


def period_report(
    engine: sa.Engine,
    settings: Settings,
    span: tuple[int, int],
    now: int,
    period: str = "",
    progress: Callable[[int, int], None] = _no_progress,
    compare: bool = False,
) -> dict[str, Any]:
    """The report of [start, end) in UTC seconds. With a named period it also has that period's closures.

    `sealed_until` is there where hours of it are sealed: the end of the last one, in UTC seconds.

    `compare`: also what changed since the period before (`period_change`): of a named period the one of the same kind,
    else the span of the same length that ends at `start`.
    """
    reporter = _run(engine, settings, span, now, progress)
    made: dict[str, Any] = json.loads(canonical_json(reporter.result()))
    if period:
        made |= _compared(engine, settings.cluster, period, made)
    with engine.connect() as connection:  # beside the report, and in no closed one: files come and go, hours are sealed
        external = external_summary(connection, settings.cluster, *span)
        sealed = sealed_until(connection, settings.cluster, *covered_range(*span))
    changed: dict[str, Any] = {}
    if compare:
        former = time_range_before(period) if period else before(span)
        earlier = _run(engine, settings, former, now, progress)
        values = (reporter.label_values(), earlier.label_values())
        by_settings = _settings_changes(engine, settings, (former[0], span[1]))
        changed["change"] = period_change(made, earlier.result(), earlier.has_data, span[1] <= now, values, by_settings)
    beside = ({"external": external} if external else {}) | ({"sealed_until": sealed} if sealed else {})
    return made | changed | beside | {"settings": settings.source}


def close_period(
    engine: sa.Engine,
    settings: Settings,
    period: str,
    now: int,
    incomplete: bool,
    progress: Callable[[int, int], None] = _no_progress,
) -> ClosedReport:
    """Store a period's report as it is at `now`. Raises ClosingError, TimeRangeError."""
    return store_closure(engine, settings.cluster, prepare(engine, settings, period, now, incomplete, progress))


def prepare(
    engine: sa.Engine,
    settings: Settings,
    period: str,
    now: int,
    incomplete: bool,
    progress: Callable[[int, int], None] = _no_progress,
) -> ClosedReport:
    """The closure of a period, for `store_closure`; nothing is written. Raises ClosingError, TimeRangeError."""
    span = parse_time_range(period)
    if span[1] > now:
        raise ClosingError(f"{period} has not ended yet")
    reporter = _run(engine, settings, span, now, progress)
    made, through = reporter.result(), reporter.data_through
    if reporter.changed_meanwhile:  # a part of it would be of before, and a part of after
        raise ClosingError(f"reports or grid intensities of {period} arrived while it was read: close it again")
    if not reporter.has_data:
        raise ClosingError(
            f"{period} has no data: no node reported anything in that time, so there is nothing to close"
        )
    if through < span[1] and not incomplete:
        raise ClosingError(
            f"{period} ends at {date_of(span[1])}, and all nodes have reported up to {date_of(through)} only: "
            "wait until agents have caught up, or, if no more reports will come, close it as it is with --incomplete "
            f"(its coverage would be {_percent(made)})"
        )
    if not incomplete and (silent := _nodes_with_gaps(engine, settings.cluster, span)):
        raise ClosingError(
            f"{period} lacks reports of {_names(silent)}, of more than {SILENT_SECONDS // 60} minutes each: wait until "
            "agents have caught up, or, if no more reports will come, close it as it is with --incomplete (its "
            f"coverage would be {_percent(made)})"
        )
    text = canonical_json(made)
    return ClosedReport(period, now, digest(text), text.decode())


def store_closure(engine: sa.Engine, cluster: str, closed: ClosedReport) -> ClosedReport:
    """Close a period with what `prepare` made; returns the closure that is stored.

    The same content again is the same closure: nothing is written, and the stored one is returned with the time at
    which it was closed first. So a client that got no answer can send its request again.

    Raises:
        ClosingError: the period is closed with another content.
    """
    try:
        with write_transaction(engine) as connection:
            closed_reports.close_report(connection, cluster, closed)
    except AlreadyClosed:
        previous = find_closure(engine, cluster, closed.period)
        if previous.digest == closed.digest:
            return previous
        raise ClosingError(
            f"{closed.period} was closed on {date_of(previous.closed_at)} with sha256 {previous.digest}, and its "
            "report differs by now: a period is closed once. `carbonbudget report reopen` undoes a closure by mistake"
        ) from None
    return closed


def reopen_period(engine: sa.Engine, cluster: str, period: str, now: int, reason: str) -> ClosedReport:
    """Undo a closure, and record it with its reason. Raises ClosingError, TimeRangeError."""
    parse_time_range(period)
    if not reason.strip() or len(reason) > MAX_REASON:
        raise ClosingError(f"the reason is missing or too long: give one of at most {MAX_REASON} characters")
    with write_transaction(engine) as connection:
        found = closed_reports.reopen_report(connection, cluster, period, now, reason.strip())
    if found is None:
        raise NotClosed(f"{period} is not closed")
    return found


def find_closure(engine: sa.Engine, cluster: str, period: str) -> ClosedReport:
    """The closed report of a period. Raises NotClosed, TimeRangeError."""
    parse_time_range(period)
    with engine.connect() as connection:
        found = closed_reports.find_closed(connection, cluster, period)
        previous = [] if found is not None else closed_reports.find_reopened(connection, cluster, period)
    if found is not None:
        return found
    if not previous:
        raise NotClosed(f"{period} is not closed: `carbonbudget report close {period}` closes it")
    last = previous[-1]
    raise NotClosed(
        f"{period} is not closed any more: it was closed on {date_of(last.closed.closed_at)} with sha256 "
        f"{last.closed.digest}, and reopened on {date_of(last.reopened_at)} (reason: {last.reason}). "
        f"`carbonbudget report close {period}` closes it again"
    )


def closures(engine: sa.Engine, cluster: str) -> dict[str, list[dict[str, object]]]:
    """All closed reports (`items`) and all reopened ones (`reopened`), without their texts."""
    with engine.connect() as connection:
        closed, previous = (
            closed_reports.list_closed(connection, cluster),
            closed_reports.list_reopened(connection, cluster),
        )
    keys = ("period", "closed_at", "sha256", "reopened_at", "reason")
    return {
        "items": [dict(zip(keys[:3], one, strict=True)) for one in closed],
        "reopened": [dict(zip(keys, one, strict=True)) for one in previous],
    }


def date_of(seconds: int) -> str:
    """UTC seconds as a date and time."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _percent(made: Mapping[str, object]) -> str:
    """A report's coverage in words."""
    percent = made["coverage_percent"]
    if percent is None:
        return "not known"
    return "less than 1 %" if percent == 0 and made["coverage_reported_ms"] else f"{percent} %"


def _nodes_with_gaps(engine: sa.Engine, cluster: str, span: tuple[int, int]) -> list[str]:
    start, end = covered_range(*span)
    with snapshot(engine) as connection:
        expected, reported = expectations(connection, cluster), reported_ms(connection, cluster, start, end)
    return nodes_with_gaps(expected, reported, start, end, SILENT_SECONDS)


def _names(nodes: Sequence[str]) -> str:
    """ "1 node (a)" or "5 nodes (a, b, c and 2 more)"."""
    named = ", ".join(nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"{len(nodes)} node{'s' if len(nodes) > 1 else ''} ({named}{more})"


def _run(
    engine: sa.Engine, settings: Settings, span: tuple[int, int], now: int, progress: Callable[[int, int], None]
) -> EmissionsReporter:
    reporter = EmissionsReporter(engine, settings)
    for done, parts in reporter.run(*span, now):
        progress(done, parts)
    return reporter


def _settings_changes(engine: sa.Engine, settings: Settings, span: tuple[int, int]) -> list[tuple[int, list[str]]]:
    start, end = covered_range(*span)
    with snapshot(engine) as connection:
        hours = hours_with_facts(connection, start, end)
        return SettingsByHour(connection, ValuedReader(engine, settings), hours).changes()


def _compared(engine: sa.Engine, cluster: str, period: str, made: dict[str, Any]) -> dict[str, Any]:
    """What a period's report has beside today's figures: the closed report with what differs, and reopened ones."""
    with engine.connect() as connection:
        closed = closed_reports.find_closed(connection, cluster, period)
        reopened = closed_reports.find_reopened(connection, cluster, period)
    found: dict[str, Any] = {}
    if closed is not None:
        before = json.loads(closed.text)
        found["closed"] = {
            "at": closed.closed_at, "sha256": closed.digest, "summary": summary(before, made),
            "restatement": restatement(before, made),
        }  # fmt: skip
    if reopened:
        found["reopened"] = [
            {
                "at": one.reopened_at,
                "closed_at": one.closed.closed_at,
                "sha256": one.closed.digest,
                "reason": one.reason,
            }
            for one in reopened
        ]
    return found
