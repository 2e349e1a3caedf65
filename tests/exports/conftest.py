"""Fixtures of the tests of exports: the real receivers, one of each for all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa
from tests.exports.exporting import Export
from tests.exports.receivers import InfluxServer, PrometheusReceiver, VictoriaMetrics
from tests.exports.scripted_target import ScriptedTarget, an_export


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path_factory.mktemp("victoria"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusReceiver]:
    server = PrometheusReceiver(tmp_path_factory.mktemp("prometheus"))
    yield server
    server.stop()


@pytest.fixture
async def target() -> AsyncIterator[ScriptedTarget]:
    made = ScriptedTarget()
    yield made
    if made.server is not None:
        made.server.close()


@pytest.fixture
async def export(engine: sa.Engine, target: ScriptedTarget) -> AsyncIterator[Export]:
    made = await an_export(engine, target)
    yield made
    await made.close()
