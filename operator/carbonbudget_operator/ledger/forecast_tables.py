"""The tables of forecasts of the grid's intensity, as sources publish them. They value no energy.

So they are apart from `grid_hour`, whose rows value an hour as soon as it begins.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from carbonbudget_operator.ledger.schema_metadata import key, metadata, polls

# The newest forecast of an hour, and the first one, which is compared with what came.
grid_forecast = Table(
    "grid_forecast",
    metadata,
    Column("source", String(128), primary_key=True),
    Column("zone", String(128), primary_key=True),
    Column("basis", String(16), primary_key=True),
    key("hour"),
    Column("mg_per_kwh", BigInteger, nullable=False),
    Column("fetched_at", BigInteger, nullable=False),
    Column("first_mg_per_kwh", BigInteger, nullable=False),
    Column("first_fetched_at", BigInteger, nullable=False),
)

grid_forecast_poll = polls("grid_forecast_poll")
