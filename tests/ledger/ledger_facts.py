"""Reads a whole ledger, for the tests of booking."""

from __future__ import annotations

import sqlalchemy as sa

from carbonbudget_operator.ledger.consistency import CheckResult, check_ledger
from carbonbudget_operator.ledger.fact_reader import hours_with_facts, read_hour
from carbonbudget_operator.ledger.facts import NodeSlice, PodGroupFacts

FIGURES = ("pods", "energy_uj", "idle_uj", "cpu_us", "reserved", "gpu_reserved_ms")


def slices(engine: sa.Engine) -> list[NodeSlice]:
    with engine.connect() as connection:
        hours = hours_with_facts(connection, 0, 2**40)
        return [item for hour in hours for item in read_hour(connection, "default", hour)]


def plain(facts: PodGroupFacts) -> tuple[object, ...]:
    """To compare between two readings."""
    group = facts.group
    return (group.namespace, group.workload, dict(group.labels), *(getattr(facts, name) for name in FIGURES))


def total_uj(engine: sa.Engine) -> int:
    return sum(domain.measured_uj for item in slices(engine) for domain in item.domains.values())


def checked(engine: sa.Engine) -> CheckResult:
    *_, last = check_ledger(engine)
    return last
