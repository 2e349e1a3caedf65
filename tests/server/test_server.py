"""Node reports: what the server stores, and what it refuses."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import MAX, Face, a_face

from carbonbudget_core.node_report_json import encode_report


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


async def test_a_report_is_stored_then_known(face: Face) -> None:
    assert (await face.report(a_report())).json() == {"result": "stored"}
    packed = gzip.compress(encode_report(a_report()).encode())
    assert (await face.report(packed, **{"Content-Encoding": "gzip"})).json() == {"result": "duplicate"}
    assert face.windows() == 1
    assert face.api.reviews == ["node:node-1"]  # the second answer came from the cache


def spoilt(**change: object) -> bytes:
    return json.dumps(json.loads(encode_report(a_report())) | change).encode()


FUTURE = spoilt(window_start=HOUR + 6000, window_end=HOUR + 6060, since=HOUR + 6000)
BOMB = gzip.compress(b" " * (50 * MAX))
REFUSALS: list[tuple[str, bytes, str, dict[str, str], int, str]] = [
    ("no token", spoilt(), "", {}, 401, "a bearer token is needed"),
    ("foreign token", spoilt(), "junk", {}, 401, "invalid, or not for the audience"),
    ("another audience", spoilt(), "node:foreign", {}, 401, "not for the audience carbonbudget-server"),
    ("another account", spoilt(), "user:eve@*", {}, 403, "eve@* is not the agents' account"),
    ("another node", spoilt(), "node:node-2", {}, 403, "bound to node 'node-2', the report is of node 'node-1'"),
    ("not JSON", b"{", "node:node-1", {}, 400, "not JSON"),
    ("not conserving", spoilt(domains=[]), "node:node-1", {}, 400, "which the report lacks"),
    ("misaligned", spoilt(window_start=HOUR + 1), "node:node-1", {}, 400, "aligned to UTC"),
    ("not gzip", spoilt(), "node:node-1", {"Content-Encoding": "gzip"}, 400, "not gzip"),
    ("cut-off gzip", gzip.compress(spoilt())[:-9], "node:node-1", {"Content-Encoding": "gzip"}, 400, "ends too early"),
    ("unknown encoding", spoilt(), "node:node-1", {"Content-Encoding": "br"}, 415, "use gzip or none"),
    ("too large", b" " * (MAX + 1), "node:node-1", {}, 413, "larger than"),
    ("gzip bomb", BOMB, "node:node-1", {"Content-Encoding": "gzip"}, 413, "larger than"),
    ("another cluster", spoilt(cluster="other"), "node:node-1", {}, 422, "of cluster 'other', this is 'default'"),
    ("future", FUTURE, "node:node-1", {}, 425, "in the future and is taken then"),
    ("too old", spoilt(since=HOUR - 40 * 86_400), "node:node-1", {}, 422, "older than 35 days"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "token", "headers", "status", "sentence"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
async def test_a_bad_report_is_refused_in_a_line_and_stores_nothing(
    face: Face, body: bytes, token: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = await face.report(body, token, **headers)
    assert answer.status_code == status
    assert sentence in answer.json()["reason"]
    assert "\n" not in answer.json()["reason"]
    assert face.windows() == 0
    assert (await face.report(a_report())).status_code == 200  # good ones beside it are unharmed


async def test_a_defect_of_our_own_says_in_the_log_where_it_is_and_harms_no_later_report(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("carbonbudget_operator.ingest.report_checks.check_report_is_possible", lambda *_: 1 // 0)
        for _ in range(3):
            answer = await face.report(a_report())
            assert answer.status_code == 500
            assert "its log says where" in answer.json()["reason"]
    assert caplog.text.count("a report of node-1 cannot be read") == 1
    assert "in _checked" in caplog.text
    assert (await face.report(a_report())).json() == {"result": "stored"}


async def test_more_power_than_a_node_can_draw_is_refused(face: Face) -> None:
    answer = await face.report(a_report(pods={"p": 20_001 * 60_000_000}))
    assert (answer.status_code, "is above the limit of 20000 W" in answer.json()["reason"]) == (422, True)


async def test_requests_that_no_database_integer_can_hold_are_refused(face: Face) -> None:
    value = json.loads(encode_report(a_report()))
    value["pods"][0]["requests"] = {"cpu_millicores": 2**59}
    answer = await face.report(json.dumps(value).encode())
    assert (answer.status_code, "that cannot be" in answer.json()["reason"]) == (422, True)
    assert (await face.report(a_report())).status_code == 200


@pytest.mark.parametrize("change", [{"cpu_us": 2**59}, {"memory_byte_seconds": 2**59}, {"gpu_ms": 2**59}])
async def test_use_that_would_not_add_up_in_a_database_is_refused(face: Face, change: dict[str, int]) -> None:
    """SQLite turns a sum beyond 64 bits into a float without a word."""
    value = json.loads(encode_report(a_report()))
    value["pods"][0] |= change
    answer = await face.report(json.dumps(value).encode())
    assert (answer.status_code, "that cannot be" in answer.json()["reason"]) == (422, True)


async def test_a_pod_cannot_pass_for_what_nobody_bears(face: Face) -> None:
    answer = await face.report(a_report(namespace="__idle__"))
    assert (answer.status_code, "'__idle__'" in answer.json()["reason"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/v1/reports", "", 401), ("/v1/reports", "junk", 401), ("/v1/reports", "user:eve@*", 403),
     ("/v1/budgets/query", "", 401), ("/v1/budgets/query", "junk", 401)],
)  # fmt: skip
async def test_nobodys_body_is_read(face: Face, path: str, token: str, status: int) -> None:
    """Two thousand connections of eight megabytes each would be the whole memory."""
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for part in range(3):
            read.append(part)
            yield b" " * 1000

    answer = await face.client.post(path, content=body(), headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, read) == (status, [])


async def test_one_node_sends_a_few_reports_at_once_and_no_more(face: Face) -> None:
    held, all_in = asyncio.Event(), asyncio.Barrier(9)

    async def slow() -> AsyncIterator[bytes]:
        await all_in.wait()
        await held.wait()
        yield encode_report(a_report()).encode()

    async def send() -> httpx.Response:
        return await face.client.post("/v1/reports", content=slow(), headers={"Authorization": "Bearer node:node-1"})

    waiting = [asyncio.ensure_future(send()) for _ in range(8)]
    await all_in.wait()
    refused = await face.report(a_report())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert (await face.report(a_report(node="node-2"), "node:node-2")).status_code == 200
    held.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await face.report(a_report())).json() == {"result": "duplicate"}


async def test_one_key_with_two_contents_is_a_conflict(face: Face) -> None:
    await face.report(a_report())
    answer = await face.report(a_report(pods={"pod-1": 301}))
    assert (answer.status_code, face.windows()) == (409, 1)


async def test_while_the_api_server_is_away_reports_wait_with_their_agents(face: Face) -> None:
    face.api.up = False
    answer = await face.report(a_report())
    assert (answer.status_code, answer.headers["Retry-After"], face.windows()) == (503, "5", 0)


async def test_two_thousand_malformed_bodies_are_each_refused(face: Face) -> None:
    whole = encode_report(a_report()).encode()
    for index in range(2000):
        answer = await face.report(whole[: index % len(whole)])
        assert answer.status_code == 400
    assert face.windows() == 0
