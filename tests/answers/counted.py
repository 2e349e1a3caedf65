"""Counters and what they counted, as the part that asks Prometheus writes them into the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from carbonbudget_operator.api.target_spec import ClusterUnitSource, UnitCounter
from carbonbudget_operator.ledger.unit_store import FailedHour, UnitStore, WantedCounter
from carbonbudget_operator.ledger.unit_tables import unit_counter
from carbonbudget_operator.units.counter_expression import expression_of
from carbonbudget_operator.units.counting import HourUnits
from carbonbudget_operator.units.pending_hours import AttemptedHour

MICRO = 1_000_000
REQUESTS = ClusterUnitSource(counter=UnitCounter(metric="requests_total"))


def a_counter(engine: sa.Engine, namespace: str, source: ClusterUnitSource = REQUESTS, cluster: str = "default") -> int:
    """Register a counter; its id."""
    expression = expression_of(source)
    UnitStore(engine, cluster).register([WantedCounter(namespace, expression, 0)], 1)
    c = unit_counter.c
    with engine.connect() as connection:
        found = connection.scalar(
            sa.select(c.id).where(c.cluster == cluster, c.namespace == namespace, c.digest == expression.digest)
        )
    assert found is not None
    return int(found)


def an_hour(
    engine: sa.Engine, counter_id: int, hour: int, pods: Mapping[tuple[str, str], int] | None, reason: str = ""
) -> None:
    """What a counter counted in an hour, in units by namespace and pod; None: Prometheus did not answer."""
    store = UnitStore(engine, "default")
    if pods is None:
        reason = reason or "Prometheus does not answer: connection refused"
        store.store_failures([FailedHour(counter_id, hour, AttemptedHour(hour + 3900, 1), reason)])
        return
    micro = {pod: units * MICRO for pod, units in pods.items()}
    assert store.store_hour(counter_id, hour, HourUnits(micro, is_absent=not pods, is_sampled=bool(pods)))
