"""A real InfluxDB has the ledger's own figures to the last microgram, and a restated hour replaces the earlier one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.exports.exporting import (
    HOSTILE,
    HOUR,
    Export,
    allocated,
    by_workload,
    fill,
    full_hour_ago,
    hour_rows,
    settings_of,
    upkeep,
)
from tests.exports.receivers import InfluxServer

from carbonbudget_operator.answers.allocation_groups import AllocationGroup
from carbonbudget_operator.exports.export_loop import Exports
from carbonbudget_operator.exports.export_target_http import TargetAway, TargetHttp
from carbonbudget_operator.exports.exported_rows import exported_rows
from carbonbudget_operator.exports.line_protocol import LineProtocol
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.line_protocol_text import tag_value
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

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


async def sent(engine: sa.Engine, settings: Settings, now: int) -> Export:
    upkeep(engine, settings, now)
    export = Export(engine, settings)
    assert await export.step(now) is False
    await export.close()
    return export


def agrees(influx: InfluxServer, own: dict[tuple[str, str], AllocationGroup]) -> bool:
    """Whether the database has the ledger's location-based emissions, and nothing else that is above 0."""
    points = influx.ask("SELECT * FROM carbonbudget_emissions WHERE accounting = 'LocationBased'")
    found = {key: ug for key, ug in by_workload(points, "micrograms").items() if ug}
    return found == {key: group.location_ug for key, group in own.items() if group.location_ug}


async def test_a_change_of_settings_replaces_the_points_of_the_same_hours(
    engine: sa.Engine, empty: InfluxServer
) -> None:
    first = full_hour_ago(HOURS + 2)
    now, span = first + HOURS * HOUR + 1000, (first, first + HOURS * HOUR)
    before, after = settings_of(target(empty)), settings_of(target(empty), pue=1.7)
    fill(engine, first, HOURS)
    await sent(engine, before, now)
    assert agrees(empty, allocated(engine, before, *span))
    points = len(empty.ask("SELECT * FROM carbonbudget_emissions WHERE micrograms > 0"))
    await sent(engine, after, now + 60)
    assert agrees(empty, allocated(engine, after, *span))
    assert not agrees(empty, allocated(engine, before, *span))
    assert len(empty.ask("SELECT * FROM carbonbudget_emissions WHERE micrograms > 0")) == points


async def test_rows_that_vanish_from_a_restated_hour_become_0(engine: sa.Engine, empty: InfluxServer) -> None:
    first = full_hour_ago(4)
    now = first + 2 * HOUR + 1000
    fill(engine, first, 2)
    fill(engine, first, 2, {"s": 5 * 10**9}, namespace="kube-system", node="node-2")
    before = settings_of(target(empty))
    after = settings_of(target(empty), allocation={"shared": {"kube-system": "proportional"}})
    own = allocated(engine, after, first, first + 2 * HOUR)
    assert "kube-system" not in {namespace for namespace, _ in own}
    await sent(engine, before, now)
    assert any(point["microjoules"] for point in empty.ask(
        "SELECT * FROM carbonbudget_energy WHERE namespace = 'kube-system'"))  # fmt: skip
    await sent(engine, after, now + 60)
    gone = empty.ask("SELECT * FROM carbonbudget_energy WHERE namespace = 'kube-system'")
    assert {(point["microjoules"], point["kwh"]) for point in gone} == {(0, 0)}
    assert agrees(empty, own)


async def test_a_late_report_sends_its_hour_again_and_no_other(engine: sa.Engine, empty: InfluxServer) -> None:
    first = full_hour_ago(HOURS + 2)
    now = first + HOURS * HOUR + 1000
    settings = settings_of(target(empty))
    fill(engine, first, HOURS)
    whole = (await sent(engine, settings, now)).count("rows_total")
    fill(engine, first + HOUR, 1, {"late": 77}, node="node-2")
    again = await sent(engine, settings, now + 60)
    assert 0 < again.count("rows_total") < whole
    assert agrees(empty, allocated(engine, settings, first, first + HOURS * HOUR))
    assert (await sent(engine, settings, now + 120)).count("rows_total") == 0


async def test_the_same_figures_by_another_derivation_are_not_sent_again(
    engine: sa.Engine, empty: InfluxServer
) -> None:
    """Such as a supplier's factor of a zone in which there is no node."""
    first = full_hour_ago(3)
    fill(engine, first, 1)
    rate = {"g_per_kwh": 700, "zone": "FR", "source": "bill", "year": 2025}
    await sent(engine, settings_of(target(empty)), first + 2 * HOUR)
    other = settings_of(target(empty), market={"residual_mixes": [rate]})
    export = await sent(engine, other, first + 2 * HOUR + 60)
    assert (export.count("rows_total"), export.count("hours_waiting")) == (0, 0)


async def test_labels_of_the_settings_become_tags(engine: sa.Engine, empty: InfluxServer) -> None:
    first = full_hour_ago(3)
    key = "app.kubernetes.io/name"
    fill(engine, first, 1, {"p": 1000}, labels={key: "a b", "other": "x"})
    settings = settings_of(target(empty, labels=[key, "absent"]))
    await sent(engine, settings, first + 2 * HOUR)
    points = empty.ask("SELECT * FROM carbonbudget_energy WHERE namespace = 'team-a'")
    assert {point["label_app_kubernetes_io_name"] for point in points} == {"a b"}
    assert not {"label_other", "label_absent"} & points[0].keys()


async def test_a_new_hour_does_not_wait_for_upkeep(engine: sa.Engine, empty: InfluxServer) -> None:
    """After an upgrade upkeep values two years again, the oldest hour first."""
    first = full_hour_ago(3)
    fill(engine, first, 1)
    settings = settings_of(target(empty))
    export = Export(engine, settings)
    await export.step(first + HOUR + 899)
    assert export.count("hours_waiting") == 0  # late windows may come
    await export.step(first + HOUR + 900)
    assert (export.count("hours_waiting"), export.count("rows_total")) == (1, 0)
    await export.step(first + HOUR + 930)
    await export.step(first + HOUR + 960)
    assert (export.count("hours_waiting"), export.count("failures_total")) == (0, 0)
    assert agrees(empty, allocated(engine, settings, first, first + HOUR))
    await export.close()


async def test_a_target_gets_hours_from_before_its_first_start_as_far_as_it_says(
    engine: sa.Engine, empty: InfluxServer
) -> None:
    first = full_hour_ago(30)
    now = first + 28 * HOUR
    fill(engine, first, 26)
    settings = settings_of(target(empty, backfill_days=1))
    await sent(engine, settings, now)
    assert min(point["time"] for point in empty.ask("SELECT * FROM carbonbudget_energy")) == first + 4 * HOUR
    await sent(engine, settings_of(target(empty, backfill_days=2)), now)
    assert min(point["time"] for point in empty.ask("SELECT * FROM carbonbudget_energy")) == first + 4 * HOUR
    await sent(engine, settings_of(target(empty, backfill_days=2, name="again")), now)
    assert min(point["time"] for point in empty.ask("SELECT * FROM carbonbudget_energy")) == first


async def test_hostile_names_are_read_back_as_they_were(empty: InfluxServer) -> None:
    made = LineProtocol("cl,us ter")
    rows = exported_rows(hour_rows(("team", f"Job/{name}", 10 + n) for n, name in enumerate(HOSTILE)), {})
    http = TargetHttp(settings_of(target(empty)).exports[0], empty.url + "/write", made.headers)
    assert await http.send(made.body(list(made.pieces(HOUR, rows, 1)))) is None
    await http.close()
    points = empty.ask("SELECT * FROM carbonbudget_energy WHERE component = 'Dynamic'")
    assert {tag_value(point["workload"]): point["microjoules"] for point in points} == {
        f"Job/{name}": 10 + n for n, name in enumerate(HOSTILE)
    }
    assert {point["cluster"] for point in points} == {"cl,us ter"}


async def test_an_address_that_answers_but_is_no_database_takes_nothing(empty: InfluxServer) -> None:
    settings = settings_of(target(empty, database="absent"))
    http = TargetHttp(settings.exports[0], empty.url + "/write", LineProtocol.headers)
    body = LineProtocol.body([b"a,b=c d=1 5"])
    with pytest.raises(TargetAway, match=r"it answers 404: .*database not found.*check its url, database"):
        await http.send(body)
    await http.close()


async def test_the_tasks_of_a_server_send_by_themselves_and_close(
    url: str, open_engine: Callable[[str], sa.Engine], empty: InfluxServer
) -> None:
    engine = open_engine(url)
    first = full_hour_ago(3)
    fill(engine, first, 1)
    made = settings_of(target(empty), target(empty, name="absent", database="absent"))
    settings = made.model_copy(update={"server": made.server.model_copy(update={"ledger": url})})
    upkeep(engine, settings, first + 2 * HOUR)
    registry = CollectorRegistry()
    exports = Exports(settings, ValuedReader(engine, settings), registry)
    tasks = [asyncio.create_task(task) for task in exports.tasks()]

    def value(name: str, of: str) -> float | None:
        return registry.get_sample_value(f"carbonbudget_export_{name}", {"target": of})

    async with asyncio.timeout(30):
        while not (  # noqa: ASYNC110 - a counter wakes nobody
            value("rows_total", "influx") and value("lag_seconds", "influx") == 0 and value("failures_total", "absent")
        ):
            await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    exports.close()
    assert agrees(empty, allocated(engine, settings, first, first + HOUR))
    assert value("hours_waiting", "absent") == 1
    assert (value("lag_seconds", "absent") or 0) > HOUR - 900
    assert value("lag_seconds", "influx") == 0


async def test_a_sealed_hour_is_sent_with_its_last_figures_and_never_again(
    engine: sa.Engine, empty: InfluxServer
) -> None:
    """Also if it changed while the target was away, and whatever settings come later."""
    first = full_hour_ago(24 * 50)
    settings = settings_of(target(empty))
    fill(engine, first, 2)
    await sent(engine, settings, first + 3 * HOUR)
    fill(engine, first, 1, {"late": 77}, node="node-2")
    later = first + 40 * 86_400
    upkeep(engine, settings, later)
    steps = UpkeepSteps(ValuedReader(engine, settings), 35, 25)
    assert [steps.seal(later), steps.seal(later)] == [(0, first), (0, first + HOUR)]
    assert (await sent(engine, settings, later)).count("rows_total") > 0
    own = allocated(engine, settings, first, first + 2 * HOUR)
    assert agrees(empty, own)
    other = settings_of(target(empty, labels=["app"]), pue=3)
    assert (await sent(engine, other, later + 200)).count("rows_total") == 0
    assert agrees(empty, own)


async def test_progress_of_hours_that_the_ledger_forgot_is_forgotten(engine: sa.Engine, empty: InfluxServer) -> None:
    first = full_hour_ago(HOURS + 2)
    settings = settings_of(target(empty))
    fill(engine, first, HOURS)
    await sent(engine, settings, first + HOURS * HOUR + 1000)
    drop_before(engine, first + 2 * HOUR, BatchDeleter(engine, rest=lambda _: None))
    await sent(engine, settings, first + HOURS * HOUR + 1060)
    with engine.connect() as connection:
        hours = connection.scalars(sa.select(schema.export_hour.c.hour).order_by(schema.export_hour.c.hour)).all()
    assert hours == [first + n * HOUR for n in range(2, HOURS)]
