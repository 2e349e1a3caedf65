"""At which instants budgets start and end inside an hour, and which of them the ledger is split at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.ledger.cuts import cuts_at
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE


def wanted_cuts(queries: Iterable[BudgetQuery]) -> set[tuple[str, int]]:
    """The cuts that would make these questions exact: each one's namespace, or `*` where it has several."""
    return {(_owner(query), at) for query in queries for at in _inside(query)}


class BudgetBoundaries:
    """Which starts and ends of these questions are cut, in one snapshot."""

    def __init__(self, connection: sa.Connection, queries: Sequence[BudgetQuery]) -> None:
        self._cuts = cuts_at(connection, {at for query in queries for at in _inside(query)})

    def uncut(self, query: BudgetQuery) -> list[int]:
        """Where the question starts or ends inside an hour that is not split there for all of its namespaces."""
        return [
            at
            for at in _inside(query)
            if (at, EVERY_NAMESPACE) not in self._cuts
            and any((at, name) not in self._cuts for name in query.namespaces)
        ]


def _owner(query: BudgetQuery) -> str:
    return query.namespaces[0] if len(query.namespaces) == 1 else EVERY_NAMESPACE


def _inside(query: BudgetQuery) -> list[int]:
    return [at for at in (query.start, query.end) if at % HOUR]
