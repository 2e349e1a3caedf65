"""A ledger with three days over a month's end, and the steps that value and seal its hours."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from hypothesis import strategies as st
from tests.ledger.reports import a_report

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger.stored_units import (
    DAYS,
    HOURS,
    MONTHS,
    NAMESPACE_DAYS,
    QUARTERS,
    THIRDS,
)
from carbonbudget_operator.ledger.valued_rows import (
    EMBODIED_UG,
    ENERGY_UJ,
    FACILITY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
)
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_761_868_800  # 2025-10-31: the last day of a month
HOUR = 3600
NOW = DAY + 40 * 86_400
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))


def some_reports() -> list[NodeReport]:
    """Three days over a month's end, two windows in some hours."""
    return [
        a_report(DAY + hour * HOUR + 60 * minute, node, {f"p{hour % 3}": 10**9 + hour}, labels={"team": f"t{hour % 4}"})
        for hour in range(0, 72, 5)
        for minute in (0, 17)
        for node in ("n1", "n2")
    ]


def keep(engine: sa.Engine, settings: Settings = SETTINGS) -> Counter[int]:
    """All that can be kept; how many units of each level were made."""
    deriver, made = UpkeepSteps(ValuedReader(engine, settings), 35, 25), Counter()
    while (key := deriver.step(NOW)) is not None:
        made[key[0]] += 1
    return made


def sums(rows: list[ValuedRow]) -> dict[object, list[int]]:
    found: dict[object, list[int]] = {}
    for row in rows:
        total = found.setdefault((row.scope, row.namespace, row.workload, str(row.labels)), [0] * 6)
        for at, figure in enumerate((
            sum(row.figures[ENERGY_UJ]), sum(row.figures[LOCATION_UG]), sum(row.figures[MARKET_UG]),
            row.figures[METERED_UJ], row.figures[EMBODIED_UG], row.figures[FACILITY_UJ],
        )):  # fmt: skip
            total[at] += figure
    return found


ALL = Counter({HOURS: 15, QUARTERS: 12, DAYS: 3, THIRDS: 2, MONTHS: 2, NAMESPACE_DAYS: 3})
SPANS = [(0, 2**40), (DAY, DAY + 86_400), (DAY + 1800, DAY + 50 * HOUR + 7), (DAY + 86_400, NOW), (NOW, NOW + 60)]
HOUR_SETS = st.sets(st.integers(0, 24 * 70).map(lambda n: DAY + n * HOUR), max_size=40)


def seal(engine: sa.Engine, now: int, settings: Settings = SETTINGS) -> list[int]:
    deriver, sealed = UpkeepSteps(ValuedReader(engine, settings), 35, 25), []
    while (unit := deriver.seal(now)) is not None:
        sealed.append(unit[1])
    return sealed
