"""The endpoints that answer questions: who may ask what, what is refused and with which words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.api.budget_query_bodies import HourlyAnswers, RunAnswers
from carbonbudget_operator.api.projection_bodies import ProjectionAnswer

SRE = "user:sre@*"
DEV = "user:dev@team-a"
DAY = 86_400


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


async def post(face: Face, path: str, token: str, *queries: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await face.client.post(path, json={"queries": queries}, headers=headers)


def budget(**given: object) -> dict[str, Any]:
    return {"id": "team-a/monthly", "namespaces": ["team-a"], "start": HOUR, "end": HOUR + 7200} | given


def run(**given: object) -> dict[str, Any]:
    whole = {"id": "r", "namespace": "team-a", "kind": "Job", "name": "train", "start": HOUR, "end": HOUR + 7200}
    return whole | given


QUERY, HOURS, RUNS = "/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"
FORBIDDEN: list[tuple[str, dict[str, Any], str]] = [
    (QUERY, budget(namespaces=["team-b"]), "namespace team-b"),
    (QUERY, budget(namespaces=["team-a", "team-b"]), "namespace team-b"),
    (QUERY, budget(namespaces=["*"]), "all namespaces"),
    (QUERY, budget(namespaces=["__idle__"]), "namespace __idle__"),
    (HOURS, budget(namespaces=["team-b"]), "namespace team-b"),
    (HOURS, budget(namespaces=["*"]), "all namespaces"),
    (RUNS, run(namespace="team-b"), "namespace team-b"),
]


@pytest.mark.parametrize(("path", "query", "where"), FORBIDDEN, ids=[f"{p} {w}" for p, _, w in FORBIDDEN])
async def test_a_tenant_gets_nothing_of_anothers(face: Face, path: str, query: dict[str, Any], where: str) -> None:
    await face.report(a_report(namespace="team-b"))
    for queries in ([query], [budget() if path != RUNS else run(), query]):  # beside what it may ask too
        refused = await post(face, path, DEV, *queries)
        assert refused.status_code == 403
        assert refused.json() == {"reason": f"dev@team-a may not get carbonbudgets in {where}"}
    assert (await post(face, path, SRE, query)).status_code == 200


@pytest.mark.parametrize("path", [QUERY, HOURS, RUNS])
async def test_a_tenant_gets_its_own_and_a_stranger_nothing(face: Face, path: str) -> None:
    query = run() if path == RUNS else budget()
    assert (await post(face, path, DEV, query)).status_code == 200
    assert (await post(face, path, "junk", query)).status_code == 401
    assert (await post(face, path, "", query)).status_code == 401
    face.api.up = False
    assert (await post(face, path, "user:new@team-a", query)).status_code == 503


async def test_the_projection_is_for_who_may_read_all_budgets(face: Face) -> None:
    async def get(token: str) -> httpx.Response:
        return await face.client.get("/v1/projection", headers={"Authorization": f"Bearer {token}"})

    assert (await get(DEV)).status_code == 403
    assert (await get("")).status_code == 401
    table = ProjectionAnswer.model_validate_json((await get(SRE)).content)
    assert table.rates[0].modelled


UNANSWERABLE: list[tuple[str, dict[str, Any], int, str]] = [
    (QUERY, budget(end=HOUR), 422, "team-a/monthly: end must be after start"),
    (QUERY, budget(wishes={"settled_through": HOUR + 60}), 422, "team-a/monthly: settled_through must be a whole hour"),
    (QUERY, budget(namespaces=["*", "team-a"]), 422, "* stands for every namespace"),
    (QUERY, budget(workloads=1001), 400, "queries.0.workloads: Input should be less than or equal to 1000"),
    (QUERY, budget(include=["Heat"]), 400, "queries.0.include.0: Input should be 'Dynamic', 'Idle', 'Overhead'"),
    (HOURS, budget(end=HOUR + 35 * DAY + 3600), 422, "at most 35 days by the hour, not 841 h"),
    (HOURS, budget(start=HOUR, end=HOUR), 422, "end must be after start"),
    (RUNS, run(start=HOUR + 7200), 422, "r: end must be after start"),
    (RUNS, run(kind=""), 400, "queries.0.kind: String should have at least 1 character"),
    (RUNS, {"id": "r"}, 400, "queries.0.namespace: Field required"),
]


@pytest.mark.parametrize(("path", "query", "status", "sentence"), UNANSWERABLE)
async def test_what_cannot_be_answered_is_refused_in_a_line(
    face: Face, path: str, query: dict[str, Any], status: int, sentence: str
) -> None:
    answer = await post(face, path, SRE, query)
    assert answer.status_code == status
    assert sentence in answer.json()["reason"]
    assert "\n" not in answer.json()["reason"]


@pytest.mark.parametrize("path", [QUERY, HOURS, RUNS])
@pytest.mark.parametrize("who", [DEV, SRE, "user:controller@*"])
async def test_a_field_of_a_later_version_is_refused_by_its_name(face: Face, path: str, who: str) -> None:
    """Whoever asks may leave out the questions that have it."""
    query = run() if path == RUNS else budget()
    answer = await post(face, path, who, query, query | {"region": "eu"})
    assert answer.status_code == 400
    refusal = answer.json()
    assert (refusal["kind"], refusal["field"]) == ("unknown_field", "queries.1.region")
    assert refusal["reason"] == "queries.1.region: Extra inputs are not permitted"


@pytest.mark.parametrize("path", [QUERY, HOURS])
async def test_a_wish_of_a_later_version_is_not_granted_and_the_rest_is_answered(face: Face, path: str) -> None:
    query = budget(wishes={"split_by_region": 5})
    answered = (await post(face, path, "user:controller@*", query)).json()
    assert answered["answers"] == (await post(face, path, "user:controller@*", budget())).json()["answers"]


@pytest.mark.parametrize("path", [QUERY, HOURS, RUNS])
async def test_a_body_that_is_no_question_is_refused_in_a_line(face: Face, path: str) -> None:
    for body in (b"", b"[]", b"{", b'{"queries": 1}', b'{"queries": [], "x": 1}', b"\xff" * 9):
        answer = await face.client.post(path, content=body, headers={"Authorization": f"Bearer {SRE}"})
        assert answer.status_code == 400
        assert "\n" not in answer.json()["reason"]
    assert (await post(face, path, SRE)).status_code == 200  # no question, no answer


async def test_more_hours_than_fit_one_answer_are_asked_in_parts(face: Face) -> None:
    asked = {"id": "x", "namespaces": ["a"], "start": 0, "end": 35 * DAY}
    answer = await post(face, HOURS, "user:controller@*", *[asked] * 2400)
    assert (answer.status_code, "2016000 hours in one request" in answer.json()["reason"]) == (422, True)


async def test_a_tenant_asks_for_a_hundred_spans_at_once_and_the_controller_for_all_it_has(face: Face) -> None:
    await face.report(a_report())
    spans = [budget(id=str(n), start=HOUR + n // 2, wishes={"settled_through": HOUR * (n % 2)}) for n in range(101)]
    refused = await post(face, QUERY, DEV, *spans)
    assert (refused.status_code, refused.json()["reason"][:19]) == (422, "101 spans in one re")
    assert (await post(face, QUERY, DEV, *spans[:100], *spans[:100])).status_code == 200
    answered = await post(face, QUERY, SRE, *spans)
    assert [answer["id"] for answer in answered.json()["answers"]] == [str(n) for n in range(101)]


async def test_hours_and_runs_are_those_of_the_reports(face: Face) -> None:
    await face.report(a_report(HOUR, pods={"a": 10**9}))
    hours = HourlyAnswers.model_validate_json((await post(face, HOURS, DEV, budget())).content)
    (answer,) = hours.answers
    assert (answer.first_hour, answer.used_ug) == (HOUR, [(await face.answer())["used_ug"], None])
    found = RunAnswers.model_validate_json((await post(face, RUNS, DEV, run())).content)
    assert (found.data_through, found.answers[0].pods) == (HOUR + 60, 0)


async def test_each_endpoints_answers_are_timed(face: Face) -> None:
    await post(face, QUERY, SRE, budget())
    await post(face, RUNS, DEV, run())
    text = (await face.client.get("/metrics", headers={"Authorization": "Bearer user:prometheus@x"})).text
    assert 'carbonbudget_query_duration_seconds_count{endpoint="/v1/budgets/query"} 1.0' in text
    assert 'carbonbudget_query_duration_seconds_count{endpoint="/v1/runs/query"} 1.0' in text
