"""GET /api/v1/nodes and /api/v1/reports: for those who may read the whole cluster."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.ledger import schema

LEAD, CLOSER, TENANT = "user:lead@*", "user:closer@*", "user:dev@team-a"
WINDOW = f"{HOUR},{HOUR + 7200}"
DAY = "2025-11-24"
HOSTILE = ('=cmd|"/c calc"!A1', "<img src=x onerror=alert(1)>", "\u202egpj.exe", "r" * 253)


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7200
        for node in ("node-1", "node-2", "node-3"):
            for start in (HOUR, HOUR + 3600):
                assert (await made.report(a_report(start, node), f"node:{node}")).status_code == 200
        yield made


async def get(face: Face, path: str, token: str = LEAD, tag: str = "", **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-None-Match": tag} if tag else {})
    return await face.client.get(f"/api/v1/{path}", params=params, headers=headers)  # type: ignore[arg-type] # numbers


async def pages(face: Face, path: str, **params: object) -> list[list[dict[str, Any]]]:
    found, cursor = [], ""
    while cursor is not None:
        answer = await get(face, path, cursor=cursor, **params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found.append(page["rows"])
        cursor = page["next"]
    return found


async def close(face: Face, period: str = DAY) -> dict[str, Any]:
    face.clock[0] = HOUR + 30 * 86_400
    headers = {"Authorization": f"Bearer {CLOSER}"}
    answer = await face.client.post("/v1/report/close", json={"period": period, "incomplete": True}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def reopen(face: Face, reason: str) -> None:
    headers = {"Authorization": f"Bearer {CLOSER}"}
    answer = await face.client.post("/v1/report/reopen", json={"period": DAY, "reason": reason}, headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["nodes", "reports", f"reports/{DAY}", f"reports/{DAY}/closed"])
async def test_a_tenant_may_read_none_of_them(face: Face, path: str) -> None:
    answer = await get(face, path, TENANT)
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
    assert "node-1" not in answer.text
    assert (await get(face, path, "nonsense")).status_code == 401
    assert (await get(face, path, bogus=1)).status_code == 400


async def test_the_energy_of_nodes_is_that_of_the_cluster(face: Face) -> None:
    nodes = (await get(face, "nodes", window=WINDOW)).json()
    total = (await get(face, "emissions", window=WINDOW)).json()["total"]
    assert sum(int(row["energy_uj"]) for row in nodes["rows"]) == int(total["energy_uj"])
    assert nodes["rows"][0] == {
        "node": "node-1", "zone": "WORLD", "region": "", "instance_type": "", "domain": "cpu", "method": "model",
        "energy_kwh": 2_000 / 3_600_000_000_000, "energy_uj": "2000", "measured_percent": 0,
        "first_report": "2025-11-24T16:00:00Z", "last_report": "2025-11-24T17:01:00Z", "coverage_percent": 3,
    }  # fmt: skip
    assert (nodes["start"], nodes["data_through"]) == ("2025-11-24T16:00:00Z", "2025-11-24T17:01:00Z")


async def test_pages_of_nodes_add_up_to_the_whole(face: Face) -> None:
    ((*whole,),) = await pages(face, "nodes", window=WINDOW)
    for limit in (1, 2, 3, 4):
        found = await pages(face, "nodes", window=WINDOW, limit=limit)
        assert [row for page in found for row in page] == whole
        assert all(len({row["node"] for row in page}) <= limit for page in found)


async def test_too_much_is_refused_in_one_sentence(face: Face) -> None:
    for params in (
        {"window": "36d"}, {"limit": 1_001}, {"cursor": "x"}, {"cursor": "WzFd"}, {"window": "soon"}, {"limit": 0},
    ):  # fmt: skip
        answer = await get(face, "nodes", **params)  # type: ignore[arg-type] # parameters
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert "\n" not in answer.json()["detail"]


async def test_a_node_that_has_no_energy_has_one_row(face: Face) -> None:
    with face.engine.begin() as connection:
        connection.execute(
            sa.insert(schema.node_listed).values(cluster="default", name="silent", uid="u", since=HOUR, until=HOUR)
        )
    rows = (await get(face, "nodes", window=WINDOW)).json()["rows"]
    (row,) = [row for row in rows if row["node"] == "silent"]
    assert (row["domain"], row["energy_uj"], row["first_report"], row["coverage_percent"]) == (None, "0", None, 0)


async def test_closed_reports_are_listed_with_their_hashes(face: Face) -> None:
    assert (await get(face, "reports")).json() == {"next": None, "rows": []}
    assert (await get(face, f"reports/{DAY}/closed")).status_code == 404
    first = await close(face)
    await reopen(face, "a node was missing")
    await close(face)
    await close(face, "2025-W48")
    rows = (await get(face, "reports")).json()["rows"]
    assert [(row["period"], row["state"], row["reason"]) for row in rows] == [
        (DAY, "reopened", "a node was missing"), (DAY, "closed", None), ("2025-W48", "closed", None),
    ]  # fmt: skip
    assert rows[0]["sha256"] == first["sha256"]
    stored = (await get(face, f"reports/{DAY}/closed")).json()
    assert hashlib.sha256(stored["report"].encode()).hexdigest() == stored["sha256"] == rows[1]["sha256"]
    for limit in (1, 2, 3, 4):
        assert [row for page in await pages(face, "reports", limit=limit) for row in page] == rows


async def test_the_report_of_a_period_is_that_of_the_command(face: Face) -> None:
    await close(face)
    answer = await get(face, f"reports/{DAY}")
    headers = {"Authorization": f"Bearer {LEAD}"}
    other = await face.client.get("/v1/report", params={"period": DAY}, headers=headers)
    assert answer.json() == other.json()
    assert answer.json()["closed"]["sha256"]
    assert (await get(face, f"reports/{DAY}", tag=answer.headers["ETag"])).status_code == 304
    for period in ("soon", "2025-13", "2025-11-24%0a", "=1", "\u0662\u0660\u0662\u0665", "%3Cscript%3E"):
        refused = await get(face, f"reports/{period}")
        assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json"), period
        assert "\n" not in refused.json()["detail"]


async def test_a_period_in_the_path_makes_no_metric_of_its_own(face: Face) -> None:
    for period in (DAY, "2025-11-23"):
        assert (await get(face, f"reports/{period}")).status_code == 200
    headers = {"Authorization": "Bearer user:prometheus@"}
    text = (await face.client.get("/metrics", headers=headers)).text
    assert 'endpoint="/api/v1/reports/{period}"' in text
    assert DAY not in text


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_unchanged_in_json_and_runs_in_no_spreadsheet(face: Face, text: str) -> None:
    await close(face)
    await reopen(face, text)
    with face.engine.begin() as connection:
        node = schema.node.c
        connection.execute(
            sa.update(schema.node).where(node.name == "node-3").values(name=text, region=text, instance_type=text)
        )
        connection.execute(
            sa.update(schema.node_fact)
            .where(schema.node_fact.c.node_id == sa.select(node.id).where(node.name == text).scalar_subquery())
            .values(domain=text)
        )
    assert (await get(face, "reports")).json()["rows"][0]["reason"] == text
    rows = (await get(face, "nodes", window=WINDOW)).json()["rows"]
    (row,) = [row for row in rows if row["node"] == text]
    assert (row["region"], row["instance_type"], row["domain"]) == (text, text, text)
    for limit in (1, 2):  # the name is in the cursors too
        found = await pages(face, "nodes", window=WINDOW, limit=limit)
        assert [row for page in found for row in page] == rows
    for path, params in (("reports", {}), ("nodes", {"window": WINDOW})):
        table = list(csv.reader(io.StringIO((await get(face, path, format="csv", **params)).text, newline="")))
        assert any(text in cell for line in table for cell in line)
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for line in table for cell in line)
