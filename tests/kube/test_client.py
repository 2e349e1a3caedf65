"""The Kubernetes client against a small HTTP server that answers as an API server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.kube.watch_status import WatchMetrics, WatchStatuses

X = ApiPath("x.dev", "v1", "xs")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client_of(handler: Handler, token: Callable[[], str] = lambda: "t") -> AsyncIterator[KubeClient]:
    """A client whose API server is `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(url=str(server.make_url("")).rstrip("/"), token=token))
        try:
            yield client
        finally:
            await client.close()


def an_object(name: str, version: str = "1") -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": version}}


async def stream(request: web.Request, *events: dict[str, object]) -> web.StreamResponse:
    """A watch that says `events` and ends normally."""
    response = web.StreamResponse()
    await response.prepare(request)
    for event in events:
        await response.write(json.dumps(event).encode() + b"\n")
    return response


async def test_the_token_is_read_for_each_request() -> None:
    seen: list[str] = []
    tokens = iter(["old", "new"])

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    async with client_of(answer, token=lambda: next(tokens)) as client:
        await client.request("GET", X)
        await client.request("GET", X)
    assert seen == ["Bearer old", "Bearer new"]


async def test_a_refusal_carries_the_api_servers_own_sentence() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": "pods is forbidden"}, status=403)

    async with client_of(answer) as client:
        with pytest.raises(KubeError, match="pods is forbidden") as error:
            await client.request("GET", X)
    assert error.value.status == 403


async def test_an_api_server_that_is_not_there_is_status_0() -> None:
    client = KubeClient.connect(Credentials(url="http://127.0.0.1:1", token=lambda: ""))
    with pytest.raises(KubeError, match="no answer from the API server") as error:
        await client.request("GET", X)
    await client.close()
    assert error.value.status == 0


async def test_an_answer_that_is_no_json_object_is_an_error_not_a_crash() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with client_of(answer) as client:
        with pytest.raises(KubeError, match="is not a JSON object"):
            await client.request("GET", X)


async def test_a_list_is_read_page_by_page() -> None:
    pages = {"": (["a", "b"], "next"), "next": (["c"], "")}

    async def answer(request: web.Request) -> web.Response:
        assert request.query["limit"] == "2"
        names, token = pages[request.query.get("continue", "")]
        return web.json_response(
            {"items": [an_object(n) for n in names], "metadata": {"continue": token, "resourceVersion": "5"}}
        )

    async with client_of(answer) as client:
        names = [item["metadata"]["name"] async for item in client.list(X, page=2)]  # type: ignore[index] # JSON
    assert names == ["a", "b", "c"]


async def test_a_watch_goes_on_where_it_ended_and_lists_again_when_that_is_gone() -> None:
    watched: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": [an_object("a", "5")], "metadata": {"resourceVersion": "10"}})
        watched.append(request.query["resourceVersion"])
        if len(watched) == 1:
            return await stream(
                request,
                {"type": "MODIFIED", "object": an_object("a", "11")},
                {"type": "BOOKMARK", "object": an_object("", "20")},
            )
        return await stream(request, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})

    seen: list[str] = []
    async with client_of(answer) as client:
        events = client.watch(X)
        async for kind, _ in events:
            seen.append(kind)
            if seen.count("LISTED") == 2:
                break
        await events.aclose()  # type: ignore[attr-defined] # an async generator
    assert seen == ["LISTING", "ADDED", "LISTED", "MODIFIED", "LISTING", "ADDED", "LISTED"]
    assert watched[:2] == ["10", "20"]  # the bookmark moved it on


async def test_a_watch_survives_an_api_server_that_answers_5xx_or_garbage() -> None:
    answers = iter(["500", "garbage", "list"])

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await stream(request, {"type": "ADDED", "object": an_object("b", "12")})
        match next(answers, "list"):
            case "500":
                return web.Response(status=500)
            case "garbage":
                return web.Response(text="[")
            case _:
                return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})

    async with client_of(answer) as client:
        events = client.watch(X)
        # Two lists that fail, one that does not, then the watch.
        kinds = [(await anext(events))[0] for _ in range(5)]
        assert kinds == ["LISTING", "LISTING", "LISTING", "LISTED", "ADDED"]
        await events.aclose()  # type: ignore[attr-defined] # an async generator


async def test_a_line_longer_than_any_buffer_is_read_whole() -> None:
    large = {"metadata": {"name": "a", "resourceVersion": "11"}, "spec": "x" * 3_000_000}

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await stream(request, {"type": "ADDED", "object": large})
        return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})

    async with client_of(answer) as client:
        events = client.watch(X)
        assert [(await anext(events))[0] for _ in range(2)] == ["LISTING", "LISTED"]
        assert (await anext(events))[1] == large
        await events.aclose()  # type: ignore[attr-defined] # an async generator


# --- a watch that is lost --------------------------------------------------------------------------------------------


class Collection:
    """Lists and watches of one collection. Each watch does what the next of `watches` says, the last one for ever."""

    def __init__(self, *watches: str, lists: tuple[int, ...] = ()) -> None:
        self.watches, self.lists = list(watches), list(lists)
        self.listed = 0
        self.resumed_from: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.listed += 1
            status = self.lists.pop(0) if self.lists else 200
            body = {"items": [], "metadata": {"resourceVersion": str(10 * self.listed)}, "message": "not now"}
            return web.json_response(body, status=status)
        self.resumed_from.append(request.query["resourceVersion"])
        does = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        if does.isdigit():
            return web.json_response({"message": "not now"}, status=int(does))
        if does == "gone":
            return await stream(request, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        if does == "garbage":
            return await stream(request, {"type": "ADDED", "object": ["no", "object"]})
        version = str(100 + len(self.resumed_from))
        response = await stream(request, {"type": "ADDED", "object": an_object("b", version)})
        if does == "dropped":
            assert request.transport is not None
            request.transport.abort()
        elif does == "open":
            await asyncio.sleep(60)
        return response


async def seen_until(collection: Collection, holds: Callable[[list[str]], bool]) -> list[str]:
    """The events until it holds."""
    kinds: list[str] = []
    async with client_of(collection.answer) as client, asyncio.timeout(20):
        events = client.watch(X)
        async for kind, _ in events:
            kinds.append(kind)
            if holds(kinds):
                break
        await events.aclose()  # type: ignore[attr-defined] # an async generator
    return kinds


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("end", ["dropped", "ended"])
async def test_a_watch_that_is_dropped_goes_on_where_it_was_and_lists_nothing_again(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    collection = Collection(end)
    kinds = await seen_until(collection, lambda kinds: kinds.count("ADDED") == 3)
    assert kinds == ["LISTING", "LISTED", "ADDED", "ADDED", "ADDED"]
    assert collection.resumed_from == ["10", "101", "102"]
    assert collection.listed == 1
    assert warnings(caplog) == []


async def test_a_watch_that_is_told_to_wait_goes_on_where_it_was() -> None:
    collection = Collection("ended", "429", "429", "open")
    await seen_until(collection, lambda kinds: kinds.count("ADDED") == 2)
    assert (collection.listed, collection.resumed_from) == (1, ["10", "101", "101", "101"])


@pytest.mark.parametrize("refusal", ["gone", "410", "403", "504", "garbage"])
async def test_a_watch_that_cannot_go_on_lists_again(refusal: str) -> None:
    collection = Collection("ended", refusal, "open")
    kinds = await seen_until(collection, lambda kinds: kinds.count("ADDED") == 2)
    assert kinds == ["LISTING", "LISTED", "ADDED", "LISTING", "LISTED", "ADDED"]
    assert collection.resumed_from == ["10", "101", "20"]


@pytest.mark.parametrize(("watches", "pauses"), [(("ended", "gone", "open"), 1), (("gone", "gone", "open"), 2)])
async def test_a_version_that_is_too_old_is_followed_by_a_list_at_once_and_after_a_list_by_a_pause(
    watches: tuple[str, ...], pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []

    async def pause(outage: object, failure: object) -> None:
        taken.append(failure)

    monkeypatch.setattr("carbonbudget_operator.kube.watch._Outage.pause", pause)
    await seen_until(Collection(*watches), lambda kinds: kinds[-1] == "ADDED" and kinds.count("LISTED") == pauses + 1)
    assert len(taken) == pauses


async def test_what_is_refused_each_time_is_logged_once_with_its_path_and_asked_for_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="carbonbudget_operator")
    collection = Collection("403", "403", "403", "open", lists=(500,))
    began = asyncio.get_running_loop().time()
    await seen_until(collection, lambda kinds: "ADDED" in kinds)
    assert asyncio.get_running_loop().time() - began > 0.5 * (0.5 + 1 + 2 + 4)  # doubling, less jitter
    assert warnings(caplog) == [f"the watch of {X} fails and is retried: not now"]
    assert [r.getMessage() for r in caplog.records if r.levelname == "INFO"] == [f"the watch of {X} works again"]


# --- up to when it is current ----------------------------------------------------------------------------------------


class Ticks:
    """A clock that moves by one with each look at it."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 1
        return self.at


async def test_a_list_a_change_and_a_bookmark_make_a_watch_current_and_a_connection_alone_does_not() -> None:
    says: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
    opened = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal opened
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})
        opened += 1
        response = await stream(request)
        while (event := await says.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    async with client_of(answer) as client, asyncio.timeout(10):
        client.watches = WatchStatuses(Ticks())
        events = client.watch(X)
        assert client.watches.current_at() == {}
        await anext(events)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 1}  # it begins, and has told nothing
        await anext(events)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 2}  # listed
        says.put_nowait({"type": "ADDED", "object": an_object("a", "11")})
        await anext(events)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 3}
        says.put_nowait({"type": "BOOKMARK", "object": an_object("", "12")})
        says.put_nowait({"type": "ADDED", "object": an_object("b", "13")})
        await anext(events)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 5}
        says.put_nowait(None)
        waits = asyncio.ensure_future(anext(events))
        await until(lambda: opened == 2)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 5}
        says.put_nowait({"type": "DELETED", "object": an_object("b", "14")})
        assert (await waits)[0] == "DELETED"
        says.put_nowait(None)
        await events.aclose()  # type: ignore[attr-defined] # an async generator
        assert client.watches.current_at() == {}


async def test_a_watch_that_never_comes_to_list_is_as_old_as_its_begin() -> None:
    asked = 0

    async def answer(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({"message": "forbidden"}, status=403)

    async with client_of(answer) as client, asyncio.timeout(10):
        client.watches = WatchStatuses(Ticks())

        async def follow() -> None:
            async for _ in client.watch(X):
                pass

        following = asyncio.create_task(follow())
        await until(lambda: asked == 2)
        assert client.watches.current_at() == {"/apis/x.dev/v1/xs": 1}
        following.cancel()
        await asyncio.wait([following])
        await until(lambda: client.watches.current_at() == {})


def test_the_metric_has_each_path_once_with_its_oldest_watch_and_none_that_ended() -> None:
    registry, watches = CollectorRegistry(), WatchStatuses(Ticks())
    WatchMetrics(registry, watches)
    with watches.of("/jobs"), watches.of("/jobs") as younger, watches.of("/namespaces"):
        younger.is_current()
        assert figures(registry) == {"/jobs": 1, "/namespaces": 3}
    assert figures(registry) == {}


def figures(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.labels["path"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "carbonbudget_watch_current_timestamp_seconds"
    }


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is awaited sets no event
        await asyncio.sleep(0.01)
