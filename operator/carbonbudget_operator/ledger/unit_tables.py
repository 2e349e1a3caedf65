"""The tables of units: counters in Prometheus that targets ask for, and what they counted in each hour.

Counts are of Prometheus' samples, by the pod's name. Energy is never read from them. A row holds a day of a counter:
a row for each hour and pod would be a hundred times as many, and a month of a thousand targets could not be read in a
second (docs/design/2026-11-30-counting-units.md).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text, UniqueConstraint

from carbonbudget_operator.ledger.schema_metadata import ID, count, key, metadata

# A counter of one namespace (empty: a query over the whole cluster), asked for while a target needs it.
unit_counter = Table(
    "unit_counter",
    metadata,
    Column("id", ID, primary_key=True),
    Column("cluster", String(512), nullable=False),
    Column("namespace", String(512), nullable=False),
    Column("digest", String(64), nullable=False),  # of `expression`
    Column("expression", Text, nullable=False),  # JSON: {"metric", "matchLabels"} or {"query"}
    count("first_hour"),  # the earliest hour that a target asked for
    count("wanted_at"),  # UTC second at which a target asked last
    count("missing_before"),  # hours before this one that are not known are given up
    UniqueConstraint("cluster", "namespace", "digest"),
    sqlite_autoincrement=True,  # no id is given twice: servers remember counters by it
)

# What is known of the 24 hours of a UTC day. `states` has a letter for each: . not known, c counted, g counted with
# gaps, a absent (no series). `pods` is JSON: [[namespace, pod, [hour of the day, millionths of a unit, ...]], ...].
# An empty namespace and pod: a query without them. An empty pod with -1 in place of millionths: the hour is not known
# in that namespace.
unit_day = Table(
    "unit_day",
    metadata,
    key("counter_id"),
    key("day"),  # UTC second of its start
    Column("states", String(24), nullable=False),
    Column("refused", String(512), nullable=False),  # what was refused in the newest hour with gaps
    Column("pods", Text, nullable=False),
    sqlite_with_rowid=False,
)

# An hour that was asked for in vain. Deleted when it becomes known.
unit_failure = Table(
    "unit_failure",
    metadata,
    key("counter_id"),
    key("hour"),
    Column("asked_at", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("reason", String(512), nullable=False),
    sqlite_with_rowid=False,
)

# Which server asks Prometheus for a cluster's units, and until when.
unit_lease = Table(
    "unit_lease",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
