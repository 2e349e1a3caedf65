"""The tables of units: counters in Prometheus that targets ask for, and what they counted in each hour.

Counts are of Prometheus' samples, by the pod's name. Energy is never read from them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text, UniqueConstraint

from carbonbudget_operator.ledger.columns import ID, count, key, metadata

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
    UniqueConstraint("cluster", "namespace", "digest"),
)

# What is known of a counter's hour. Without a row it was not asked for yet.
unit_hour = Table(
    "unit_hour",
    metadata,
    key("counter_id"),
    key("hour"),
    Column(
        "state", String(16), nullable=False
    ),  # counted, absent (no series), failed (asked again), missing (given up)
    Column("gaps", Boolean, nullable=False),  # series without samples for longer than the lookback, or refused jumps
    count("asked_at"),
    Column("reason", String(512), nullable=False, server_default=""),
    Index("unit_hour_failed", "state", "asked_at"),
    sqlite_with_rowid=False,
)

# Units of a pod in an hour; pods that counted nothing have no row. An empty namespace and pod: a query without them.
pod_units = Table(
    "pod_units",
    metadata,
    key("counter_id"),
    key("hour"),
    Column("namespace", String(512), primary_key=True),
    Column("pod", String(512), primary_key=True),
    Column("micro", BigInteger, nullable=False),  # millionths of a unit
    sqlite_with_rowid=False,
)
