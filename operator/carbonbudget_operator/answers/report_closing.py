"""Reports of a period, and what closes them: for `carbonbudget report` beside the ledger and for the server's answers.

Both call the same functions, so that a report closed from outside has the bytes of one closed beside the ledger.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.external_summary import external_summary
from carbonbudget_operator.answers.report_comparison import canonical, digest, restatement, summary
from carbonbudget_operator.answers.time_ranges import parse_time_range
from carbonbudget_operator.ledger import closed_reports as kept
from carbonbudget_operator.ledger.closed_reports import AlreadyClosed, ClosedReport
from carbonbudget_operator.settings import Settings

MAX_REASON: Final = 500


class ClosingError(Exception):
    """What is asked cannot be done with this period; one line says why and what to do."""


class NotClosed(ClosingError):
    """The period has no closed report."""


def _unseen(_done: int, _all: int) -> None:
    """The progress of whoever shows none."""


def period_report(
    engine: sa.Engine,
    settings: Settings,
    span: tuple[int, int],
    now: int,
    period: str = "",
    progress: Callable[[int, int], None] = _unseen,
) -> dict[str, Any]:
    """The report of [start, end) in UTC seconds; of a named period beside what was closed of it."""
    made: dict[str, Any] = json.loads(canonical(_run(engine, settings, span, now, progress).result()))
    if period:
        made |= _compared(engine, settings.cluster, period, made)
    with engine.connect() as connection:  # beside the report, and in no closed one: files come and go
        external = external_summary(connection, settings.cluster, *span)
    return made | ({"external": external} if external else {}) | {"settings": settings.source}


def close_period(
    engine: sa.Engine,
    settings: Settings,
    period: str,
    now: int,
    incomplete: bool,
    progress: Callable[[int, int], None] = _unseen,
) -> ClosedReport:
    """Keep a period's report as it is at `now`. Raises ClosingError, TimeRangeError."""
    closed = prepare(engine, settings, period, now, incomplete, progress)
    keep(engine, settings.cluster, closed)
    return closed


def prepare(
    engine: sa.Engine,
    settings: Settings,
    period: str,
    now: int,
    incomplete: bool,
    progress: Callable[[int, int], None] = _unseen,
) -> ClosedReport:
    """What `keep` would close a period with; reads alone. Raises ClosingError, TimeRangeError."""
    span = parse_time_range(period)
    if span[1] > now:
        raise ClosingError(f"{period} has not ended yet")
    reporter = _run(engine, settings, span, now, progress)
    made, through = reporter.result(), reporter.data_through
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
    text = canonical(made)
    return ClosedReport(period, now, digest(text), text.decode())


def keep(engine: sa.Engine, cluster: str, closed: ClosedReport) -> None:
    """Close a period with what `prepare` made. Raises ClosingError."""
    try:
        with engine.begin() as connection:
            kept.close_report(connection, cluster, closed)
    except AlreadyClosed:
        former = find_closure(engine, cluster, closed.period)
        raise ClosingError(
            f"{closed.period} was closed on {date_of(former.closed_at)} with sha256 {former.digest}: a period is "
            "closed once. A closure by mistake is undone with `carbonbudget report reopen`"
        ) from None


def reopen_period(engine: sa.Engine, cluster: str, period: str, now: int, reason: str) -> ClosedReport:
    """Undo a closure; what was closed stays on record. Raises ClosingError, TimeRangeError."""
    parse_time_range(period)
    if not reason.strip() or len(reason) > MAX_REASON:
        raise ClosingError(f"the reason must say why, in at most {MAX_REASON} characters")
    with engine.begin() as connection:
        found = kept.reopen_report(connection, cluster, period, now, reason.strip())
    if found is None:
        raise NotClosed(f"{period} is not closed")
    return found


def find_closure(engine: sa.Engine, cluster: str, period: str) -> ClosedReport:
    """The closed report of a period. Raises NotClosed, TimeRangeError."""
    parse_time_range(period)
    with engine.connect() as connection:
        found = kept.find_closed(connection, cluster, period)
        former = [] if found is not None else kept.find_reopened(connection, cluster, period)
    if found is not None:
        return found
    if not former:
        raise NotClosed(f"{period} is not closed: `carbonbudget report close {period}` closes it")
    last = former[-1]
    raise NotClosed(
        f"{period} is not closed any more: it was closed on {date_of(last.closed.closed_at)} with sha256 "
        f"{last.closed.digest}, and reopened on {date_of(last.reopened_at)} (reason: {last.reason}). "
        f"`carbonbudget report close {period}` closes it again"
    )


def closures(engine: sa.Engine, cluster: str) -> dict[str, list[dict[str, object]]]:
    """All closed reports (`items`) and all closures that were undone (`reopened`), without their texts."""
    with engine.connect() as connection:
        closed, former = kept.list_closed(connection, cluster), kept.list_reopened(connection, cluster)
    keys = ("period", "closed_at", "sha256", "reopened_at", "reason")
    return {
        "items": [dict(zip(keys[:3], one, strict=True)) for one in closed],
        "reopened": [dict(zip(keys, one, strict=True)) for one in former],
    }


def date_of(seconds: int) -> str:
    """UTC seconds as people read them."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _percent(made: Mapping[str, object]) -> str:
    """A report's coverage in words, as the report itself states it."""
    percent = made["coverage_percent"]
    if percent is None:
        return "not known"
    return "less than 1 %" if percent == 0 and made["coverage_reported_ms"] else f"{percent} %"


def _run(
    engine: sa.Engine, settings: Settings, span: tuple[int, int], now: int, progress: Callable[[int, int], None]
) -> EmissionsReporter:
    reporter = EmissionsReporter(engine, settings)
    for done, parts in reporter.run(*span, now):
        progress(done, parts)
    return reporter


def _compared(engine: sa.Engine, cluster: str, period: str, made: dict[str, Any]) -> dict[str, Any]:
    """Beside today's report of a period: the closed one with what differs, and closures that were undone."""
    with engine.connect() as connection:
        closed = kept.find_closed(connection, cluster, period)
        reopened = kept.find_reopened(connection, cluster, period)
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
