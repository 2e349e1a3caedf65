"""The ledger's size as gauges: a full volume stops all reports, and is better noticed weeks before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonbudget_operator.ledger.ledger_size import LedgerSize, ledger_size


class LedgerSizeMetrics(Collector):
    """The gauges; `step` looks at the ledger, so that a scrape waits for no database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._size: LedgerSize | None = None

    async def step(self) -> None:
        """Bring them up to date. Raises OSError, SQLAlchemyError."""
        self._size = await asyncio.to_thread(ledger_size, self._engine)

    def describe(self) -> Iterator[Metric]:
        """Nothing to ask at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Called with each scrape. Where the volume's room is not known there is no series of it."""
        if self._size is None:
            return
        yield GaugeMetricFamily("carbonbudget_ledger_bytes", "Size of the ledger's database.", self._size.used_bytes)
        if self._size.free_bytes is not None:
            yield GaugeMetricFamily(
                "carbonbudget_ledger_free_bytes", "Free bytes of the volume with the ledger's file.",
                self._size.free_bytes,
            )  # fmt: skip
