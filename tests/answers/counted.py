"""Counters and what they counted, as the part that asks Prometheus writes them into the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from carbonbudget_operator.api.target_spec import ClusterUnitSource, UnitCounter
from carbonbudget_operator.ledger.span_store import Post, PostedUnit, SpanStore
from carbonbudget_operator.ledger.unit_days import ABSENT, COUNTED, NOTHING_KNOWN, UNKNOWN, day_of, with_hour
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day, unit_failure
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
    engine: sa.Engine, counter_id: int, hour: int, pods: Mapping[tuple[str, str], int] | None,
    reason: str = "Prometheus does not answer: connection refused", unknown: Collection[str] = (),
) -> None:  # fmt: skip
    """What a counter counted in an hour, in units by namespace and pod; None: Prometheus did not answer.

    `unknown`: the namespaces of which a query's hour is not known.
    """
    day, index = day_of(hour)
    at = (unit_day.c.counter_id == counter_id, unit_day.c.day == day)
    failed = (unit_failure.c.counter_id == counter_id, unit_failure.c.hour == hour)
    with engine.begin() as connection:
        connection.execute(sa.delete(unit_failure).where(*failed))
        if pods is None:
            connection.execute(
                sa.insert(unit_failure).values(
                    counter_id=counter_id, hour=hour, asked_at=hour + 3900, attempts=1, reason=reason
                )
            )
            return
        found = connection.execute(sa.select(unit_day).where(*at)).first()
        states, stored = (found.states, found.pods) if found else (NOTHING_KNOWN, "[]")
        if states[index] != UNKNOWN:
            raise ValueError("an hour that is known stays as it is")
        letter, micro = COUNTED if pods else ABSENT, {pod: units * MICRO for pod, units in pods.items()}
        states, stored = with_hour(states, stored, index, letter, micro, unknown)
        connection.execute(sa.delete(unit_day).where(*at))
        connection.execute(
            sa.insert(unit_day).values(counter_id=counter_id, day=day, states=states, refused="", pods=stored)
        )


def pods_count(
    engine: sa.Engine, uid: str, namespace: str, *counts: tuple[int, int, int], name: str = "images"
) -> None:
    """What a pod posts that counts itself: how many from when until when, in UTC seconds."""
    units = [
        PostedUnit(f"{name}-{start}-{end}-{number}", name, number, start * 1000, end * 1000)
        for number, start, end in counts
    ]
    assert SpanStore(engine, "default", 10**6).store(
        [Post(namespace, uid, uid, units=units)], max(end for _, _, end in counts)
    ) == [True]
