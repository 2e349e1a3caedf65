"""Read tokens: who creates them, what they read, and that they end when they should."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.datastructures import URL
from starlette.requests import Request
from tests.ledger.reports import HOUR, a_report
from tests.server.budget_objects import a_budget
from tests.server.server_face import NOW, Face, a_face

from carbonbudget_operator.ledger import read_tokens, schema
from carbonbudget_operator.server import read_token_check

LEAD, SHARER, TENANT = "user:lead@*", "user:sharer@*", "user:dev@team-a"
DAY = 86_400


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        for namespace in ("team-a", "team-b"):
            report = a_report(HOUR, f"node-{namespace}", namespace=namespace)
            assert (await made.report(report, f"node:node-{namespace}")).status_code == 200
        made.api.namespaces = {"team-a", "team-b"}
        made.api.objects = {
            "carbonbudgets": [a_budget("team-a"), a_budget("team-b")], "clustercarbonbudgets": [a_budget("", "all")],
        }  # fmt: skip
        yield made


async def create(face: Face, *namespaces: str, by: str = SHARER, seconds: int = DAY, **more: object) -> httpx.Response:
    body = {"namespaces": namespaces, "seconds": seconds, "name": "grafana"} | more
    return await face.client.post("/v1/tokens", json=body, headers={"Authorization": f"Bearer {by}"})


async def created(face: Face, *namespaces: str, by: str = SHARER) -> dict[str, Any]:
    answer = await create(face, *namespaces, by=by)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def get(face: Face, path: str, token: str, **params: str) -> httpx.Response:
    return await face.client.get(path, params=params, headers={"Authorization": f"Bearer {token}"})


async def revoke(face: Face, number: int, by: str = SHARER) -> httpx.Response:
    headers = {"Authorization": f"Bearer {by}"}
    return await face.client.post("/v1/tokens/revoke", json={"id": number}, headers=headers)


async def test_a_read_token_reads_its_namespaces_and_no_other(face: Face) -> None:
    made = await created(face, "team-a")
    token = made["token"]
    assert token.startswith("carbonbudget_read_")
    answer = (await get(face, "/api/v1/emissions", token, window=f"{HOUR},{HOUR + 3600}")).json()
    assert (answer["namespaces"], [row["namespace"] for row in answer["rows"]]) == (["team-a"], ["team-a"])
    other = await get(face, "/api/v1/emissions", token, filter="namespace=team-b")
    assert other.status_code == 403
    assert other.json()["detail"] == "the read token is not for namespace team-b: create another one"
    rows = (await get(face, "/api/v1/budgets", token)).json()["rows"]
    assert [(row["kind"], row["namespace"]) for row in rows] == [("CarbonBudget", "team-a")]
    assert (await get(face, "/api/v1/budgets/team-b/monthly", token)).status_code == 404
    assert (await get(face, "/api/v1/clusterbudgets/all", token)).status_code == 404
    narrow = (await get(face, "/api/v1/clustertargets/all", token)).json()["detail"]
    assert narrow.endswith("the read token is not for all namespaces (`--namespaces '*'`): create another one")
    wide = (await created(face, "*"))["token"]
    missing = (await get(face, "/api/v1/clustertargets/all", wide)).json()["detail"]
    assert missing == "there is no ClusterCarbonTarget all; one of a namespace is NAMESPACE/all"
    who = (await get(face, "/api/v1/whoami", token)).json()
    assert (who["user"], who["all_namespaces"], who["namespaces"]) == ("sharer@*", False, ["team-a"])
    assert who["token"] == {"id": made["id"], "name": "grafana"}
    for path in ("nodes", "reports", "status", "external"):
        refused = await get(face, f"/api/v1/{path}", token)
        wanted = "the read token is not for all namespaces (`--namespaces '*'`): create another one"
        assert (refused.status_code, refused.json()["detail"]) == (403, wanted)


async def test_a_namespace_without_pods_is_named_to_who_may_share_it(face: Face) -> None:
    assert (await created(face, "team-a", "nosuch"))["without_pods"] == ["nosuch"]
    assert (await created(face, "*"))["without_pods"] == []
    assert "without_pods" not in (await create(face, "nosuch", by=TENANT)).json()
    face.api.namespaces = None  # the pods are not known yet: nothing is said of them
    assert (await created(face, "nosuch"))["without_pods"] == []


async def test_what_its_creator_was_shown_before_is_not_shown_to_it(face: Face) -> None:
    """Caches of the creator's rights must not serve the token."""
    creator, token = "user:sharer@team-a,team-b", ""
    assert len((await get(face, "/api/v1/budgets", creator)).json()["rows"]) == 2
    assert (await get(face, "/api/v1/whoami", creator)).json()["namespaces"] == ["team-a", "team-b"]
    token = (await created(face, "team-b", by=creator))["token"]
    assert (await get(face, "/api/v1/whoami", token)).json()["namespaces"] == ["team-b"]
    assert len((await get(face, "/api/v1/budgets", token)).json()["rows"]) == 1
    assert (await get(face, "/api/v1/whoami", creator)).json()["namespaces"] == ["team-a", "team-b"]


async def test_a_token_for_the_whole_cluster_reads_all(face: Face) -> None:
    token = (await created(face, "*"))["token"]
    assert (await get(face, "/api/v1/whoami", token)).json()["all_namespaces"] is True
    assert len((await get(face, "/api/v1/budgets", token)).json()["rows"]) == 3
    assert (await get(face, "/api/v1/nodes", token, window=f"{HOUR},{HOUR + 3600}")).status_code == 200


async def test_a_read_token_changes_nothing_and_reads_nothing_else(face: Face) -> None:
    token = (await created(face, "*"))["token"]
    before = len(face.api.reviews)
    for path in ("/metrics", "/v1/tokens", "/v1/allocation?from=0&to=1", "/v1/external"):
        assert (await get(face, path, token)).status_code == 401
    for path in ("/v1/tokens", "/v1/tokens/revoke", "/v1/budgets/query", "/v1/external?format=aws", "/v1/reports"):
        answer = await face.client.post(path, json={}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert len(face.api.reviews) == before  # it is never sent to the API server


async def test_where_a_read_token_is_good_is_decided_by_the_path_that_is_routed(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL of a request is made of its Host header too, which its sender chooses."""
    token = (await created(face, "*"))["token"]
    monkeypatch.setattr(Request, "url", URL("https://x/api/v1/?/v1/allocation"))
    refused = await get(face, "/v1/allocation?from=0&to=1", token)
    assert (refused.status_code, refused.json().keys()) == (401, {"reason"})
    monkeypatch.setattr(Request, "url", URL("https://x/v1/allocation"))
    assert (await get(face, "/api/v1/whoami", token)).status_code == 200
    unknown = await get(face, "/api/v1/none", token)
    assert (unknown.status_code, unknown.json()["kind"]) == (404, "unknown")


@pytest.mark.parametrize(
    ("by", "namespaces"),
    [
        (LEAD, ["team-a"]),  # may get, and may not share
        (TENANT, ["team-a"]),
        ("user:sharer@team-a", ["team-a", "team-b"]),
        ("user:sharer@team-a", ["*"]),
        ("scoped:sharer@*:team-a", ["team-b"]),
    ],
)
async def test_every_namespace_of_a_token_is_checked_at_its_creation(
    face: Face, by: str, namespaces: list[str]
) -> None:
    answer = await create(face, *namespaces, by=by)
    assert (answer.status_code, "may not" in answer.json()["reason"]) == (403, True)
    assert (await get(face, "/v1/tokens", SHARER)).json() == {"items": []}


async def test_a_token_is_refused_that_cannot_be(face: Face) -> None:
    for namespaces, change in (
        (["*", "team-a"], {}), (["Team_A"], {}), ([], {}), (["team-a"], {"seconds": 60}), (["a"] * 21, {}),
        (["team-a"], {"seconds": 367 * DAY}), (["team-a"], {"bogus": 1}),
    ):  # fmt: skip
        answer = await create(face, *namespaces, **change)  # type: ignore[arg-type] # fields of the body
        assert (answer.status_code, "\n" in answer.text) == (400, False), answer.text


async def test_a_token_loses_what_its_creator_loses(face: Face) -> None:
    made, wide = await created(face, "team-a"), await created(face, "*")
    with face.engine.begin() as connection:
        creator = connection.scalars(sa.select(schema.read_token.c.creator)).first()
        lost = str(creator).replace("sharer@*", "sharer@team-b")
        connection.execute(sa.update(schema.read_token).values(creator=lost))
    assert (await get(face, "/api/v1/budgets", made["token"])).json()["rows"] == []
    for path, right in (
        ("budgets/team-a/monthly", "get carbonbudgets in namespace team-a"),
        ("clusterbudgets/all", "get clustercarbonbudgets"),
    ):
        reason = (await get(face, f"/api/v1/{path}", wide["token"])).json()["detail"]
        assert reason.endswith(f"the read token's creator sharer@team-b may not {right}")


async def test_revocation_and_expiry_hold_at_once(face: Face) -> None:
    first, second = await created(face, "team-a"), await created(face, "team-b")
    assert (await get(face, "/api/v1/whoami", first["token"])).status_code == 200
    assert (await revoke(face, first["id"])).status_code == 200
    gone = await get(face, "/api/v1/whoami", first["token"])
    assert (gone.status_code, "revoked" in gone.json()["detail"]) == (401, True)
    face.clock[0] = NOW + DAY - 1
    assert (await get(face, "/api/v1/whoami", second["token"])).status_code == 200
    face.clock[0] = NOW + DAY
    assert (await get(face, "/api/v1/whoami", second["token"])).status_code == 401


async def test_a_revocation_by_another_server_holds_after_ten_seconds(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, began = await created(face, "team-a"), time.monotonic()
    assert (await get(face, "/api/v1/whoami", made["token"])).status_code == 200
    read_tokens.revoke_token(face.engine, "default", made["id"], "another", NOW)
    monkeypatch.setattr(read_token_check.time, "monotonic", lambda: began + read_token_check.FRESH_SECONDS + 60)
    assert (await get(face, "/api/v1/whoami", made["token"])).status_code == 401


async def test_random_tokens_cost_the_ledger_no_query(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    true_read = read_tokens.live_tokens
    monkeypatch.setattr(read_token_check, "live_tokens", lambda *given: reads.append(1) or true_read(*given))
    for number in range(50):
        assert (await get(face, "/api/v1/whoami", f"carbonbudget_read_{number}")).status_code == 401
    assert len(reads) == 1


async def test_who_may_list_and_revoke(face: Face) -> None:
    small = "user:sharer@team-a"
    own, wide = await created(face, "team-a", by=small), await created(face, "team-b")
    assert [one["id"] for one in (await get(face, "/v1/tokens", SHARER)).json()["items"]] == [own["id"], wide["id"]]
    assert [one["id"] for one in (await get(face, "/v1/tokens", small)).json()["items"]] == [own["id"]]
    assert (await get(face, "/v1/tokens", TENANT)).json() == {"items": []}
    for by, number in ((small, wide["id"]), (TENANT, own["id"]), (LEAD, own["id"]), (SHARER, 99)):
        assert (await revoke(face, number, by)).status_code == 404
    assert (await revoke(face, own["id"], "user:sharer@team-a,team-c")).status_code == 200


async def test_the_token_itself_is_nowhere_in_the_ledger_and_its_last_day_is(face: Face) -> None:
    made = await created(face, "team-a")
    listed = (await get(face, "/v1/tokens", SHARER)).json()["items"][0]
    assert (listed["last_used"], "token" in listed) == (None, False)
    for _ in range(2):
        assert (await get(face, "/api/v1/whoami", made["token"])).status_code == 200
    assert (await get(face, "/v1/tokens", SHARER)).json()["items"][0]["last_used"] == NOW - NOW % DAY
    with face.engine.connect() as connection:
        stored = connection.execute(sa.select(schema.read_token)).one()
    assert made["token"] not in repr(stored)
    assert stored.hash == read_tokens.hash_of(made["token"])


async def test_one_creator_has_fifty_tokens_at_most_and_old_ones_are_forgotten(face: Face) -> None:
    by = "user:sharer@team-a"
    for _ in range(read_tokens.MAX_LIVE_EACH):
        assert (await create(face, "team-a", by=by)).status_code == 200
    answer = await create(face, "team-a", by=by)
    assert (answer.status_code, "revoke" in answer.json()["reason"]) == (422, True)
    assert (await create(face, "team-a")).status_code == 200
    face.clock[0] = NOW + 92 * DAY
    assert (await create(face, "team-a", by=by)).status_code == 200
    assert len((await get(face, "/v1/tokens", SHARER)).json()["items"]) == 1
