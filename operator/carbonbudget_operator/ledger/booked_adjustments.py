"""Books adjustments of budgets' limits, and reads them. The first adjustment of a key stays, whatever becomes of the
budget: the ledger knows budgets by their names.

Booking takes a lock, so that of two controllers, or two requests at once, one is first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger.adjustment_tables import adjustment
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

# Of transfers and credits, which others make: what closes a period is always booked.
MOST_IN_A_PERIOD: Final = 1_000
_BOUNDED: Final = frozenset({"TransferIn", "TransferOut", "Credit"})
# How long after its period's end an adjustment stays, beyond the months that facts are kept.
KEPT_SECONDS: Final = 2 * 366 * 86_400
_GROUPS_AT_ONCE: Final = 500  # a transaction holds up reports
_COLUMNS: Final = tuple(
    adjustment.c[name]
    for name in (
        "namespace", "name", "period_start", "period_end", "reason", "source", "micrograms", "detail", "booked_at"
    )
)  # fmt: skip


class BookedAdjustment(NamedTuple):
    """A row, in the order of the columns. Times are UTC seconds, `micrograms` is signed."""

    namespace: str
    name: str
    period_start: int
    period_end: int
    reason: str
    source: str
    micrograms: int
    detail: str = ""
    booked_at: int = 0

    @property
    def period(self) -> tuple[str, str, int]:
        """The budget and its period."""
        return self.namespace, self.name, self.period_start

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What is booked once."""
        return self.namespace, self.name, self.period_start, self.reason, self.source


def book_adjustments(
    engine: sa.Engine, cluster: str, groups: Sequence[Sequence[BookedAdjustment]], now: int
) -> list[int]:
    """Book each group as a whole, or not at all if one of its keys is booked already. `now` is UTC seconds.

    Returns the indexes of the groups that were booked now. A group of transfers or credits is not booked beyond a
    thousand of them in one period of a budget.
    """
    booked: list[int] = []
    for first in range(0, len(groups), _GROUPS_AT_ONCE):
        with write_transaction(engine, AdvisoryLock.ADJUSTMENTS) as connection:
            part = groups[first : first + _GROUPS_AT_ONCE]
            booked += [first + index for index in _book(connection, cluster, part, now)]
    return booked


def read_adjustments(
    connection: sa.Connection, cluster: str, periods: Collection[tuple[str, str, int]]
) -> list[BookedAdjustment]:
    """All that is booked for budgets and periods (namespace, name, start of the period), in the order of booking."""
    wanted, c = frozenset(periods), adjustment.c
    starts = sorted({start for _, _, start in wanted})
    found: list[tuple[int, BookedAdjustment]] = []
    for part in chunks(starts, 500):
        rows = connection.execute(sa.select(c.number, *_COLUMNS).where(c.cluster == cluster, c.period_start.in_(part)))
        for number, *cells in rows:
            row = BookedAdjustment(*cells)
            if row.period in wanted:
                found.append((number, row))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def drop_adjustments_before(engine: sa.Engine, instant: int, dropper: BatchDeleter) -> None:
    """Forget adjustments of periods that ended two years or more before an instant. Raises DeletionUnfinished."""
    c = adjustment.c
    with engine.connect() as connection:
        old = ids_of(connection, sa.select(c.number).where(c.period_end < instant - KEPT_SECONDS))
    dropper.these(old, lambda some: [sa.delete(adjustment).where(c.number.in_(some))])


def _book(
    connection: sa.Connection, cluster: str, groups: Sequence[Sequence[BookedAdjustment]], now: int
) -> Iterable[int]:
    known = read_adjustments(connection, cluster, {each.period for group in groups for each in group})
    keys = {each.key for each in known}
    counts = Counter(each.period for each in known if each.reason in _BOUNDED)
    booked: list[int] = []
    rows: list[BookedAdjustment] = []
    for index, group in enumerate(groups):
        bounded = [each for each in group if each.reason in _BOUNDED]
        if any(each.key in keys for each in group) or any(counts[each.period] >= MOST_IN_A_PERIOD for each in bounded):
            continue
        keys.update(each.key for each in group)
        counts.update(each.period for each in bounded)
        rows += group
        booked.append(index)
    if rows:
        stored = [row._replace(booked_at=now)._asdict() | {"cluster": cluster} for row in rows]
        connection.execute(sa.insert(adjustment), stored)
    return booked
