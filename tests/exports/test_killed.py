"""A server that is killed while it exports loses nothing, and no figure counts twice afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.conftest import ENDS_WITH_US, ROOT
from tests.exports.exporting import HOUR, Export, allocated, by_workload, fill, full_hour_ago, settings_of, upkeep
from tests.exports.killed_server import POINTS
from tests.exports.receivers import InfluxServer, PrometheusReceiver

from carbonbudget_operator.ledger.export_cursor import LEASE_SECONDS
from carbonbudget_operator.settings import Settings

HOURS = 3
_MOST_SECONDS = 60  # that the killed server may live, in which it renews its lease
GONE = _MOST_SECONDS + LEASE_SECONDS + 1  # seconds after which its lease is over, however slow the machine was


def killed(url: str, settings: Settings, now: int, point: str, times: int) -> None:
    target = settings.exports[0].model_dump_json()
    command = [sys.executable, "-m", "tests.exports.killed_server", url, target, settings.cluster, str(now), point]
    done = subprocess.run(
        [*ENDS_WITH_US, *command, str(times)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_MOST_SECONDS,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_server_killed_at_any_point_loses_nothing(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine], influx: InfluxServer, point: str, times: int
) -> None:
    influx.ask("DROP DATABASE killed", "")
    influx.ask("CREATE DATABASE killed", "")
    url = new_url()
    engine = open_engine(url)
    first = full_hour_ago(HOURS + 2)
    now = first + HOURS * HOUR + 1000
    settings = settings_of({"name": "i", "kind": "influx", "url": influx.url, "database": "killed"})
    fill(engine, first, HOURS)
    upkeep(engine, settings, now)
    killed(url, settings, now, point, times)
    export = Export(engine, settings)
    await export.step(now + 60)
    assert export.count("rows_total") == 0, "the lease of the killed server is not over"
    await export.step(now + GONE)
    await export.close()
    assert export.count("hours_waiting") == 0
    points = influx.ask("SELECT * FROM carbonbudget_energy", "killed")
    own = allocated(engine, settings, first, first + HOURS * HOUR)
    assert by_workload(points, "microjoules") == {key: group.energy_uj for key, group in own.items()}


@pytest.mark.parametrize("point", POINTS)
async def test_figures_that_changed_after_the_kill_count_once_in_prometheus(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine], prometheus: PrometheusReceiver, point: str
) -> None:
    """What may have been sent under a revision is never sent with other figures under the same one."""
    url = new_url()
    engine = open_engine(url)
    first = full_hour_ago(6)
    now = first + HOUR + 1000
    cluster = f"killed-{engine.dialect.name}-{POINTS.index(point)}"
    settings = settings_of(
        {"name": "p", "kind": "remoteWrite", "url": f"{prometheus.url}/api/v1/write"}
    ).model_copy(update={"cluster": cluster})  # fmt: skip
    fill(engine, first, 1, {"p": 10**9}, cluster=cluster)
    upkeep(engine, settings, now)
    killed(url, settings, now, point, 1)
    fill(engine, first, 1, {"late": 77}, node="node-2", cluster=cluster)
    upkeep(engine, settings, now + GONE)
    export = Export(engine, settings)
    await export.step(now + GONE)
    await export.close()
    query = (
        f'sum(carbonbudget_energy_kwh{{cluster="{cluster}"}} * on (revision) group_left () '
        f'count_values("revision", max(carbonbudget_hour_revision{{cluster="{cluster}"}})))'
    )
    (found,) = prometheus.ask(query, first + HOUR)
    own = sum(group.energy_uj for group in allocated(engine, settings, first, first + HOUR).values())
    assert float(found["value"][1]) == pytest.approx(own / 3.6e12, rel=1e-14)
