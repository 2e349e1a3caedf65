"""Namespaces' labels by an own watch: metadata alone, and what went while it was away is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.controller.api_server import eventually

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces

LABEL = "carbonbudget.dev/enforcement"
TEAMS = LabelSelector(match_labels={"kind": "team"})


def a_namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels, "resourceVersion": "1"}}


async def test_a_list_then_changes_then_a_list_that_lacks_one() -> None:
    lists = [[a_namespace("a", kind="team"), a_namespace("b")], [a_namespace("b", kind="team")]]
    changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    accepted: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        accepted.add(request.headers["Accept"].partition(";")[2].partition(";")[0])
        if "watch" not in request.query:
            return web.json_response({"items": lists.pop(0), "metadata": {"resourceVersion": "1"}})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await changes.get()
            await response.write(web.json_response(event).body + b"\n")  # type: ignore[operator] # bytes
            if event["type"] == "ERROR":
                return response

    app = web.Application()
    app.router.add_get("/api/v1/namespaces", answer)
    known = Namespaces()
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        task = asyncio.create_task(known.follow(client))
        await eventually(lambda: known.listed)
        assert known.matching(TEAMS) == {"a"}
        changes.put_nowait({"type": "MODIFIED", "object": a_namespace("b", kind="team")})
        await eventually(lambda: known.matching(TEAMS) == {"a", "b"})
        changes.put_nowait({"type": "DELETED", "object": a_namespace("b", kind="team")})
        await eventually(lambda: not known.has_namespace("b"))
        changes.put_nowait({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        await eventually(lambda: known.matching(TEAMS) == {"b"})
        assert not known.has_namespace("a")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
    assert accepted == {"as=PartialObjectMetadataList", "as=PartialObjectMetadata"}


@pytest.mark.parametrize("value", ["Off", "OFF", "false", "disabled", "on", ""])
def test_a_label_of_enforcement_with_any_value_but_off_is_logged_once(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = Namespaces(logs_ignored_labels=True)
    for _ in range(3):
        known.seen("ADDED", a_namespace("a", **{LABEL: value}))
        known.seen("MODIFIED", a_namespace("b", **{LABEL: "off"}))
        known.seen("MODIFIED", a_namespace("c"))
    sentence = f"the label {LABEL}={value} of namespace a has no effect: only the value off exempts a namespace"
    assert caplog.messages == [sentence]
    assert known.ignored_labels(["*"]) == known.ignored_labels(["a", "b"]) == {"a": value}
    assert known.ignored_labels(["b"]) == {}


@pytest.mark.parametrize(
    ("event", "labels"), [("MODIFIED", {LABEL: "off"}), ("MODIFIED", {}), ("DELETED", {LABEL: "Off"})]
)
def test_a_label_that_is_corrected_or_goes_is_forgotten(event: str, labels: dict[str, str]) -> None:
    known = Namespaces()
    known.seen("ADDED", a_namespace("a", **{LABEL: "Off"}))
    known.seen(event, a_namespace("a", **labels))
    assert known.ignored_labels(["*"]) == {}


def test_the_webhook_which_reads_the_same_labels_logs_none(caplog: pytest.LogCaptureFixture) -> None:
    Namespaces().seen("ADDED", a_namespace("a", **{LABEL: "Off"}))
    assert caplog.messages == []
