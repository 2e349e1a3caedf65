"""Reads the hourly facts of one pod: what it used in each slice, by domain, and how sure its energy is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_rows

_STARTS = 100


@dataclass(slots=True)
class PodSlice:
    """One pod's slice: energy and held idle in microjoules by domain, CPU time, and the ids of the pod's rows."""

    start: int
    cpu_us: int = 0
    energy_uj: Counter[str] = field(default_factory=Counter)
    idle_uj: Counter[str] = field(default_factory=Counter)
    pod_ids: set[int] = field(default_factory=set)


def read_pod_slices(connection: sa.Connection, pod_ids: Sequence[int], starts: Iterable[int]) -> dict[int, PodSlice]:
    """The pod's slices that start then, by start. `pod_ids` are the ids under which the ledger has it."""
    fact, energy = schema.pod_fact.c, schema.pod_energy.c
    found: dict[int, PodSlice] = {}
    for some in chunks(starts, _STARTS):
        rows = connection.execute(
            sa.select(fact.start, fact.pod_id, fact.cpu_us).where(fact.start.in_(some), fact.pod_id.in_(pod_ids))
        )
        for start, pod_id, cpu_us in valid_rows(rows, 2, "pod_hour", start=0, zeroed=True):
            its = found.setdefault(start, PodSlice(start))
            its.cpu_us += cpu_us
            its.pod_ids.add(pod_id)
        energies = connection.execute(
            sa.select(energy.start, energy.pod_id, energy.domain, energy.energy_uj, energy.idle_uj).where(
                energy.start.in_(some), energy.pod_id.in_(pod_ids)
            )
        )
        for start, _, domain, energy_uj, idle_uj in valid_rows(energies, 3, "pod_energy", start=0):
            if start in found:
                found[start].energy_uj[domain] += energy_uj
                found[start].idle_uj[domain] += idle_uj
    return found


def first_start(connection: sa.Connection, pod_ids: Sequence[int], starts: Iterable[int]) -> int | None:
    """The first of these slices in which the pod was reported; None if it was in none."""
    fact = schema.pod_fact.c
    for some in chunks(sorted(starts), _STARTS):  # each a look-up by the key, however many other pods there are
        query = sa.select(sa.func.min(fact.start)).where(fact.start.in_(some), fact.pod_id.in_(pod_ids))
        found = connection.scalar(query)
        if found is not None:
            return int(found)
    return None


def model_ranges(connection: sa.Connection, node_ids: Sequence[int], hour: int) -> dict[str, tuple[int, int, int]]:
    """By domain what its nodes measured in the hour, and between which figures the power model puts it.

    A domain with a meter has no range: the three are the same.
    """
    c, found = schema.node_fact.c, dict[str, tuple[int, int, int]]()
    rows = connection.execute(
        sa.select(c.start, c.node_id, c.domain, c.method, c.measured_uj, c.low_uj, c.high_uj).where(
            c.start >= hour, c.start < hour + HOUR, c.node_id.in_(node_ids)
        )
    )
    for _, _, domain, method, measured, low, high in valid_rows(rows, 4, "node_hour", 0):
        least, most = (low, high) if method == "model" and high else (measured, measured)
        one = found.get(domain, (0, 0, 0))
        found[domain] = (one[0] + measured, one[1] + least, one[2] + most)
    return found
