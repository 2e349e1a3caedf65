"""The table of what outlives the pods of a sealed hour: the units that they counted, by their labels."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from carbonbudget_operator.ledger.schema_metadata import key, metadata

# Made when the hour is sealed. Counts of pods that had no facts in the hour are in no row.
kept_units = Table(
    "kept_units",
    metadata,
    key("counter_id"),
    key("hour"),
    Column("namespace", String(512), primary_key=True),
    key("label_set_id"),
    Column("micro", BigInteger, nullable=False),  # millionths of a unit
    sqlite_with_rowid=False,
)
