"""The ledger's tables. Integers are 64-bit; a sum over many rows is taken in Python, which does not overflow.

Time is UTC seconds. `start` of a fact is the start of its slice: the hour, or a cut inside it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite numbers rows itself only for a column of type INTEGER.
_ID = BigInteger().with_variant(Integer, "sqlite")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


node = Table(
    "node",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("cluster", String(512), nullable=False),
    Column("name", String(512), nullable=False),
    Column("provider_id", String(512), nullable=False, server_default=""),
    Column("region", String(512), nullable=False, server_default=""),
    Column("zone", String(512), nullable=False, server_default=""),
    Column("instance_type", String(512), nullable=False, server_default=""),
    Column("cpu_model", String(512), nullable=False, server_default=""),
    _count("threads"),
    _count("memory_bytes"),
    _count("cpu_millicores"),
    _count("allocatable_memory_bytes"),
    _count("gpus"),
    _count("first_start"),
    _count("last_end"),
    UniqueConstraint("cluster", "name"),
)

# Which windows are in: 16 bytes each (key and content digest), one row a node and hour.
node_windows = Table(
    "node_windows",
    metadata,
    Column("node_id", _ID, ForeignKey("node.id"), primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("windows", LargeBinary, nullable=False),
)

# Instants inside an hour at which facts are split, because a budget starts or ends there.
cut = Table("cut", metadata, Column("at", BigInteger, primary_key=True, autoincrement=False))

node_fact = Table(
    "node_hour",
    metadata,
    Column("node_id", _ID, ForeignKey("node.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("domain", String(512), primary_key=True),
    Column("method", String(16), primary_key=True),
    Column("boundary", String(16), primary_key=True),
    _count("duration_ms"),
    _count("measured_uj"),
    _count("idle_uj"),
    _count("system_uj"),
    _count("unseen_uj"),
    _count("low_uj"),
    _count("high_uj"),
)

label_set = Table(
    "label_set",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("labels", Text, nullable=False, unique=True),  # JSON with sorted keys
)

# A pod under one set of labels: facts keep the labels of their time.
pod = Table(
    "pod",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("node_id", _ID, ForeignKey("node.id"), nullable=False),
    Column("uid", String(512), nullable=False),
    Column("label_set_id", _ID, ForeignKey("label_set.id"), nullable=False),
    Column("namespace", String(512), nullable=False),
    Column("name", String(512), nullable=False),
    Column("controller_kind", String(512), nullable=False, server_default=""),
    Column("controller_name", String(512), nullable=False, server_default=""),
    Column("controller_uid", String(512), nullable=False, server_default=""),
    UniqueConstraint("node_id", "uid", "label_set_id"),
)

pod_fact = Table(
    "pod_hour",
    metadata,
    Column("pod_id", _ID, ForeignKey("pod.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True, index=True),
    _count("cpu_us"),
    _count("memory_byte_seconds"),
    _count("gpu_ms"),
    _count("cpu_request_millicore_ms"),
    _count("memory_request_byte_seconds"),
    _count("gpu_request_ms"),
    _count("duration_ms"),
)

pod_energy = Table(
    "pod_energy",
    metadata,
    Column("pod_id", _ID, ForeignKey("pod.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True, index=True),
    Column("domain", String(512), primary_key=True),
    _count("energy_uj"),
    _count("idle_uj"),
)
