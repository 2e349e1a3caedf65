"""Fixtures of the tests of exports: the real receivers, one of each for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.exports.receivers import InfluxServer, PrometheusReceiver, VictoriaMetrics


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
