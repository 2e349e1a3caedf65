"""A poller of units on a ledger of a test, taken step by step."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from carbonbudget_operator.ledger.unit_store import CounterHours, UnitStore, WantedCounter, read_units
from carbonbudget_operator.server.unit_poller import UnitPoller
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.units.counter_expression import CounterExpression

HOUR = 3600
TOKENS = CounterExpression("vllm:generation_tokens_total")


class Polling:
    """A poller, the counters that are wanted, and what the ledger says of them."""

    def __init__(self, engine: sa.Engine, url: str, **units: object) -> None:
        self.engine = engine
        self.settings = Settings.model_validate({"units": {"url": url, **units}})
        self.registry = CollectorRegistry()
        self.poller = UnitPoller(self.settings, self.registry, engine)
        self.store = UnitStore(engine, "default")

    def want(self, first: int, now: int, *namespaces: str, expression: CounterExpression = TOKENS) -> None:
        self.store.register([WantedCounter(one, expression, first) for one in namespaces], now)

    def hours(
        self, namespace: str, first: int, end: int, expression: CounterExpression = TOKENS
    ) -> CounterHours:  # fmt: skip
        with self.engine.connect() as connection:
            return read_units(connection, "default", [(namespace, expression)], first, end)[namespace, expression]

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"carbonbudget_{name}", labels)
        assert value is not None, name
        return value

    def waiting(self) -> Sequence[float]:
        return [self.metric("unit_hours", state=state) for state in ("waiting", "failed", "missing")]
