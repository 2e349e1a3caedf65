"""The tables of tracked pods: their windows, and the spans, units and progress that the pods themselves state.

Energy comes from node reports alone. What a pod states is a name and two instants.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, String, Table, Text, UniqueConstraint

from carbonbudget_operator.ledger.schema_metadata import ID, count, facts, key, metadata

# Pods whose windows are stored: they have the label of a run, or they posted something.
tracked_pod = Table(
    "tracked_pod",
    metadata,
    Column("id", ID, primary_key=True),
    Column("cluster", String(512), nullable=False),
    Column("uid", String(512), nullable=False),
    Column("namespace", String(512), nullable=False),
    Column("name", String(512), nullable=False, server_default=""),
    Column("run", String(512), nullable=False, server_default=""),  # the value of its label
    Column("posted", Boolean, nullable=False),
    count("seen_at"),  # the last hour in which windows of it were stored
    count("capped_at"),  # the last hour in which they were not, because its namespace has too many such pods
    count("active_at"),  # UTC second of its last window or post, about
    UniqueConstraint("cluster", "uid"),
    Index("tracked_pod_namespace", "namespace", "seen_at"),
)

# The windows of a pod in a quarter of an hour: a line of JSON each (`tracked_pods.py`).
pod_window = facts(
    "pod_window",
    key("start"),
    key("pod_id"),
    Column("windows", Text, nullable=False),
)

# In the order in which they came. `result` is null until the windows of its time are about to be deleted.
span = Table(
    "span",
    metadata,
    Column("number", ID, primary_key=True),
    Column("pod_id", BigInteger, nullable=False),
    Column("id", String(64), nullable=False),  # chosen by the client
    Column("run", String(512), nullable=False),  # as the client names it; empty: the pod's label
    Column("name", String(120), nullable=False),
    Column("step", BigInteger, nullable=False),  # -1: none, here and below
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("cpu_us", BigInteger, nullable=False),  # the client's counter at the start, and what it grew by
    Column("cpu_grown_us", BigInteger, nullable=False),
    Column("gpu_uj", BigInteger, nullable=False),
    Column("gpu_grown_uj", BigInteger, nullable=False),
    Column("posted_at", BigInteger, nullable=False),
    Column("result", LargeBinary),
    UniqueConstraint("pod_id", "id"),
)
# Which pods have spans to be folded: an index of those alone is small.
Index(
    "span_open", span.c.pod_id, span.c.posted_at,
    sqlite_where=span.c.result.is_(None), postgresql_where=span.c.result.is_(None),
)  # fmt: skip
# The newest spans of a pod are read without its others.
Index("span_pod", span.c.pod_id, span.c.number)

unit_count = Table(
    "unit_count",
    metadata,
    key("pod_id"),
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("posted_at", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# The same units by hour: reading them costs a row for each pod, name and hour, however many counts were posted.
posted_unit_hour = Table(
    "posted_unit_hour",
    metadata,
    key("pod_id"),
    Column("name", String(120), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False, index=True),
    Column("micro", BigInteger, nullable=False),  # millionths of a unit; MOST_ADDED: more than can be
    Column("counts", BigInteger, nullable=False),  # how many are in it: it grows with each change
    sqlite_with_rowid=False,
)

# How far a pod says that it is: the instants at which it had done so many of its steps.
progress_point = Table(
    "progress_point",
    metadata,
    key("pod_id"),
    Column("unit", String(120), primary_key=True),
    key("done"),
    Column("total", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How many spans, and hours of counts, a namespace's pods posted in a UTC day (days since 1970): the limit is per day.
posted_count = Table(
    "posted_count",
    metadata,
    key("day"),
    Column("cluster", String(512), primary_key=True),
    Column("namespace", String(512), primary_key=True),
    count("records"),
    sqlite_with_rowid=False,
)
