"""Coverage is of the nodes that the cluster has, not of those that happen to report."""

from __future__ import annotations

import logging
from collections.abc import Set
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.kube.test_client import client_of
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.cluster import nodes_without_agent
from carbonbudget_operator.cluster.expected_nodes import NodeLister
from carbonbudget_operator.cluster.nodes_without_agent import BY_SETTING, kinds_without_agent, labels_without_agent
from carbonbudget_operator.kube.client import JsonObject
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.node_coverage import (
    ExpectedNodeTime,
    expectations,
    expected_ms,
    silent_nodes,
    store_listed,
    without_agent,
)

GRACE = 180
ROOT = Path(__file__).resolve().parents[2]


def expected(engine: sa.Engine) -> list[ExpectedNodeTime]:
    with engine.connect() as connection:
        return expectations(connection, "default")


def test_nodes_that_fell_silent_before_an_instant_are_known_with_the_namespaces_of_their_last_pods(
    engine: sa.Engine,
) -> None:
    at = HOUR + 3600
    book(Booker(engine), *(a_report(HOUR + 60 * i, "whole") for i in range(60)), a_report(at - 660, "silent"))
    book(Booker(engine), a_report(at - 360, "ended", {"p": 5}, namespace="team-b"))
    book(Booker(engine), a_report(HOUR, "gone"))
    store_listed(engine, "default", dict.fromkeys(("whole", "silent", "gone", "mute", "ended"), "u"), HOUR)
    store_listed(engine, "default", dict.fromkeys(("whole", "silent", "mute", "new", "ended"), "u"), at - GRACE + 1)
    store_listed(engine, "default", dict.fromkeys(("whole", "silent", "mute", "new", "ended"), "u"), at + 60)
    with engine.connect() as connection:
        assert silent_nodes(connection, "default", at) == [{"team-a"}]  # `ended` is silent for five minutes
        assert set(silent_nodes(connection, "default", at + 60)) == {frozenset({"team-a"}), frozenset({"team-b"})}
        assert silent_nodes(connection, "default", at - 420) == []
        assert silent_nodes(connection, "default", HOUR) == []  # all are new
        assert silent_nodes(connection, "other", at) == []
    book(Booker(engine), a_report(at - 60, "silent"))  # its outbox came
    with engine.connect() as connection:
        assert silent_nodes(connection, "default", at) == []


def test_a_node_that_never_reports_is_missing(engine: sa.Engine) -> None:
    book(Booker(engine), *(a_report(HOUR + 60 * i) for i in range(60)))
    store_listed(engine, "default", {"node-1": "u1", "mute": "u2"}, HOUR)
    store_listed(engine, "default", {"node-1": "u1", "mute": "u2"}, HOUR + 120)
    found = expected(engine)
    assert found == [
        ExpectedNodeTime("mute", HOUR + GRACE, None, silent=True),
        ExpectedNodeTime("node-1", HOUR, None, silent=False),
    ]
    assert expected_ms(found, HOUR, HOUR + 3600) == (2 * 3600 - GRACE) * 1000


def test_a_node_that_was_removed_is_missed_no_longer(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    store_listed(engine, "default", {"node-1": "u1", "node-2": "u2"}, HOUR)
    store_listed(engine, "default", {"node-2": "u2"}, HOUR + 600)
    assert expected(engine)[0] == ExpectedNodeTime("node-1", HOUR, HOUR, silent=False)


def test_a_node_that_was_made_anew_under_its_name_is_not_missed_in_between(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    for at, listed in ((0, {"node-1": "u1"}), (60, {"node-1": "u1"}), (120, {}), (7200, {"node-1": "u2"})):
        store_listed(engine, "default", listed, HOUR + at)
    found = expected(engine)
    assert found == [
        ExpectedNodeTime("node-1", HOUR, HOUR + 60, silent=False),
        ExpectedNodeTime("node-1", HOUR + 7200 + GRACE, None, silent=False),
    ]


def test_a_server_that_was_down_misses_a_node_that_is_still_there(engine: sa.Engine) -> None:
    for at in (0, 86_400):
        store_listed(engine, "default", {"mute": "u"}, HOUR + at)
    assert expected(engine) == [ExpectedNodeTime("mute", HOUR + GRACE, None, silent=True)]


def test_without_a_list_a_node_is_expected_while_it_reports(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(), a_report(HOUR + 600))
    assert expected(engine) == [ExpectedNodeTime("node-1", HOUR, HOUR + 660, silent=False)]
    assert expected_ms(expected(engine), HOUR + 60, HOUR + 3600) == 600_000


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, True),
        ({"kubernetes.io/os": "linux"}, True),
        ({"kubernetes.io/os": "windows"}, False),
        ({"carbonbudget.dev/agent": "none"}, False),
        ({"type": "virtual-kubelet"}, False),
        ({"type": "virtual-kubelet", "beta.kubernetes.io/os": "linux"}, False),  # as AKS labels its virtual nodes
        ({"kubernetes.io/os": "linux", "eks.amazonaws.com/compute-type": "fargate"}, False),
        ({"kubernetes.io/os": "linux", "eks.amazonaws.com/compute-type": "auto"}, True),  # EKS Auto Mode: real nodes
        ({"kubernetes.io/os": "linux", "eks.amazonaws.com/compute-type": "hybrid"}, True),
        ({"liqo.io/type": "virtual-node"}, False),
        ({"type": "kwok"}, False),
        ({"type": "node"}, True),
    ],
)
def test_nodes_that_run_no_agent_are_not_expected(labels: dict[str, str], expected: bool) -> None:
    assert (not nodes_without_agent.kind_without_agent(labels, {})) is expected


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
        nodes = NodeLister(engine, client, "default", registry)
        await nodes.step(HOUR)
        status = 403
        with caplog.at_level(logging.WARNING):
            await nodes.step(HOUR + 120)
            await nodes.step(HOUR + 240)
    assert expected(engine) == [ExpectedNodeTime("a", HOUR + GRACE, None, silent=True)]
    assert registry.get_sample_value("carbonbudget_ingest_nodes_expected") == 1
    assert [r.message for r in caplog.records] == [
        "nodes cannot be listed, so coverage counts only nodes that report: not today"
    ]


FARGATE = {"kubernetes.io/os": "linux", "eks.amazonaws.com/compute-type": "fargate"}


def node(name: str, uid: str, **labels: str) -> JsonObject:
    return {"metadata": {"name": name, "uid": uid, "labels": labels}}


async def listed(
    engine: sa.Engine, steps: dict[int, list[JsonObject]], more: dict[str, list[str]] | None = None
) -> tuple[CollectorRegistry, list[set[str]]]:
    """What a server counts that lists these nodes at these times, and the nodes whose pods it counted."""
    items: list[JsonObject] = []

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"items": items, "metadata": {}})

    def pods_on(nodes: Set[str]) -> dict[str, int]:
        asked.append(set(nodes))
        return {"team-a": 2}

    asked: list[set[str]] = []
    registry = CollectorRegistry()
    async with client_of(answer) as client:
        nodes = NodeLister(engine, client, "default", registry, more or {}, pods_on)
        for at, items in steps.items():  # noqa: B007 # `answer` reads them
            await nodes.step(at)
    return registry, asked


async def test_nodes_that_cannot_run_an_agent_are_counted_apart_and_not_missed(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    fargate = {"metadata": {"name": "fargate-ip-10-0-0-1", "uid": "2", "labels": FARGATE}}
    now = [node("a", "1"), fargate, node("w", "3", **{"kubernetes.io/os": "windows"})]
    with caplog.at_level(logging.INFO, "carbonbudget_operator.cluster.expected_nodes"):
        registry, asked = await listed(engine, {HOUR: now, HOUR + 120: now})
    assert expected(engine) == [ExpectedNodeTime("a", HOUR + GRACE, None, silent=True)]
    assert registry.get_sample_value("carbonbudget_ingest_nodes_expected") == 1
    counts = {
        what: registry.get_sample_value("carbonbudget_ingest_nodes_without_agent", {"what": what})
        for what in kinds_without_agent()
    }
    assert {what: number for what, number in counts.items() if number} == {"EKS Fargate": 1, "not Linux": 1}
    assert registry.get_sample_value("carbonbudget_ingest_pods_without_agent", {"namespace": "team-a"}) == 2
    assert asked == [{"fargate-ip-10-0-0-1", "w"}] * 2
    assert [r.getMessage() for r in caplog.records] == [
        "no agent runs on some nodes (EKS Fargate: 1, not Linux: 1): no figure contains the energy of their pods"
    ]
    with engine.connect() as connection:
        assert without_agent(connection, "default", HOUR, HOUR + 1) == {"EKS Fargate": 1, "not Linux": 1}
        assert without_agent(connection, "default", HOUR - 3 * 86_400, HOUR - 2 * 86_400) == {}
        assert without_agent(connection, "other", HOUR, HOUR + 1) == {}


async def test_the_most_nodes_of_a_day_count_however_often_they_change(engine: sa.Engine) -> None:
    """EKS has a node for each pod on Fargate: what is kept must not grow with them."""
    steps = {
        HOUR + 120 * n: [{"metadata": {"name": f"f{n}-{i}", "uid": f"{n}-{i}", "labels": FARGATE}} for i in range(size)]
        for n, size in enumerate([3, 7, 0, 2])
    }
    await listed(engine, steps)
    with engine.connect() as connection:
        assert without_agent(connection, "default", HOUR, HOUR + 86_400) == {"EKS Fargate": 7}
        assert connection.scalar(sa.text("SELECT count(*) FROM node_count")) == 2
        assert connection.scalar(sa.text("SELECT count(*) FROM node_listed")) == 0


async def test_a_setting_adds_labels_with_values_and_with_any_value(engine: sa.Engine) -> None:
    items = [
        node("a", "1", **{"example.com/serverless": "true"}), node("b", "2", **{"example.com/serverless": "false"}),
        node("c", "3", lab="x"), node("d", "4"),
    ]  # fmt: skip
    registry, _ = await listed(engine, {HOUR: items}, {"example.com/serverless": ["true"], "lab": []})
    assert [item.name for item in expected(engine)] == ["b", "d"]
    count = registry.get_sample_value("carbonbudget_ingest_nodes_without_agent", {"what": BY_SETTING})
    assert count == 2


async def test_a_node_that_an_earlier_version_missed_is_missed_no_longer(engine: sa.Engine) -> None:
    store_listed(engine, "default", {"f": "1", "opted": "2", "reported": "3"}, HOUR - 86_400)
    book(Booker(engine), a_report(node="reported"))
    items = [
        {"metadata": {"name": "f", "uid": "1", "labels": FARGATE}},
        node("opted", "2", **{"carbonbudget.dev/agent": "none"}),
        {"metadata": {"name": "reported", "uid": "3", "labels": FARGATE}},
    ]
    await listed(engine, {HOUR: items})
    # Whoever opts a node out was missing its reports until then; and who has reported had an agent.
    found = {item.name: item.end for item in expected(engine)}
    assert found == {"opted": HOUR - 86_400, "reported": HOUR - 86_400}


async def test_without_any_node_that_should_report_the_last_ones_are_missed_no_longer(engine: sa.Engine) -> None:
    fargate = [{"metadata": {"name": "f", "uid": "9", "labels": FARGATE}}]
    await listed(engine, {HOUR: [node("a", "1")], HOUR + 120: fargate, HOUR + 7200: fargate})
    assert expected(engine) == [ExpectedNodeTime("a", HOUR + GRACE, HOUR, silent=True)]


def test_the_charts_agents_keep_off_all_nodes_that_the_server_does_not_expect() -> None:
    """And off no others: what is in the table is in the affinity."""
    values = yaml.safe_load((ROOT / "charts/carbonbudget/values.yaml").read_text(encoding="utf-8"))["agent"]
    node_affinity = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = node_affinity["nodeSelectorTerms"]
    assert all(expression["operator"] == "NotIn" for expression in term["matchExpressions"])
    kept_off = {(rule["key"], value) for rule in term["matchExpressions"] for value in rule["values"]}
    assert kept_off == {(mark.label, mark.value) for mark in labels_without_agent()}
    assert values["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert values["nodesWithoutAgent"] == {}
