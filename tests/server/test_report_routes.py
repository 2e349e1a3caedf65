"""Reports of a period over REST: who may read, close and reopen them, and what is answered."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.answers import report_closing
from carbonbudget_operator.ledger.closed_reports import ClosedReport

DAY = "2025-11-24"
READER, CLOSER = "user:reader@*", "user:closer@*"


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        for minute in range(5):
            assert (await made.report(a_report(HOUR + 60 * minute, "node-1"))).status_code == 200
        made.clock[0] = HOUR + 3 * 86_400
        yield made


async def get(face: Face, path: str, token: str = READER, **params: object) -> httpx.Response:
    return await face.client.get(path, params=params, headers={"Authorization": f"Bearer {token}"})


async def post(face: Face, verb: str, token: str = CLOSER, **body: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await face.client.post(f"/v1/report/{verb}", json=body, headers=headers)


async def test_a_token_in_the_header_that_the_api_servers_proxy_leaves_is_a_token(face: Face) -> None:
    params = {"period": DAY}
    for headers, status in (
        ({"X-Carbonbudget-Token": READER}, 200),
        ({"X-Carbonbudget-Token": "nonsense"}, 401),
        ({"X-Carbonbudget-Token": "user:foreign@*"}, 401),  # of another audience
        ({"X-Carbonbudget-Token": ""}, 401),
        ({}, 401),
        ({"X-Carbonbudget-Token": READER, "Authorization": "Bearer nonsense"}, 401),
        ({"X-Carbonbudget-Token": READER, "Authorization": "Basic abc"}, 401),
    ):
        assert (await face.client.get("/v1/report", params=params, headers=headers)).status_code == status, headers


@pytest.mark.parametrize("path", ["/v1/report", "/v1/report/closures", "/v1/report/closed"])
async def test_who_may_read_one_namespace_reads_no_report(face: Face, path: str) -> None:
    answer = await get(face, path, "user:tenant@team-a", period=DAY)
    assert (answer.status_code, "in all namespaces" in answer.json()["reason"]) == (403, True)


@pytest.mark.parametrize("token", [READER, "user:tenant@team-a", "user:closer@team-a"])
async def test_closing_and_reopening_need_rights_of_their_own(face: Face, token: str) -> None:
    assert (await post(face, "close", token, period=DAY, incomplete=True)).status_code == 403
    assert (await post(face, "reopen", token, period=DAY, reason="why")).status_code == 403
    assert (await get(face, "/v1/report/closures")).json() == {"items": [], "reopened": []}


async def test_a_report_is_closed_listed_shown_and_reopened_with_one_hash(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    closed = (await post(face, "close", period=DAY, incomplete=True)).json()
    assert hashlib.sha256(closed["report"].encode()).hexdigest() == closed["sha256"]
    assert (await get(face, "/v1/report/closed", period=DAY)).json() == closed
    (item,) = (await get(face, "/v1/report/closures")).json()["items"]
    assert item == {key: closed[key] for key in ("period", "closed_at", "sha256")}
    now = (await get(face, "/v1/report", period=DAY)).json()
    assert now["closed"]["sha256"] == closed["sha256"]
    assert {key: now[key] for key in json.loads(closed["report"])} == json.loads(closed["report"])
    face.clock[0] += 3600
    assert (await post(face, "close", period=DAY, incomplete=True)).json() == closed  # the same content, closed before
    undone = await post(face, "reopen", period=DAY, reason="a mistake")
    assert undone.json() == closed
    for word in ("closed", "reopened"):
        assert f"the report of {DAY} was {word} by closer@*" in caplog.messages
    assert (await get(face, "/v1/report/closed", period=DAY)).status_code == 404
    assert (await get(face, "/v1/report", period=DAY)).json()["reopened"][0]["reason"] == "a mistake"


async def test_one_period_closed_by_many_at_once_has_one_closure(face: Face) -> None:
    answers = await asyncio.gather(*(post(face, "close", period=DAY, incomplete=True) for _ in "ab"))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == answers[1].json()
    assert len((await get(face, "/v1/report/closures")).json()["items"]) == 1


async def test_a_closing_that_is_stored_after_its_asker_was_refused_can_be_sent_again(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, original = threading.Event(), report_closing.store_closure

    def late(*args: Any) -> ClosedReport:
        assert go.wait(30)
        return original(*args)

    monkeypatch.setattr(report_closing, "store_closure", late)
    monkeypatch.setattr(face.pools.closing, "_seconds", 0.2)
    refused = await post(face, "close", period=DAY, incomplete=True)
    assert (refused.status_code, "it may still be stored, so send it again" in refused.json()["reason"]) == (503, True)
    go.set()
    monkeypatch.undo()
    monkeypatch.setattr(face.pools.closing, "_seconds", 20)
    face.clock[0] += 60
    closed = await post(face, "close", period=DAY, incomplete=True)
    (item,) = (await get(face, "/v1/report/closures")).json()["items"]
    assert (closed.status_code, item["sha256"]) == (200, closed.json()["sha256"])
    assert item["closed_at"] == closed.json()["closed_at"] == face.clock[0] - 60


async def test_a_period_whose_report_differs_by_now_is_not_closed_again(face: Face) -> None:
    closed = (await post(face, "close", period=DAY, incomplete=True)).json()
    assert (await face.report(a_report(HOUR + 600, "node-1"))).status_code == 200
    answer = await post(face, "close", period=DAY, incomplete=True)
    assert (answer.status_code, closed["sha256"] in answer.json()["reason"]) == (422, True)
    assert (await get(face, "/v1/report/closed", period=DAY)).json() == closed


async def test_what_was_closed_is_read_while_a_long_report_is_made(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year's report takes minutes: a look at one that is kept would wait until it is refused."""
    monkeypatch.setattr(face.people._long, "_wait_seconds", 0.1)
    closed = (await post(face, "close", period=DAY, incomplete=True)).json()
    async with face.pools.people.turn("somebody", long=True):
        assert (await get(face, "/v1/report", period=DAY)).status_code == 503
        assert (await get(face, "/v1/report/closed", period=DAY)).json() == closed
        assert len((await get(face, "/v1/report/closures")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("close", {"period": "soon"}, 400), ("close", {"period": "2099"}, 422), ("close", {"period": "2001"}, 422),
        ("close", {"period": DAY}, 422), ("close", {"period": DAY, "more": 1}, 400), ("close", {}, 400),
        ("close", {"period": "x" * 33}, 400), ("reopen", {"period": DAY, "reason": "why"}, 404),
        ("reopen", {"period": DAY, "reason": ""}, 400), ("reopen", {"period": DAY, "reason": " "}, 422),
        ("reopen", {"period": DAY, "reason": "x" * 501}, 400), ("reopen", {"period": "soon", "reason": "why"}, 400),
    ],
)  # fmt: skip
async def test_what_cannot_be_closed_is_said_in_a_line(
    face: Face, verb: str, body: dict[str, object], status: int
) -> None:
    answer = await post(face, verb, **body)
    assert answer.status_code == status
    assert set(answer.json()) == ({"reason", "kind", "field"} if "more" in body else {"reason"})
    assert "\n" not in answer.json()["reason"]


@pytest.mark.parametrize(
    "params", [{}, {"period": "soon"}, {"from": 5, "to": 5}, {"from": -1, "to": 5}, {"from": 5}, {"period": "x" * 33}]
)
async def test_a_report_that_is_asked_wrongly_is_malformed(face: Face, params: dict[str, object]) -> None:
    answer = await get(face, "/v1/report", **params)
    assert (answer.status_code, list(answer.json())) == (400, ["reason"])


async def test_an_allocation_names_its_settings(face: Face) -> None:
    answer = await get(face, "/v1/allocation", **{"from": HOUR, "to": HOUR + 3600})
    assert answer.json()["settings"] == "the defaults, without a file"
