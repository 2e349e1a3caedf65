"""Namespaces' labels by an own watch: metadata alone, and what went while it was away is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.controller.api_server import eventually

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespaces import Namespaces

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
        await eventually(lambda: not known.exist("b"))
        changes.put_nowait({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        await eventually(lambda: known.matching(TEAMS) == {"b"})
        assert not known.exist("a")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
    assert accepted == {"as=PartialObjectMetadataList", "as=PartialObjectMetadata"}
