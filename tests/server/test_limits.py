"""The server as it runs (uvicorn, TLS, uvloop) under callers that hold it up, with good requests beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry
from tests.controller.api_server import eventually
from tests.ingest.test_connections import Running, Stream, running, tls
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import MAX, Made, a_server

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest import body
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.connections import BoundedApplication
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestLimits, RequestShare
from carbonbudget_operator.kube.access import Access, Caller
from carbonbudget_operator.server.routes import query_handling
from carbonbudget_operator.server.wiring import make_pools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.tls import server_context

QUESTION = {"id": "q", "namespaces": ["team-a"], "start": HOUR, "end": HOUR + 3600}


def on_the_real_server(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def whole() -> None:
            trust, files = tls(tmp_path)
            context = server_context(Path(files["ssl_certfile"]), Path(files["ssl_keyfile"]))
            async with (
                a_server(f"sqlite:///{tmp_path}/ledger.db") as made,
                running(BoundedApplication(made.app), http=BurstReader(context).connection, trust=trust) as server,
            ):
                await test(Clients(server, made), monkeypatch)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class Clients:
    """Requests in pieces, each on a connection of its own."""

    def __init__(self, server: Running, made: Made) -> None:
        self.server, self.made = server, made

    async def begin(self, path: str, token: str, length: int, said: bytes = b"") -> Stream:
        """A POST of which the head and `said` have come."""
        stream = await self.server.connect()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        stream[1].write(head.encode() + said)
        return stream

    async def ask(self, token: str, content: bytes) -> tuple[int, str]:
        return await answer(await self.begin("/v1/budgets/query", token, len(content), content))

    async def question(self, token: str = "user:dev@team-a") -> int:
        return (await self.ask(token, json.dumps({"queries": [QUESTION]}).encode()))[0]

    async def report(self, node: str = "node-9") -> int:
        content = encode_report(a_report(node=node)).encode()
        return (await answer(await self.begin("/v1/reports", f"node:{node}", len(content), content)))[0]

    async def all_is_well(self) -> None:
        """Agents, the controller and other people are answered."""
        assert await self.report() == 200
        assert await self.question("user:controller@*") == 200
        assert await self.question("user:dev@team-a") == 200


async def answer(stream: Stream) -> tuple[int, str]:
    """Status and body."""
    async with asyncio.timeout(30):
        head = await stream[0].readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        return int(head.split()[1]), (await stream[0].readexactly(length)).decode()


@on_the_real_server
async def test_an_account_without_a_right_holds_back_few_bodies(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of them, each one byte short of 8 MB, were the server's whole memory."""
    for path in ("/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"):
        held = [await clients.begin(path, "user:eve@nowhere", 8_000_000, b" " * 200_000) for _ in range(20)]
        refused = [asyncio.create_task(answer(stream)) for stream in held]
        await eventually(lambda: sum(task.done() for task in refused) == 16)  # noqa: B023
        assert {task.result()[0] for task in refused if task.done()} == {503}
        assert clients.made.pools.namespace_readers.share.bytes <= 4 * 256 * 1024
        await clients.all_is_well()
        for task, stream in zip(refused, held, strict=True):
            task.cancel()
            stream[1].close()
        await eventually(lambda: not clients.made.pools.namespace_readers.share.under_way)
    assert clients.made.pools.namespace_readers.share.bytes == 0


@on_the_real_server
async def test_accounts_of_one_namespace_count_as_one_caller(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may edit a namespace makes as many service accounts as it likes."""
    names = [f"user:system:serviceaccount:team-a:bot-{number}" for number in range(10)]
    held = [await clients.begin("/v1/budgets/query", name, 1000, b" ") for name in names]
    refused = [asyncio.create_task(answer(stream)) for stream in held]
    await eventually(lambda: sum(task.done() for task in refused) == 6)
    assert "namespace team-a has 4 questions" in next(task.result()[1] for task in refused if task.done())
    await clients.all_is_well()
    for task in refused:
        task.cancel()


@on_the_real_server
async def test_accounts_of_one_namespace_count_as_one_caller_also_where_they_may_read_the_whole_cluster(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = clients.made.pools.cluster_readers.share
    monkeypatch.setattr(share, "limits", RequestLimits(64, 4, 2**22, 2**22, 2**20))
    names = [f"user:system:serviceaccount:team-a:bot-{number}@*" for number in range(10)]
    held = [await clients.begin("/v1/budgets/query", name, 1000, b" ") for name in names]
    refused = [asyncio.create_task(answer(stream)) for stream in held]
    await eventually(lambda: sum(task.done() for task in refused) == 6)
    assert "namespace team-a has 4 questions" in next(task.result()[1] for task in refused if task.done())
    await clients.all_is_well()
    assert await clients.question("user:sre@*") == 200
    for task in refused:
        task.cancel()


@on_the_real_server
async def test_only_who_may_read_the_whole_cluster_asks_long_questions(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = json.dumps({"queries": [QUESTION]}).encode() + b" " * 300_000
    monkeypatch.setattr(clients.made.pools.operator_readers.share, "limits", RequestLimits(8, 8, 2**20, 2**20, 400_000))
    status, reason = await clients.ask("user:dev@team-a", long)
    assert (status, "larger than 262144 bytes" in reason) == (413, True)
    assert (await clients.ask("user:controller@*", long))[0] == 200


@on_the_real_server
async def test_a_body_that_comes_too_slowly_is_given_up(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_BODY_SECONDS", 0.2)
    for path, token in (("/v1/budgets/query", "user:eve@x"), ("/v1/reports", "node:node-1")):
        stream = await clients.begin(path, token, 1000, b"{")
        status, reason = await answer(stream)
        assert (status, "1 bytes had arrived" in reason) == (408, True)
        assert await asyncio.wait_for(stream[0].read(), 10) == b""  # and the connection is closed
    monkeypatch.undo()
    await clients.all_is_well()


@on_the_real_server
async def test_a_body_that_trickles_is_given_up_too(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_BODY_SECONDS", 0.3)
    reader, writer = await clients.begin("/v1/reports", "node:node-1", 100_000)

    async def trickle() -> None:
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.01)

    trickling = asyncio.create_task(trickle())
    assert (await answer((reader, writer)))[0] == 408
    trickling.cancel()


@on_the_real_server
async def test_reports_that_fill_their_share_leave_questions_theirs_and_the_other_way_round(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = clients.made.pools
    reports = pools.reports.limits.bytes // MAX
    held = [await clients.begin("/v1/reports", f"node:n-{n}", MAX, b" " * (MAX - 1)) for n in range(reports)]
    await eventually(lambda: pools.reports.bytes == reports * (MAX - 1))
    assert await clients.report() == 503
    assert await clients.question("user:controller@*") == 200
    assert await clients.question() == 200
    for stream in held:
        stream[1].close()
    await eventually(lambda: pools.reports.bytes == 0)
    assert await clients.report() == 200

    share = pools.cluster_readers.share
    monkeypatch.setattr(share, "limits", RequestLimits(64, 16, 16 * (MAX - 1), 8 * MAX, MAX))
    held = [await clients.begin("/v1/runs/query", f"user:sre-{n}@*", MAX, b" " * (MAX - 1)) for n in range(16)]
    await eventually(lambda: share.bytes == 16 * (MAX - 1))
    assert await clients.question("user:sre@*") == 503
    assert await clients.question("user:controller@*") == 200
    assert await clients.report("node-8") == 200
    assert await clients.question() == 200
    for stream in held:
        stream[1].close()
    await eventually(lambda: share.bytes == 0)
    await clients.all_is_well()


@on_the_real_server
async def test_a_client_that_breaks_off_its_body_is_no_defect(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    monkeypatch.setattr("uvicorn.protocols.http.httptools_impl.logging.Logger.error", lambda *a, **_: said.append(a))
    for token, path in (("node:node-1", "/v1/reports"), ("user:dev@team-a", "/v1/budgets/query")):
        stream = await clients.begin(path, token, 1000, b"{")
        pool = clients.made.pools.reports if path == "/v1/reports" else clients.made.pools.namespace_readers.share
        await eventually(lambda: pool.bytes == 1)  # noqa: B023
        stream[1].close()
        await eventually(lambda: pool.under_way == 0)  # noqa: B023
    await eventually(lambda: not clients.server.server.server_state.tasks)
    assert said == []


def test_a_share_counts_down_what_it_counted_up() -> None:
    share = RequestShare("reports", RequestLimits(requests=2, requests_each=1, bytes=10, bytes_each=8, body=8))
    with share.request("a") as a:
        a.add(8)
        with pytest.raises(Refusal, match="the reports of a would hold more than 8 bytes"):
            a.add(1)
        with pytest.raises(Refusal, match="a has 1 reports under way"), share.request("a"):
            pass
        with share.request("b") as b:
            b.add(2)
            with pytest.raises(Refusal, match="would hold more than 10 bytes"):
                b.add(1)
            with pytest.raises(Refusal, match="2 reports are under way"), share.request("c"):
                pass
    assert (share.bytes, share.under_way, share.requests, share.bytes_of) == (0, 0, {}, {})


def test_the_default_limits_fit_the_charts_memory(tmp_path: Path) -> None:
    pools, people = make_pools(Setup(f"sqlite:///{tmp_path}/none.db", Settings()), CollectorRegistry())
    readers = (pools.operator_readers, pools.cluster_readers, pools.namespace_readers)
    assert sum(share.limits.bytes for share in (pools.reports, *(its.share for its in readers))) <= 256 * 2**20
    people.close()
    pools.close()


@on_the_real_server
async def test_an_api_server_that_is_slow_about_one_callers_rights_holds_up_no_other(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Access.may_read_budgets

    async def slow(self: Access, caller: Caller, namespace: str) -> bool:
        if namespace == "slow":
            await asyncio.Event().wait()
        return await original(self, caller, namespace)

    monkeypatch.setattr(Access, "may_read_budgets", slow)
    monkeypatch.setattr(query_handling, "_AUTHORIZE_SECONDS", 0.2)
    content = json.dumps({"queries": [QUESTION | {"namespaces": ["slow"]}]}).encode()
    asked = [asyncio.create_task(clients.ask(f"user:eve-{number}@team-b", content)) for number in range(3)]
    assert await clients.question() == 200
    for status, said in await asyncio.gather(*asked):
        assert status == 503
        assert "did not answer within 0.2 s whether" in said
