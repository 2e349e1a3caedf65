"""Checks the ledger for `carbonbudget ledger check`: whether all stored parts add up to the measured energy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_hours, valued_energy_uj
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import MAX_COUNT, is_count, valid_in_database, valid_rows
from carbonbudget_operator.printable import printable

_ENTRY_BYTES = 16
_NO_NODE = -1  # of facts whose pod is not there


@dataclass(slots=True)
class CheckResult:
    """What was looked at, and one line for each node, hour and domain that does not add up."""

    nodes: int = 0
    windows: int = 0
    slices: int = 0
    pods: int = 0
    measured_uj: int = 0
    defects: list[str] = field(default_factory=list)


def check_ledger(engine: sa.Engine) -> Iterator[CheckResult]:
    """Check hour by hour, yielding the result so far after each: progress on long ledgers.

    Each hour is read in one transaction, so that a running server does not disturb it.
    """
    result = CheckResult()
    with snapshot(engine) as connection:
        node = schema.node
        result.nodes = connection.scalar(sa.select(sa.func.count()).select_from(node)) or 0
        result.pods = connection.scalar(sa.select(sa.func.count()).select_from(schema.pod)) or 0
        clusters = connection.scalars(sa.select(node.c.cluster).distinct()).all()
        for (size,) in connection.execute(sa.select(sa.func.length(schema.node_windows.c.windows))):
            result.windows += size // _ENTRY_BYTES
        starts = connection.scalars(sa.select(schema.node_fact.c.start).distinct())
        energies = connection.scalars(sa.select(schema.pod_energy.c.start).distinct())
        hours = sorted({at - at % HOUR for at in (*starts, *energies)})
    yield result
    for hour in hours:
        with snapshot(engine) as connection:
            if hour < (connection.scalar(sa.select(sa.func.min(schema.hour_revision.c.hour))) or hour + 1):
                continue  # it is being dropped, in parts
            of_hour = {
                name: its for name in clusters for its in sealed_hours(connection, name, hour, hour + 1).values()
            }
            for cluster, derivation_id in of_hour.items():
                _check_sealed(connection, cluster, hour, derivation_id, result)
            _check_hour(connection, hour, frozenset(of_hour), result)
        yield result


def _check_hour(connection: sa.Connection, hour: int, sealed: frozenset[str], result: CheckResult) -> None:
    fact, energy, pod, node = schema.node_fact, schema.pod_energy, schema.pod, schema.node
    nodes = connection.execute(sa.select(node.c.id, node.c.name, node.c.cluster)).all()
    names = {row.id: row.name for row in nodes}
    done = {row.id for row in nodes if row.cluster in sealed}
    measured: dict[tuple[int, int, str], int] = {}
    parts_uj: dict[tuple[int, int, str], int] = {}
    for table in (fact, schema.pod_fact, energy):
        _check_counts(connection, table, hour, result)
    node_facts = connection.execute(
        sa.select(
            fact.c.start, fact.c.node_id, fact.c.domain, fact.c.measured_uj, fact.c.idle_uj, fact.c.system_uj,
            fact.c.unseen_uj,
        ).where(fact.c.start >= hour, fact.c.start < hour + HOUR)
    )  # fmt: skip
    for start, node_id, domain, total, idle, system, unseen in valid_rows(node_facts, 3, fact.name, start=0):
        if node_id in done:
            continue
        key = (node_id, start - start % HOUR, domain)
        measured[key] = measured.get(key, 0) + total
        parts_uj[key] = parts_uj.get(key, 0) + idle + system + unseen
    energies = connection.execute(
        sa.select(energy.c.start, energy.c.pod_id, energy.c.domain, pod.c.node_id, energy.c.energy_uj, energy.c.idle_uj)
        .outerjoin(pod, pod.c.id == energy.c.pod_id)
        .where(energy.c.start >= hour, energy.c.start < hour + HOUR)
    )
    for start, _, domain, node_id, own, idle in valid_rows(energies, 4, energy.name, start=0):
        if node_id in done:  # of a sealed hour, which is being cleared
            continue
        key = (node_id if node_id is not None else _NO_NODE, start - start % HOUR, domain)
        parts_uj[key] = parts_uj.get(key, 0) + own + idle
    result.slices += len({key[:2] for key in measured})
    result.measured_uj += sum(measured.values())
    for key in sorted(measured.keys() | parts_uj.keys()):
        node_id, at, domain = key
        if key in measured and node_id not in names:
            result.defects.append(f"hour {at}, domain {domain}: of a node that is not there ({node_id})")
        if measured.get(key, 0) != parts_uj.get(key, 0):
            result.defects.append(
                f"node {names.get(node_id, 'that is not there')}, hour {at}, domain {domain}: measured "
                f"{measured.get(key, 0)} uJ, but its parts add up to {parts_uj.get(key, 0)} uJ"
            )


def _check_counts(connection: sa.Connection, table: sa.Table, hour: int, result: CheckResult) -> None:
    """Each value that is no count, by its row's key."""
    keys = list(table.primary_key)
    for column in table.columns:
        if column.primary_key:
            continue
        rows = connection.execute(
            sa.select(*keys, column).where(
                table.c.start >= hour, table.c.start < hour + HOUR,
                ~valid_in_database(connection.dialect, column, MAX_COUNT),
            )
        )  # fmt: skip
        for *key, value in rows:
            where = ", ".join(f"{item.name} {part}" for item, part in zip(keys, key, strict=True))
            result.defects.append(
                f"table {table.name}, {where}: {column.name} is {printable(repr(value))}, no whole number from 0 on: "
                "the row is left out"
            )


def _check_sealed(connection: sa.Connection, cluster: str, hour: int, derivation_id: int, result: CheckResult) -> None:
    """Check a sealed hour. Its pods are gone; what it was sealed with must hold what its nodes measured."""
    fact, node = schema.node_fact.c, schema.node.c
    rows = connection.execute(
        sa.select(fact.node_id, fact.start, fact.measured_uj)
        .join(schema.node, node.id == fact.node_id)
        .where(node.cluster == cluster, fact.start >= hour, fact.start < hour + HOUR)
    ).all()
    measured_uj = sum(row.measured_uj for row in rows if is_count(row.measured_uj))
    valued_uj = valued_energy_uj(connection, derivation_id, hour)
    result.slices += len({(row.node_id, row.start) for row in rows})
    result.measured_uj += measured_uj
    if measured_uj != valued_uj:
        result.defects.append(f"sealed hour {hour}: measured {measured_uj} uJ, but its rows add up to {valued_uj} uJ")
