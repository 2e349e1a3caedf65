"""The emissions report of a span of time: what a sustainability lead signs, and an auditor takes apart.

Both Scope 2 figures stand side by side, embodied emissions apart, by whose nodes they are: the energy of owned
nodes is Scope 2 (category of the GHG Protocol's Corporate Standard), that of a cloud's nodes is its tenant's
Scope 3, category 1 (purchased services).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.ledger.read import NodeSpan, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.reporting.numbers import grams, kilowatt_hours
from carbonbudget_operator.reporting.places import Places
from carbonbudget_operator.reporting.valued import (
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    Valuer,
    within,
)
from carbonbudget_operator.settings import Settings

SCOPE_2 = "Scope 2"
SCOPE_3 = "Scope 3, category 1"


@dataclass(slots=True)
class _Figures:
    it_uj: int = 0
    facility_uj: int = 0
    metered_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0

    def to_json(self) -> dict[str, object]:
        """Integers, with decimal strings beside them."""
        return {
            "it_energy_uj": self.it_uj,
            "it_energy_kwh": kilowatt_hours(self.it_uj),
            "facility_energy_kwh": kilowatt_hours(self.facility_uj),
            "location_ug": self.location_ug,
            "location_g": grams(self.location_ug),
            "market_ug": self.market_ug,
            "market_g": grams(self.market_ug),
            "embodied_ug": self.embodied_ug,
            "embodied_g": grams(self.embodied_ug),
            "measured_percent": self.metered_uj * 100 // self.it_uj if self.it_uj else 0,
        }


@dataclass(slots=True)
class _Method:
    """Energy by how it was found; a model's has a range."""

    measured_uj: int = 0
    low_uj: int = 0
    high_uj: int = 0


@dataclass(slots=True)
class _Sums:
    total: _Figures = field(default_factory=_Figures)
    scopes: dict[str, _Figures] = field(default_factory=dict)
    namespaces: dict[str, _Figures] = field(default_factory=dict)
    methods: dict[tuple[str, str], _Method] = field(default_factory=dict)
    factors: set[str] = field(default_factory=set)
    reported_ms: int = 0


class Reporter:
    """Makes the report of one span, hour by hour."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._places = Places(settings.carbon)
        self._valuer = Valuer(self._places, settings.allocation.policy())
        self._sums = _Sums()

    def run(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Read and value; yields how many hours of how many are done. Then `result` has the report."""
        with self._engine.connect() as connection:
            hours = list(hours_with_facts(connection, start, end))
            for done, hour in enumerate(hours):
                yield done, len(hours)
                self._add_hour(connection, hour, start, end)
            self._spans = node_spans(connection, self._settings.cluster)
        self._start, self._end = start, end

    def result(self) -> dict[str, object]:
        """The report, the same to the last digit for the same facts, figures and settings."""
        sums, carbon, allocation = self._sums, self._settings.carbon, self._settings.allocation
        return {
            "cluster": self._settings.cluster,
            "from": self._start,
            "to": self._end,
            "basis": carbon.basis,
            "policy": allocation.model_dump(mode="json"),
            "total": sums.total.to_json(),
            "scopes": {name: figures.to_json() for name, figures in sorted(sums.scopes.items())},
            "namespaces": {name: figures.to_json() for name, figures in sorted(sums.namespaces.items())},
            "energy": [
                {
                    "domain": domain,
                    "method": method,
                    "kwh": kilowatt_hours(found.measured_uj),
                    "low_kwh": kilowatt_hours(found.low_uj),
                    "high_kwh": kilowatt_hours(found.high_uj),
                }
                for (domain, method), found in sorted(sums.methods.items())
            ],
            "coverage_percent": self._coverage(),
            "factors": sorted(sums.factors),
        }

    def _add_hour(self, connection: sa.Connection, hour: int, start: int, end: int) -> None:
        slices = read_hour(connection, self._settings.cluster, hour)
        nodes = {slice_.node.name: slice_.node for slice_ in slices}
        sums = self._sums
        for slice_ in slices:
            overlap = min(slice_.end, end) - max(slice_.start, start)
            length = slice_.end - slice_.start
            if overlap > 0:
                sums.reported_ms += min(slice_.duration_ms, length * 1000) * overlap // length
        for row in within(self._valuer.value(slices, by_node=True), start, end):
            node = nodes[row.node]
            pue_permille = self._places.of(node, row.start).pue_permille
            it_uj = sum(row.figures[ENERGY_UJ])
            for figures in (
                sums.total,
                sums.scopes.setdefault(self._scope(node), _Figures()),
                sums.namespaces.setdefault(row.namespace, _Figures()),
            ):
                figures.it_uj += it_uj
                figures.facility_uj += it_uj * pue_permille // 1000
                figures.metered_uj += row.figures[METERED_UJ]
                figures.location_ug += sum(row.figures[LOCATION_UG])
                figures.market_ug += sum(row.figures[MARKET_UG])
                figures.embodied_ug += row.figures[EMBODIED_UG]
            sums.factors |= row.factors
            sums.factors.add(f"embodied: {self._places.hardware(node).why}")
        self._add_methods(connection, hour, start, end)

    def _add_methods(self, connection: sa.Connection, hour: int, start: int, end: int) -> None:
        """Of whole slices that start in the span: a range needs no share of a slice."""
        fact, node = schema.node_fact.c, schema.node
        rows = connection.execute(
            sa.select(fact.domain, fact.method, fact.measured_uj, fact.low_uj, fact.high_uj)
            .join(node, node.c.id == fact.node_id)
            .where(node.c.cluster == self._settings.cluster)
            .where(fact.start >= max(hour, start), fact.start < min(hour + HOUR, end))
        )
        for domain, method, measured_uj, low_uj, high_uj in rows:
            found = self._sums.methods.setdefault((domain.partition(":")[0], method), _Method())
            found.measured_uj += measured_uj
            found.low_uj += low_uj or measured_uj
            found.high_uj += high_uj or measured_uj

    def _scope(self, node: NodeFacts) -> str:
        cloud = bool(node.provider_id.partition("://")[1])
        owned = {"owned": True, "cloud": False, "auto": not cloud}[self._settings.carbon.ownership]
        return SCOPE_2 if owned else SCOPE_3

    def _coverage(self) -> int:
        """Share of the node-time that was reported, from each node's first report on."""
        through = max((span.last_end for span in self._spans), default=self._end)
        end = min(self._end, through)
        expected_ms = sum(_expected_ms(span, self._start, end) for span in self._spans)
        return min(100, self._sums.reported_ms * 100 // expected_ms) if expected_ms else 100


def _expected_ms(span: NodeSpan, start: int, end: int) -> int:
    return max(0, min(end, span.last_end) - max(start, span.first_start)) * 1000


def canonical(report: dict[str, object]) -> bytes:
    """The text that is hashed and kept."""
    return orjson.dumps(report, option=orjson.OPT_SORT_KEYS)


def digest(text: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(text).hexdigest()


def restatement(closed: dict[str, object], now: dict[str, object]) -> list[str]:
    """What differs between a closed report and today's: one line each, by its path."""
    return list(_differences("", closed, now))


def _differences(path: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif before != after:
        yield f"{path}: closed as {_short(before)}, now {_short(after)}"


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
