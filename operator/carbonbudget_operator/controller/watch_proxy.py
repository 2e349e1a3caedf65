"""The watch proxy: a local API server from which kopf reads budgets, on a socket of this process.

kopf reads a whole collection in one answer and holds it while its watch runs. A tenant could fill the memory with large
budgets. So the proxy reads the list in pages, passes on only the used fields (object_trimming.py), and limits the sum
of the objects of one namespace.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import kopf
from aiohttp import web

from carbonbudget_operator.api.wire_names import GROUP, RESOURCES, VERSION, Resource
from carbonbudget_operator.controller.object_trimming import CROWDED, MOST_OF_A_NAMESPACE, trimmed, without_spec
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.kube.connection import items_of, metadata_of
from carbonbudget_operator.kube.watch import GOES_ON, changes

_GROUP_VERSION: Final = f"{GROUP}/{VERSION}"
_PAGE: Final = 100
_GONE: Final = {"kind": "Status", "code": HTTPStatus.GONE, "message": "the watch begins anew"}
_PAUSE_SECONDS: Final = 1.0  # kopf lists again at once after 410
_LOOK_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class BudgetWatchProxy:
    """A small API server in front of the real one. It answers only the requests that kopf sends, and only reads."""

    def __init__(self, client: KubeClient, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._client, self._pause_s = client, pause_seconds
        self._directory: Path | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a socket in a new directory that is closed to other users."""
        app = web.Application()
        for path in _DISCOVERED:
            app.router.add_get("/" + "/".join(path), _discovery(path))
        for resource in RESOURCES:
            app.router.add_get(str(resource.collection), self._handler(resource))
        # kopf closes a watch that it does not want: its handler ends then, and not with the next bookmark.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self._directory = Path(tempfile.mkdtemp(prefix="carbonbudget-"))
        await web.UnixSite(self._runner, str(self._socket)).start()

    async def run(self, every_seconds: float = _LOOK_SECONDS) -> None:
        """Runs while the socket exists. Raises RuntimeError if it is gone: kopf would retry for ever."""
        while self._socket.is_socket():  # noqa: ASYNC110 - the file system sends no event
            await asyncio.sleep(every_seconds)
        raise RuntimeError(f"the socket {self._socket} is gone, and no budget is seen without it")

    async def stop(self) -> None:
        """End all answers and remove the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def login(self) -> kopf.AiohttpSession:
        """The session with which kopf connects; kopf closes it."""
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket), limit=0))
        return kopf.AiohttpSession(server="http://localhost", aiohttp_session=session)

    @property
    def _socket(self) -> Path:
        if self._directory is None:
            raise RuntimeError("it is not started")
        return self._directory / "api"

    def _handler(self, resource: Resource) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                if "watch" in request.query:
                    return await self._watch(request, resource)
                return await self._list(resource)
            except KubeError as error:
                return _refusal(error)

        return answer

    async def _list(self, resource: Resource) -> web.Response:
        """All objects. Raises KubeError."""
        texts: list[bytes] = []
        sums: dict[str, int] = {}
        version, without_spec_count = "", 0
        async for answer in self._client.pages(resource.collection, {}, _PAGE):
            version = metadata_of(answer, "resourceVersion") or version
            for item in items_of(answer):
                found, size = trimmed(item)
                namespace = metadata_of(item, "namespace")
                if namespace and sums.get(namespace, 0) + size > MOST_OF_A_NAMESPACE:
                    found, without_spec_count = without_spec(found, CROWDED), without_spec_count + 1
                else:
                    sums[namespace] = sums.get(namespace, 0) + size
                texts.append(_text(resource, found))
            del answer  # frees its memory before the next page is read
        if without_spec_count:
            _log.warning(
                "%d %s are listed without their spec: their namespaces have reached the limit of bytes",
                without_spec_count,
                resource.plural,
            )
        head = {"kind": f"{resource.kind}List", "apiVersion": _GROUP_VERSION, "metadata": {"resourceVersion": version}}
        body = json.dumps(head).encode()[:-1] + b',"items":[' + b",".join(texts) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        """Changes until the watch ends. Raises KubeError if it did not open and can continue from the same version."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with changes(self._client, resource.collection, request.query.get("resourceVersion", "")) as events:
                await response.prepare(request)
                async for event, changed in events:
                    found = changed if event == "BOOKMARK" else trimmed(changed)[0]
                    await response.write(_line(event, _text(resource, found)))
        except KubeError as error:
            if error.status in GOES_ON and not response.prepared:
                raise
            if error.status not in GOES_ON:
                if not response.prepared:
                    if error.status != HTTPStatus.GONE:
                        await asyncio.sleep(self._pause_s)
                    await response.prepare(request)
                await response.write(_line("ERROR", json.dumps(_GONE).encode()))
        return response


def _text(resource: Resource, found: JsonObject) -> bytes:
    return json.dumps({"apiVersion": _GROUP_VERSION, "kind": resource.kind} | found).encode()


def _line(event: str, text: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event.encode(), text)


def _refusal(error: KubeError) -> web.Response:
    """Always 503, after which kopf tries again: some other answers end its watch for ever."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = {"kind": "Status", "code": status, "message": error.reason}
    return web.json_response(body, status=status)


def _discovery(path: tuple[str, ...]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(_DISCOVERED[path])

    return answer


def _group(name: str, version: str) -> JsonObject:
    found = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [found], "preferredVersion": found}


def _kinds(*kinds: tuple[str, str, bool]) -> JsonObject:
    verbs = ["get", "list", "watch"]
    return {
        "resources": [
            {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": verbs}
            for name, kind, namespaced in kinds
        ]
    }


# The discovery documents by the paths that kopf requests. kopf needs namespaces and CRDs in them to start, and does not
# watch these (settings.scanning). A list fails if the API server lacks our kinds.
_DISCOVERED: Final[dict[tuple[str, ...], JsonObject]] = {
    ("api",): {"versions": ["v1"]},
    ("api", "v1"): _kinds(("namespaces", "Namespace", False)),
    ("apis",): {"groups": [_group(GROUP, VERSION), _group("apiextensions.k8s.io", "v1")]},
    ("apis", "apiextensions.k8s.io", "v1"): _kinds(("customresourcedefinitions", "CustomResourceDefinition", False)),
    ("apis", GROUP, VERSION): _kinds(*((one.plural, one.kind, one.namespaced) for one in RESOURCES)),
}
