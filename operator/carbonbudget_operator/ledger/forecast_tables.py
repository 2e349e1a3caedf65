"""The tables of forecasts of the grid's intensity, as sources publish them. They value no energy.

So they are apart from `grid_hour`, whose rows value an hour as soon as it begins.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from carbonbudget_operator.ledger.columns import count, key, metadata

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

# When a source was last asked for its forecast of a zone, and with what success: servers share one turn.
grid_forecast_poll = Table(
    "grid_forecast_poll",
    metadata,
    Column("source", String(128), primary_key=True),
    Column("zone", String(128), primary_key=True),
    count("polled_at"),
    count("good_at"),
    Column("error", String(512), nullable=False, server_default=""),
)
