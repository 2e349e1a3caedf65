"""An API server for kopf: discovery, lists and watches of our two kinds, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import unused_port

from carbonbudget_operator.api.wire_names import RESOURCES, Resource

_ROOT = "/apis/carbonbudget.dev/v1alpha1"
_VERBS = ["get", "list", "watch", "patch", "create"]


class ApiServer:
    """Up or away; healthy, or answering everything (or one kind) with a status."""

    def __init__(self) -> None:
        self.port = unused_port()
        self.objects: dict[str, dict[str, dict[str, Any]]] = {resource.plural: {} for resource in RESOURCES}
        self.status = 0
        self.status_of: dict[str, int] = {}
        self.requests = 0
        self.writes: list[str] = []
        self.lists: dict[str, int] = dict.fromkeys(self.objects, 0)
        self.page_seconds = 0.0  # what each page of a list takes; 0: one page, at once
        self.page_items = 2
        self._streams: dict[str, list[asyncio.Queue[dict[str, Any] | None]]] = {plural: [] for plural in self.objects}
        self._log: dict[str, list[tuple[int, dict[str, Any]]]] = {plural: [] for plural in self.objects}
        self._runner: web.AppRunner | None = None
        self._version = 1

    async def start(self) -> None:
        """Listen, on the same port each time."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Nobody listens, and every connection is cut."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    def put(self, resource: Resource, body: dict[str, Any]) -> None:
        """Create or change an object; watches that are open are told."""
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        known = body["metadata"]["uid"] in self.objects[resource.plural]
        self.objects[resource.plural][body["metadata"]["uid"]] = body
        self._tell(resource.plural, "MODIFIED" if known else "ADDED", body)

    def delete(self, resource: Resource, uid: str) -> None:
        """Delete an object; watches that are open are told."""
        self._version += 1
        self._tell(resource.plural, "DELETED", self.objects[resource.plural].pop(uid))

    def gone(self) -> None:
        """What 410 is: the resource version of each watch is too old, and it has to list again."""
        for plural in self.objects:
            self._log[plural].clear()
            self._tell(plural, "ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
        self.cut()

    def cut(self) -> None:
        """End every watch."""
        for queues in self._streams.values():
            for queue in queues:
                queue.put_nowait(None)
            queues.clear()

    def _tell(self, plural: str, event: str, body: dict[str, Any]) -> None:
        told = {"type": event, "object": json.loads(json.dumps(body))}
        if event != "ERROR":
            self._log[plural].append((self._version, told))
        for queue in self._streams[plural]:
            queue.put_nowait(told)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        plural = request.path.removeprefix(f"{_ROOT}/")
        status = self.status or self.status_of.get(plural, 0)
        if status:
            return web.json_response({"kind": "Status", "code": status, "message": "not now"}, status=status)
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
            return web.json_response({})
        if plural in self.objects:
            return await (self._watch(request, plural) if "watch" in request.query else self._list(request, plural))
        return web.json_response(_discovery(request.path))

    async def _list(self, request: web.Request, plural: str) -> web.Response:
        first, metadata = int(request.query.get("continue") or 0), {"resourceVersion": str(self._version)}
        self.lists[plural] += not first
        items = list(self.objects[plural].values())
        if self.page_seconds:
            await asyncio.sleep(self.page_seconds)
            if len(items) > first + self.page_items:
                metadata["continue"] = str(first + self.page_items)
            items = items[first : first + self.page_items]
        return web.json_response({"items": items, "metadata": metadata})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        since = int(request.query["resourceVersion"])
        for version, told in self._log[plural]:
            if version > since:
                queue.put_nowait(told)
        self._streams[plural].append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await queue.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    def watching(self, plural: str) -> bool:
        """Whether somebody watches."""
        return bool(self._streams[plural])


def _discovery(path: str) -> dict[str, Any]:
    """What kopf asks before it watches: the groups, our kinds, and those that it uses itself."""
    groups = {"carbonbudget.dev": "v1alpha1", "apiextensions.k8s.io": "v1", "events.k8s.io": "v1"}
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        versions = {name: {"groupVersion": f"{name}/{version}", "version": version} for name, version in groups.items()}
        return {"groups": [{"name": n, "versions": [v], "preferredVersion": v} for n, v in versions.items()]}
    found = {
        _ROOT: [(resource.plural, resource.kind, resource.namespaced) for resource in RESOURCES],
        "/api/v1": [("namespaces", "Namespace", False), ("events", "Event", True)],
        "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
    }.get(path, [])
    return {
        "resources": [
            {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": _VERBS}
            for name, kind, namespaced in found
        ]
    }


async def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - nobody could set an event: it is kopf's state
            await asyncio.sleep(0.01)
