"""The counters that targets need, from the operator's questions: they are registered before a question is answered.

This is the one place where the server's answers about targets meet the package that counts units.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import sqlalchemy as sa

from carbonbudget_operator.api.target_query_bodies import TargetQuery
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger.labelled_units import pod_namespaces
from carbonbudget_operator.ledger.unit_store import WantedCounter
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE, is_special
from carbonbudget_operator.units.counter_expression import CounterExpression, InvalidCounter, expression_of

WantCounters = Callable[[Sequence[WantedCounter], int], None]  # the counters, and the UTC second


def want_nothing(_: Sequence[WantedCounter], __: int) -> None:
    """Where nobody asks Prometheus."""


def digest_of(source: ClusterUnitSource, reserved: Collection[str] = ()) -> str:
    """The digest under which the source's counter is registered. Raises ValueError: no counter can be like this.

    `reserved`: the labels of namespace and pod by the settings.
    """
    return expression_of(source, reserved).digest


class TargetCounters:
    """Registers them. `want` stores that a counter is needed; it is called in a thread and may write to the ledger."""

    def __init__(self, engine: sa.Engine, cluster: str, want: WantCounters, reserved: Collection[str] = ()) -> None:
        self._engine, self._cluster, self._want, self._reserved = engine, cluster, want, reserved

    def register(self, queries: Iterable[TargetQuery], now: int) -> None:
        """Register the counters of these questions; those that no counter can be like are left out."""
        found: dict[tuple[str, CounterExpression, bool], int] = {}
        everywhere: list[str] | None = None
        for query in queries:
            try:
                expression = None if query.source.client is not None else expression_of(query.source, self._reserved)
            except InvalidCounter:
                continue
            if expression is None or not query.spans:
                continue
            names, of_cluster = query.namespaces, len(query.namespaces) > 1 or query.namespaces == [EVERY_NAMESPACE]
            if query.source.query is not None:
                names = [""]
            elif names == [EVERY_NAMESPACE]:
                everywhere = self._namespaces() if everywhere is None else everywhere
                names = everywhere
            first = min(span.start for span in query.spans)
            for name in names:
                key = (name, expression, of_cluster)
                found[key] = min(first, found.get(key, first))
        if found:
            self._want([WantedCounter(name, one, first, wide) for (name, one, wide), first in found.items()], now)

    def _namespaces(self) -> list[str]:
        """The namespaces of this cluster that have pods in the ledger."""
        with self._engine.connect() as connection:
            return sorted(name for name in pod_namespaces(connection, self._cluster) if not is_special(name))
