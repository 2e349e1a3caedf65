"""Coverage is of the nodes that the cluster has, not of those that happen to report."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.kube.test_client import client_of
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.cluster.nodes import Nodes, should_report
from carbonbudget_operator.ledger.book import Booker
from carbonbudget_operator.ledger.expected import Expectation, expectations, expected_ms, store_listed

GRACE = 180


def expected(engine: sa.Engine) -> list[Expectation]:
    with engine.connect() as connection:
        return expectations(connection, "default")


def test_a_node_that_never_reports_is_missing(engine: sa.Engine) -> None:
    book(Booker(engine), *(a_report(HOUR + 60 * i) for i in range(60)))
    store_listed(engine, "default", {"node-1": "u1", "mute": "u2"}, HOUR)
    store_listed(engine, "default", {"node-1": "u1", "mute": "u2"}, HOUR + 120)
    found = expected(engine)
    assert found == [
        Expectation("mute", HOUR + GRACE, None, silent=True),
        Expectation("node-1", HOUR, None, silent=False),
    ]
    assert expected_ms(found, HOUR, HOUR + 3600) == (2 * 3600 - GRACE) * 1000


def test_a_node_that_was_removed_is_missed_no_longer(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    store_listed(engine, "default", {"node-1": "u1", "node-2": "u2"}, HOUR)
    store_listed(engine, "default", {"node-2": "u2"}, HOUR + 600)
    assert expected(engine)[0] == Expectation("node-1", HOUR, HOUR, silent=False)


def test_a_node_that_was_made_anew_under_its_name_is_not_missed_in_between(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    for at, listed in ((0, {"node-1": "u1"}), (60, {"node-1": "u1"}), (120, {}), (7200, {"node-1": "u2"})):
        store_listed(engine, "default", listed, HOUR + at)
    found = expected(engine)
    assert found == [
        Expectation("node-1", HOUR, HOUR + 60, silent=False),
        Expectation("node-1", HOUR + 7200 + GRACE, None, silent=False),
    ]


def test_a_server_that_was_down_misses_a_node_that_is_still_there(engine: sa.Engine) -> None:
    for at in (0, 86_400):
        store_listed(engine, "default", {"mute": "u"}, HOUR + at)
    assert expected(engine) == [Expectation("mute", HOUR + GRACE, None, silent=True)]


def test_without_a_list_a_node_is_expected_while_it_reports(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(), a_report(HOUR + 600))
    assert expected(engine) == [Expectation("node-1", HOUR, HOUR + 660, silent=False)]
    assert expected_ms(expected(engine), HOUR + 60, HOUR + 3600) == 600_000


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, True),
        ({"kubernetes.io/os": "linux"}, True),
        ({"kubernetes.io/os": "windows"}, False),
        ({"carbonbudget.dev/agent": "none"}, False),
        ({"type": "virtual-kubelet"}, False),
    ],
)
def test_nodes_that_run_no_agent_are_not_expected(labels: dict[str, str], expected: bool) -> None:
    assert should_report({"name": "n", "labels": labels}) is expected


async def test_the_list_is_kept_and_one_that_fails_changes_nothing(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    status = 200

    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/api/v1/nodes"
        items = [
            {"metadata": {"name": "a", "uid": "1"}},
            {"metadata": {"name": "w", "uid": "2", "labels": {"kubernetes.io/os": "windows"}}},
        ]
        return web.json_response({"items": items, "metadata": {}, "message": "not today"}, status=status)

    registry = CollectorRegistry()
    async with client_of(answer) as client:
        nodes = Nodes(engine, client, "default", registry)
        await nodes.step(HOUR)
        status = 403
        with caplog.at_level(logging.WARNING):
            await nodes.step(HOUR + 120)
            await nodes.step(HOUR + 240)
    assert expected(engine) == [Expectation("a", HOUR + GRACE, None, silent=True)]
    assert registry.get_sample_value("carbonbudget_ingest_nodes_expected") == 1
    assert [r.message for r in caplog.records] == [
        "nodes cannot be listed, coverage counts those that report: not today"
    ]
