"""The table of adjustments of budgets' limits. A row is never changed, and stays whatever becomes of the budget."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, UniqueConstraint

from carbonbudget_operator.ledger.schema_metadata import ID, metadata

adjustment = Table(
    "adjustment",
    metadata,
    Column("number", ID, primary_key=True),  # in the order of booking
    Column("cluster", String(512), nullable=False),
    Column("namespace", String(512), nullable=False),  # empty for a ClusterCarbonBudget
    Column("name", String(512), nullable=False),
    Column("period_start", BigInteger, nullable=False),
    Column("period_end", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("source", String(512), nullable=False),
    Column("micrograms", BigInteger, nullable=False),
    Column("detail", String(256), nullable=False),
    Column("booked_at", BigInteger, nullable=False),
    UniqueConstraint("cluster", "namespace", "name", "period_start", "reason", "source"),
    Index("adjustment_period", "cluster", "period_start"),
    Index("adjustment_source", "cluster", "source"),
)
