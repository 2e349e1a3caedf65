"""How far the continuous exports are: for each target the last hour that it has, and how many it lacks.

An hour that was restated and is to be sent again is not counted: only the sender, which values hours, knows those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.exports.export_hours import CLOSED_AFTER_SECONDS
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.fact_reader import hours_with_facts
from carbonbudget_operator.ledger.time_slices import HOUR


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """One target. `last_hour` is the start of the latest hour that it has, None before the first one.

    `hours_behind` are closed hours of which the target has nothing; `oldest_missing` is the start of the first of them.
    """

    target: str
    last_hour: int | None
    hours_behind: int
    oldest_missing: int | None


def export_progress(connection: sa.Connection, cluster: str, targets: Sequence[str], now: int) -> list[ExportProgress]:
    """The targets of the settings, in their order, at the UTC second `now`."""
    target, hour = schema.export_target.c, schema.export_hour.c
    firsts = {
        name: int(first)
        for name, first in connection.execute(
            sa.select(target.name, target.first_hour).where(target.cluster == cluster, target.name.in_(targets))
        )
    }
    sent: dict[str, set[int]] = {name: set() for name in targets}
    # Of a second revision that is not sent yet, the target has the first one.
    has_some = hour.sent | (hour.revision > 1)
    for name, at in connection.execute(
        sa.select(hour.target, hour.hour).where(hour.cluster == cluster, hour.target.in_(targets), has_some)
    ):
        sent[name].add(int(at))
    closed = [
        at for at in hours_with_facts(connection, min(firsts.values(), default=now), now)
        if at + HOUR + CLOSED_AFTER_SECONDS <= now
    ]  # fmt: skip
    return [_progress(name, firsts.get(name), sent[name], closed) for name in targets]


def _progress(name: str, first: int | None, sent: set[int], closed: Sequence[int]) -> ExportProgress:
    """`first` is None before the first start of a target: nothing is known of what it will get."""
    missing = [] if first is None else [at for at in closed if at >= first and at not in sent]
    return ExportProgress(name, max(sent, default=None), len(missing), min(missing, default=None))
