"""Lists of custom resources, whose keys come in alphabetical order: the continue token is after the items."""

from __future__ import annotations

import json

from aiohttp import web
from aiohttp.test_utils import TestServer

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials

BUDGETS = ApiPath("carbonbudget.dev", "v1alpha1", "carbonbudgets")


def an_item(name: str, large: bool) -> dict[str, object]:
    spec = {"many": [{"kind": f"],{n}"} for n in range(50_000)], "odd": '],"kind":"x","metadata":{}'} if large else {}
    return {"apiVersion": "carbonbudget.dev/v1alpha1", "kind": "CarbonBudget", "metadata": {"name": name}, "spec": spec}


async def test_what_comes_after_an_item_that_is_too_large_is_listed_too() -> None:
    items = [an_item(name, large) for name, large in (("a", False), ("b", True), ("c", True), ("d", False))]

    async def answer(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        end = min(start + limit, len(items))
        metadata = {"continue": str(end) if end < len(items) else "", "resourceVersion": "9"}
        body = {
            "apiVersion": "carbonbudget.dev/v1alpha1", "items": items[start:end], "kind": "CarbonBudgetList",
            "metadata": metadata,
        }  # fmt: skip
        return web.Response(
            body=json.dumps(body, separators=(",", ":")).encode() + b"\n", content_type="application/json"
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(url=str(server.make_url("")).rstrip("/"), token=lambda: ""))
        pages = [page async for page in client.pages(BUDGETS, {}, 500, most_parsed=2**20)]
        await client.close()
    listed = [item for page in pages for item in page["items"]]  # type: ignore[attr-defined] # a list
    assert [(item["metadata"]["name"], "spec" in item) for item in listed] == [
        ("a", True), ("b", False), ("c", False), ("d", True),
    ]  # fmt: skip
    assert {page["metadata"]["resourceVersion"] for page in pages} == {"9"}  # type: ignore[index] # JSON
