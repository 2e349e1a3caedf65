"""Asking the server: with whose token, up to which size, and what happens where it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.controller.api_server import eventually
from tests.web.web_process import AskedServer, asked_server

from carbonbudget_operator.tls import trust_in
from carbonbudget_operator.web import server_gateway
from carbonbudget_operator.web.gateway import AnswerTooLarge, GatewayError, PageCaller
from carbonbudget_operator.web.metrics import WebMetrics
from carbonbudget_operator.web.server_gateway import ServerGateway

ANN = PageCaller("ann", "token-ann")


def caller(name: str) -> PageCaller:
    return PageCaller(name, f"token-{name}")


@asynccontextmanager
async def asking(directory: Path) -> AsyncIterator[tuple[ServerGateway, AskedServer]]:
    async with asked_server(directory) as server:
        gateway = ServerGateway(
            f"https://localhost:{server.port}/", trust_in(directory / "ca.crt"), WebMetrics(CollectorRegistry())
        )
        try:
            yield gateway, server
        finally:
            await gateway.close()


async def test_a_question_has_the_caller_s_token_the_query_and_the_version_that_is_known(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        query = [("by", "label:team/x"), ("filter", "namespace=a&b"), ("by", "node")]
        answer = await gateway.get("/api/v1/emissions", query, ANN, '"v1"')
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
        (request,) = server.asked
        assert request.headers["Authorization"] == "Bearer token-ann"
        assert request.headers["If-None-Match"] == '"v1"'
        assert sorted(request.query.items()) == sorted(query)  # type: ignore[attr-defined]


async def test_an_error_of_the_server_is_an_answer_and_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        assert (await gateway.get("/api/v1/whoami", [], PageCaller("x", "wrong"))).status == 401

        async def elsewhere(_: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": "/api/v1/status"})

        server.answer = elsewhere
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 307
        assert len(server.asked) == 2


async def test_users_share_connections_and_each_question_has_its_own_user_s_token(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        names = ["ann", "bob"] * 20
        answers = await asyncio.gather(*(gateway.get("/api/v1/whoami", [], caller(name)) for name in names))
        assert [answer.body.decode().split('"')[3] for answer in answers] == names
        peers = {request.transport.get_extra_info("peername") for request in server.asked if request.transport}
        assert len(peers) <= 16


async def test_an_answer_that_is_larger_than_asked_for_is_refused_by_its_stated_length(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        whole = asyncio.Event()

        async def begun(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await whole.wait()
            await response.write(b"x" * 100)
            return response

        server.answer = begun
        with pytest.raises(AnswerTooLarge, match="ask for a shorter window"):
            await asyncio.wait_for(gateway.get("/api/v1/emissions", [], ANN, most_bytes=99), 20)
        whole.set()
        assert len((await gateway.get("/api/v1/emissions", [], ANN, most_bytes=100)).body) == 100


@pytest.mark.parametrize(
    "path",
    ["/v1/budgets/query", "/metrics", "/api/v1/../../metrics", "/api/v1/%2e%2E/x", "/api/v1/a/..", "/api/v1",
     "//evil.example/api/v1/x", "@evil.example/api/v1/x", "/api/v1/x?y", "/api/v1/x#y", "/api/v1/x y", "/api/v1//x"],
)  # fmt: skip
async def test_no_other_path_of_the_server_is_asked(tmp_path: Path, path: str) -> None:
    async with asking(tmp_path) as (gateway, server):
        with pytest.raises(GatewayError, match="not one of the server's"):
            await gateway.get(path, [], ANN)
        assert server.asked == []


async def test_nothing_is_asked_without_a_token(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        with pytest.raises(GatewayError):
            await gateway.get("/api/v1/whoami", [], PageCaller("ann", user="ann", groups=("dev",)))
        assert server.asked == []


async def test_a_large_answer_is_refused_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_gateway, "_MOST_BYTES", 2**20)
    async with asking(tmp_path) as (gateway, server):

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 2**16)

        server.answer = endless
        with pytest.raises(GatewayError, match="larger than 1 MiB: ask for a shorter window"):
            await asyncio.wait_for(gateway.get("/api/v1/emissions", [], ANN), 20)
        server.answer = None
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200


@pytest.mark.parametrize(
    ("most", "users", "asking_next", "reason"),
    [
        ("_MOST_BYTES_AT_ONCE", ["ann", "bob", "cem"], "dan", "Too many large answers are under way"),
        ("_MOST_BYTES_EACH", ["ann"] * 3, "ann", "Too many large answers of yours"),
    ],
)
async def test_the_answers_of_all_and_of_each_user_take_a_limited_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, users: list[str], asking_next: str, reason: str
) -> None:
    monkeypatch.setattr(server_gateway, most, 3 * 2**20)
    monkeypatch.setattr(server_gateway, "_CONNECT_SECONDS", 60.0)
    async with asking(tmp_path) as (gateway, server):
        go_on = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x" * 2**20)
            await go_on.wait()
            return response

        server.answer = slow
        tasks = [asyncio.create_task(gateway.get("/api/v1/emissions", [], caller(user))) for user in users]
        await eventually(lambda: gateway._bytes == 3 * 2**20, 60)  # three answers fit, and none has ended
        with pytest.raises(GatewayError, match=reason):
            await gateway.get("/api/v1/emissions", [], caller(asking_next))
        other = asyncio.create_task(gateway.get("/api/v1/emissions", [], caller("eve")))
        if most == "_MOST_BYTES_EACH":
            await eventually(lambda: gateway._bytes == 4 * 2**20, 60)  # another user is not kept from asking
        else:
            with pytest.raises(GatewayError, match=reason):
                await other
        go_on.set()
        assert [(one.status, len(one.body)) for one in await asyncio.gather(*tasks)] == [(200, 2**20)] * 3
        await asyncio.wait([other])
        assert gateway._bytes == 0
        server.answer = None
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200


async def test_a_server_that_does_not_answer_in_time_or_at_all_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_gateway, "_TOTAL_SECONDS", 0.2)
    async with asking(tmp_path) as (gateway, server):

        async def silent(_: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        server.answer = silent
        with pytest.raises(GatewayError, match=r"The server does not answer \(.*Time.*\): try again"):
            await gateway.get("/api/v1/whoami", [], ANN)
    with pytest.raises(GatewayError, match="The server does not answer"):
        await gateway.get("/api/v1/whoami", [], ANN)


@pytest.mark.parametrize(
    ("users", "under_way"), [(["ann"] * 6, 4), ([f"user-{number}" for number in range(18)], 16), ([""] * 6, 4)]
)
async def test_questions_beyond_the_limit_of_a_user_of_all_or_of_sign_ins_wait_and_are_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: list[str], under_way: int
) -> None:
    monkeypatch.setattr(server_gateway, "_TURN_SECONDS", 0.1)
    monkeypatch.setattr(server_gateway, "_CONNECT_SECONDS", 60.0)
    async with asking(tmp_path) as (gateway, server):
        go_on = asyncio.Event()

        async def slow(_: web.Request) -> web.Response:
            await go_on.wait()
            return web.json_response({})

        server.answer = slow
        tasks = [asyncio.create_task(gateway.get("/api/v1/emissions", [], caller(user))) for user in users]
        await eventually(lambda: sum(task.done() for task in tasks) == len(users) - under_way, 60)
        go_on.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [str(one) for one in found if isinstance(one, GatewayError)]
        assert refused == ["Too many questions are under way: try again in a minute."] * (len(users) - under_way)
        assert len(gateway._turns) == 0  # nothing is kept of users who ask nothing


async def test_a_user_whose_questions_wait_keeps_no_other_and_no_sign_in_from_asking(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        go_on = asyncio.Event()

        async def slow_for_ann(request: web.Request) -> web.Response:
            if request.headers["Authorization"] == "Bearer token-ann":
                await go_on.wait()
            return web.json_response({})

        server.answer = slow_for_ann
        tasks = [asyncio.create_task(gateway.get("/api/v1/emissions", [], ANN)) for _ in range(40)]
        await eventually(lambda: len(server.asked) == 4, 60)
        for other in (caller("bob"), PageCaller("", "token-new"), PageCaller("cem", "token-cem", user="cem")):
            assert (await gateway.get("/api/v1/whoami", [], other)).status == 200
        assert len(server.asked) == 7  # ann's other questions wait
        go_on.set()
        assert {answer.status for answer in await asyncio.gather(*tasks)} == {200}


@pytest.mark.parametrize(
    ("bundle", "reason"), [(None, "not available yet"), (" ", "not available yet"), ("x", "cannot be read: is it PEM")]
)
async def test_without_a_ca_nothing_is_asked_and_the_system_s_cas_are_not_trusted(
    tmp_path: Path, bundle: str | None, reason: str
) -> None:
    async with asked_server(tmp_path) as server:
        gateway = ServerGateway(f"https://localhost:{server.port}", lambda: bundle, WebMetrics(CollectorRegistry()))
        with pytest.raises(GatewayError, match=reason):
            await gateway.get("/api/v1/whoami", [], ANN)
        assert server.asked == []
        assert gateway.ready() == (bundle == "x")


async def test_a_renewed_ca_is_used_at_once_and_the_former_connections_are_closed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with asked_server(tmp_path) as server, asked_server(other):
        bundles: Iterator[str] = iter([(tmp_path / "ca.crt").read_text(), (other / "ca.crt").read_text()] * 2)
        gateway = ServerGateway(
            f"https://localhost:{server.port}", lambda: next(bundles), WebMetrics(CollectorRegistry())
        )
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200
        assert gateway._current is not None
        former = gateway._current.client
        with pytest.raises(GatewayError, match="CERTIFICATE_VERIFY_FAILED"):
            await gateway.get("/api/v1/whoami", [], ANN)
        assert former.is_closed
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200
        await gateway.close()


async def test_no_proxy_of_the_environment_gets_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with asking(tmp_path) as (gateway, _):
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(tmp_path: Path) -> None:
    async with asking(tmp_path) as (gateway, server):
        lost = False

        async def lose(request: web.Request) -> web.Response:
            nonlocal lost
            if not lost:
                lost = True
                assert request.transport is not None
                request.transport.close()
                raise httpx.CloseError("closed")  # no answer is sent on a closed connection
            return web.json_response({})

        server.answer = lose
        assert (await gateway.get("/api/v1/whoami", [], ANN)).status == 200
