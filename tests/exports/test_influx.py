"""A real InfluxDB has the ledger's own figures to the last microgram, and a restated hour replaces the earlier one."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.exports.exporting import HOUR, Export, allocated, by_workload, fill, full_hour_ago, settings_of, upkeep
from tests.exports.receivers import InfluxServer

HOURS = 5


@pytest.fixture
def empty(influx: InfluxServer) -> InfluxServer:
    """The database without points."""
    influx.ask("DROP DATABASE cb", "")
    influx.ask("CREATE DATABASE cb", "")
    return influx


def target(influx: InfluxServer, **more: object) -> dict[str, object]:
    return {"name": "influx", "kind": "influx", "url": influx.url, "database": "cb", **more}


async def test_the_sums_are_those_of_carbonbudget_allocate(engine: sa.Engine, empty: InfluxServer) -> None:
    first = full_hour_ago(HOURS + 2)
    settings = settings_of(target(empty))
    fill(engine, first, HOURS)
    now = first + HOURS * HOUR + 1000
    upkeep(engine, settings, now)
    export = Export(engine, settings)
    assert await export.step(now) is False
    await export.close()
    own = allocated(engine, settings, first, first + HOURS * HOUR)
    energy = by_workload(empty.ask("SELECT * FROM carbonbudget_energy"), "microjoules")
    assert energy == {key: group.energy_uj for key, group in own.items()}
    for accounting, figure in (
        ("LocationBased", "location_ug"),
        ("MarketBased", "market_ug"),
        ("Embodied", "embodied_ug"),
    ):
        points = empty.ask(f"SELECT * FROM carbonbudget_emissions WHERE accounting = '{accounting}'")
        assert by_workload(points, "micrograms") == {
            key: getattr(group, figure) for key, group in own.items() if getattr(group, figure)
        }
        assert all(point["grams"] == point["micrograms"] / 1_000_000 for point in points)
    assert {point["time"] for point in empty.ask("SELECT * FROM carbonbudget_energy")} == {
        first + n * HOUR for n in range(HOURS)
    }
    assert (export.count("lag_seconds"), export.count("hours_waiting"), export.count("failures_total")) == (0, 0, 0)
