"""Reads what an hour was valued at under earlier settings, from the units that are still stored for them.

Upkeep compares both to show which hours a change of settings restates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, ENERGY_UJ, LOCATION_UG, MARKET_UG, NAMES


@dataclass(frozen=True, slots=True)
class ValuedTotals:
    """Sums over rows: microjoules of IT energy, micrograms of CO2e by both methods and embodied."""

    energy_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0

    def __add__(self, other: ValuedTotals) -> ValuedTotals:
        return ValuedTotals(
            self.energy_uj + other.energy_uj,
            self.location_ug + other.location_ug,
            self.market_ug + other.market_ug,
            self.embodied_ug + other.embodied_ug,
        )


@dataclass(frozen=True, slots=True)
class EarlierHour:
    """An hour's totals under an earlier derivation, and that one's description."""

    description: str
    totals: ValuedTotals


def earlier_hour(connection: sa.Connection, derivation_id: int, hour: int) -> EarlierHour | None:
    """What the latest derivation before this one has of an hour; None where none has it."""
    unit, row, derivation = schema.valued_unit.c, schema.valued_row.c, schema.derivation.c
    found = connection.execute(
        sa.select(derivation.id, derivation.description)
        .join(schema.valued_unit, unit.derivation_id == derivation.id)
        .where(unit.level == HOURS, unit.start == hour, derivation.id < derivation_id)
        .order_by(derivation.id.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    rows = connection.execute(
        sa.select(*(row[name] for name in NAMES)).where(
            row.derivation_id == found.id, row.level == HOURS, row.start >= hour, row.start < hour + HOUR
        )
    )
    return EarlierHour(found.description, totals_of(tuple(figures) for figures in rows))


def totals_of(rows: Iterable[Sequence[int]]) -> ValuedTotals:
    """The sums of rows' figures. Added up here: SQLite's integers may not hold them."""
    energy_uj = location_ug = market_ug = embodied_ug = 0
    for figures in rows:
        energy_uj += sum(figures[ENERGY_UJ])
        location_ug += sum(figures[LOCATION_UG])
        market_ug += sum(figures[MARKET_UG])
        embodied_ug += figures[EMBODIED_UG]
    return ValuedTotals(energy_uj, location_ug, market_ug, embodied_ug)
