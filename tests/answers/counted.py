"""Counters and what they counted, as the part that asks Prometheus writes them into the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from carbonbudget_operator.api.target_spec import ClusterUnitSource, UnitCounter
from carbonbudget_operator.ledger.unit_tables import pod_units, unit_counter, unit_hour
from carbonbudget_operator.units.counter_expression import expression_of

MICRO = 1_000_000
REQUESTS = ClusterUnitSource(counter=UnitCounter(metric="requests_total"))


def a_counter(engine: sa.Engine, namespace: str, source: ClusterUnitSource = REQUESTS, cluster: str = "default") -> int:
    """Register a counter; its id."""
    expression = expression_of(source)
    with engine.begin() as connection:
        made = connection.execute(
            sa.insert(unit_counter).values(
                cluster=cluster, namespace=namespace, digest=expression.digest, expression=expression.to_json()
            )
        )
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])


def an_hour(
    engine: sa.Engine, counter_id: int, hour: int, pods: Mapping[tuple[str, str], int] | None, asked_at: int = 0,
    state: str = "", reason: str = "",
) -> None:  # fmt: skip
    """What a counter counted in an hour, in units by namespace and pod; None: Prometheus did not answer."""
    state = state or ("failed" if pods is None else "counted" if pods else "absent")
    with engine.begin() as connection:
        connection.execute(sa.delete(unit_hour).where(unit_hour.c.counter_id == counter_id, unit_hour.c.hour == hour))
        connection.execute(sa.delete(pod_units).where(pod_units.c.counter_id == counter_id, pod_units.c.hour == hour))
        connection.execute(
            sa.insert(unit_hour).values(
                counter_id=counter_id, hour=hour, state=state, gaps=False, asked_at=asked_at or hour + 3900,
                reason=reason or ("" if pods is not None else "Prometheus does not answer: connection refused"),
            )
        )  # fmt: skip
        for (namespace, pod), units in (pods or {}).items():
            connection.execute(
                sa.insert(pod_units).values(
                    counter_id=counter_id, hour=hour, namespace=namespace, pod=pod, micro=units * MICRO
                )
            )
