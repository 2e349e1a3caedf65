"""Makes the answer to GET /api/v1/status. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.status_bodies import ExportStatus, RefusedReportsRow, ServerStatus
from carbonbudget_operator.exports.export_progress import export_progress
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.public.row_formats import instant
from carbonbudget_operator.settings import Settings

_MOST_TEXT = 300


def status_answer(queries: BudgetUseQueries, settings: Settings, given: Mapping[str, Any], now: int) -> bytes:
    """The answer in JSON. `given` has what the server process alone knows: its version and the refused reports."""
    through = queries.data_through()
    with queries.book.engine.connect() as connection:
        targets = [target.name for target in settings.exports]
        exports = export_progress(connection, settings.cluster, targets, now) if targets else []
    return ServerStatus(
        cluster=settings.cluster,
        version=given["version"],
        settings=settings.source,
        data_through=instant(through) if through else None,
        required_labels=list(settings.reports.required_labels),
        exports=[
            ExportStatus(
                target=one.target,
                last_hour=_instant(one.last_hour),
                hours_behind=one.hours_behind,
                oldest_missing=_instant(one.oldest_missing),
            )
            for one in exports
        ],
        refused_since=instant(given["refused_since"]),
        refused=[
            RefusedReportsRow(
                sender=printable(one["sender"], _MOST_TEXT),
                kind=one["kind"],
                reports=one["reports"],
                last=instant(one["last"]),
                reason=printable(one["reason"], _MOST_TEXT),
            )
            for one in given["refused"]
        ],
    ).model_dump_json().encode()  # fmt: skip


def _instant(second: int | None) -> str | None:
    return None if second is None else instant(second)
