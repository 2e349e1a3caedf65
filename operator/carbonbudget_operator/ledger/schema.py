"""The ledger's tables. Integers are 64-bit; a sum over many rows is taken in Python, which does not overflow.

Time is UTC seconds. `start` of a node's fact is its hour; that of a pod's is its hour or a cut inside it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from carbonbudget_operator.ledger import adjustment_tables, forecast_tables, kept_unit_table, span_tables, unit_tables
from carbonbudget_operator.ledger.schema_metadata import ID as _ID
from carbonbudget_operator.ledger.schema_metadata import count as _count
from carbonbudget_operator.ledger.schema_metadata import facts as _facts
from carbonbudget_operator.ledger.schema_metadata import key as _key
from carbonbudget_operator.ledger.schema_metadata import polls as _polls
from carbonbudget_operator.ledger.valued_rows import NAMES
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

# With the tables that other modules define: spans of tracked pods, units of targets, adjustments of limits, forecasts.
_OTHER_TABLES = (
    span_tables.tracked_pod, unit_tables.unit_counter, kept_unit_table.kept_units, adjustment_tables.adjustment,
    forecast_tables.grid_forecast,
)  # fmt: skip
metadata = _OTHER_TABLES[0].metadata

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
    UniqueConstraint("cluster", "name"),
)

# From when to when a node has reported: apart from `node`, because it changes with each report.
node_span = Table(
    "node_span",
    metadata,
    _key("node_id"),
    _count("first_start"),
    _count("last_end"),
)

# Which windows are in: 16 bytes each (key and content digest), one row a node and hour.
node_windows = _facts(
    "node_windows",
    _key("hour"),
    _key("node_id"),
    Column("windows", LargeBinary, nullable=False),
)

# Grows with each commit that changes an hour's facts: what was derived from them is valid until then.
hour_revision = Table("hour_revision", metadata, _key("hour"), _count("revision"))

# Instants inside an hour at which the facts of a namespace's pods are split, because a budget starts or ends there;
# `*` splits those of all.
cut = Table(
    "cut",
    metadata,
    _key("at"),
    Column("namespace", String(512), primary_key=True, server_default=EVERY_NAMESPACE),
)

# The labels that budgets select by: which labels of a pod a server stores depends on it. `value` is `*` for any.
selected_label = Table(
    "selected_label",
    metadata,
    Column("namespace", String(512), primary_key=True),
    Column("several", Boolean, primary_key=True),  # by a budget over several namespaces
    Column("key", String(512), primary_key=True),
    Column("value", String(512), primary_key=True),
    Column("asked_at", BigInteger, nullable=False, index=True),  # UTC second at which a budget last asked, about
)

node_fact = _facts(
    "node_hour",
    _key("start"),
    _key("node_id"),
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
    # Of the text, because a database bounds how long an index entry may be.
    Column("digest", LargeBinary(16), nullable=False, unique=True),
    Column("labels", Text, nullable=False),  # JSON with sorted keys
)

# A pod under one set of labels: facts have the labels of their time.
pod = Table(
    "pod",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("node_id", _ID, ForeignKey("node.id"), nullable=False, index=True),  # whether a node that is gone has any
    Column("uid", String(512), nullable=False),
    Column("label_set_id", _ID, ForeignKey("label_set.id"), nullable=False),
    Column("namespace", String(512), nullable=False),
    Column("name", String(512), nullable=False),
    Column("controller_kind", String(512), nullable=False, server_default=""),
    Column("controller_name", String(512), nullable=False, server_default=""),
    Column("controller_uid", String(512), nullable=False, server_default="", index=True),  # and an earlier owner
    # No fact of it is of a later hour; a pod that has none any more is found by it.
    Column("last_hour", BigInteger, nullable=False, server_default="0", index=True),
    UniqueConstraint("uid", "node_id", "label_set_id"),  # the uid first: a batch looks pods up by it
)

pod_fact = _facts(
    "pod_hour",
    _key("start"),
    _key("pod_id"),
    _count("cpu_us"),
    _count("memory_byte_seconds"),
    _count("gpu_ms"),
    _count("cpu_request_millicore_ms"),
    _count("memory_request_byte_seconds"),
    _count("gpu_request_ms"),
    _count("duration_ms"),
)

pod_energy = _facts(
    "pod_energy",
    _key("start"),
    _key("pod_id"),
    Column("domain", String(512), primary_key=True),
    _count("energy_uj"),
    _count("idle_uj"),
)

# Reports as they were when their period was closed.
closed_report = Table(
    "closed_report",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("period", String(32), primary_key=True),
    Column("closed_at", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("report", Text, nullable=False),
)

# Closures that were undone: what was closed, when it was undone, and why.
reopened_report = Table(
    "reopened_report",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("cluster", String(512), nullable=False),
    Column("period", String(32), nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("report", Text, nullable=False),
    Column("reopened_at", BigInteger, nullable=False),
    Column("reason", String(512), nullable=False),
)

# What valued rows were made with: settings and bundled figures, as text.
derivation = Table(
    "derivation",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),
    Column("description", Text, nullable=False),
)

row_group = Table(
    "row_group",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),
    Column("scope", String(64), nullable=False),
    Column("namespace", String(512), nullable=False),
    Column("workload", String(1100), nullable=False),
    Column("labels", Text, nullable=False),
)

factor_set = Table(
    "factor_set",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),
    Column("factors", Text, nullable=False),  # a JSON list
)

# Hours, days and months that are over; `signature` holds the revisions of their hours.
valued_unit = Table(
    "valued_unit",
    metadata,
    _key("derivation_id"),
    _key("level"),
    _key("start"),
    Column("end", BigInteger, nullable=False),
    Column("signature", String(64), nullable=False),
    Column("reported", Text, nullable=False),
    Column("applied", Text),
)

valued_row = Table(
    "valued_row",
    metadata,
    _key("derivation_id"),
    _key("level"),
    _key("start"),
    _key("group_id"),
    Column("end", BigInteger, nullable=False),
    Column("factor_set_id", BigInteger, nullable=False),
    *(_count(name) for name in NAMES),
    sqlite_with_rowid=False,
)

# Hours whose pods are gone: their rows under that derivation are the record.
sealed_hour = Table(
    "sealed_hour",
    metadata,
    Column("cluster", String(512), primary_key=True),
    _key("hour"),
    Column("derivation_id", BigInteger, nullable=False),
    Column("sealed_at", BigInteger, nullable=False),
)

# The workload that owns a pod's controller, by the controller's uid.
owner = Table(
    "owner",
    metadata,
    Column("uid", String(512), primary_key=True),
    Column("kind", String(512), nullable=False),
    Column("name", String(512), nullable=False),
    Column("owner_uid", String(512), nullable=False),
)

# How many nodes of a kind a day's lists had at most at once, and when one was last made; kind "" should report.
node_count = Table(
    "node_count",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), primary_key=True),
    _count("nodes"),
    _count("until"),
)

# From when to when the cluster listed a node that should report.
node_listed = Table(
    "node_listed",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("uid", String(512), primary_key=True),
    _count("since"),
    _count("until"),
)

# A source's hourly intensities. What changed is written beside what was known before: an audit sees both.
grid_hour = Table(
    "grid_hour",
    metadata,
    Column("source", String(128), primary_key=True),
    Column("zone", String(128), primary_key=True),
    Column("basis", String(16), primary_key=True),
    _key("hour"),
    _key("seen_at"),
    Column("mg_per_kwh", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
)

grid_poll = _polls("grid_poll")

# Files of figures that others measured. They are shown beside ours, and no sum of ours reads them.
external_file = Table(
    "external_file",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("cluster", String(512), nullable=False),
    Column("source", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("name", String(512), nullable=False),
    Column("imported_at", BigInteger, nullable=False),
    Column("imported_by", String(512), nullable=False),
    Column("figures", BigInteger, nullable=False),
    Column("rounded", BigInteger, nullable=False),
    Column("superseded", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),  # of its first figure
    Column("end", BigInteger, nullable=False),  # of its last figure
    UniqueConstraint("cluster", "source", "sha256"),
)

external_figure = Table(
    "external_figure",
    metadata,
    Column("file_id", _ID, ForeignKey("external_file.id"), primary_key=True, autoincrement=False),
    _key("line"),
    Column("scope", String(16), primary_key=True),
    Column("series", LargeBinary(16), nullable=False),  # a hash of what may have one figure at a time
    Column("account", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("emissions_ug", BigInteger, nullable=False),
    Column("energy_uj", BigInteger),
    Column("method", String(128), nullable=False),
    Column("stated", String(128), nullable=False),
    Index("external_figure_series", "series", "start"),
)

# Files whose figures were removed: what was imported, who removed it, when and why.
external_removal = Table(
    "external_removal",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("cluster", String(512), nullable=False),
    Column("source", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("name", String(512), nullable=False),
    Column("imported_at", BigInteger, nullable=False),
    Column("imported_by", String(512), nullable=False),
    Column("figures", BigInteger, nullable=False),
    Column("removed_at", BigInteger, nullable=False),
    Column("removed_by", String(512), nullable=False),
    Column("reason", String(512), nullable=False),
)

# A target that closed hours are sent to: the first of its hours, and which server sends until when.
export_target = Table(
    "export_target",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("name", String(64), primary_key=True),
    _count("first_hour"),
    Column("holder", String(64), nullable=False),
    _count("lease_until"),
)

# What a target has, or is about to get, of an hour. `rows` says of whom it has figures; null when it is sealed.
export_hour = Table(
    "export_hour",
    metadata,
    Column("cluster", String(512), primary_key=True),
    Column("target", String(64), primary_key=True),
    _key("hour"),
    Column("version", String(128), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("digest", String(32), nullable=False),
    Column("sent", Boolean, nullable=False),
    Column("rows", LargeBinary),
)

# Tokens that read the public API. Only their hashes are stored.
read_token = Table(
    "read_token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("cluster", String(512), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256 of the token
    Column("name", String(512), nullable=False),
    Column("namespaces", Text, nullable=False),  # JSON list of names; `*` alone for all
    Column("creator", Text, nullable=False),  # JSON: whose rights bound the token's
    Column("created_by", String(512), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_by", String(512)),
    Column("last_used", BigInteger),  # UTC second at which the day of its last use begins
)
