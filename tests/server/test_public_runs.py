"""GET /api/v1/runs and of one run: who may see which, the same runs in every format and on every page."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.api.run_bodies import RunDetail, RunsAnswer
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE

LEAD, TENANT = "user:lead@*", "user:dev@team-a"
WINDOW = f"{HOUR},{HOUR + 4 * 3600}"


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 4 * 3600
        made.api.namespaces = {"team-a", "team-b"}
        for hour, node, namespace, labels in (
            (0, "node-1", "team-a", {RUN: "exp-1", MODEL: "chat", MODEL_VERSION: "1.3", STAGE: "training", "x": "1"}),
            (1, "node-2", "team-a", {RUN: "exp-1", MODEL: "chat", STAGE: "training", "x": "2"}),
            (1, "node-3", "team-a", {RUN: "exp-2", MODEL: "chat"}),
            (1, "node-4", "team-b", {RUN: "exp-1", MODEL: "secret"}),
            (1, "node-5", "team-a", {MODEL: "chat", STAGE: "inference", "x": "1"}),
            (3, "node-1", "team-a", {"app": "web"}),
        ):
            report = a_report(HOUR + hour * 3600, node, {f"{node}-{hour}": 10**9}, labels=labels, namespace=namespace)
            assert (await made.report(report, f"node:{node}")).status_code == 200
        yield made


async def get(face: Face, path: str, token: str = LEAD, tag: str = "", **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-None-Match": tag} if tag else {})
    params = {"window": WINDOW} | params
    return await face.client.get(f"/api/v1/{path}", params=params, headers=headers)  # type: ignore[arg-type] # numbers


async def rows(face: Face, token: str = LEAD, **params: object) -> list[dict[str, Any]]:
    answer = await get(face, "runs", token, **params)
    assert answer.status_code == 200, answer.text
    assert RunsAnswer.model_validate(answer.json())
    return list(answer.json()["rows"])


async def test_a_run_has_its_labels_its_figures_and_its_state(face: Face) -> None:
    first, *others = await rows(face)
    assert {key: value for key, value in first.items() if not key.endswith(("_g", "_ug", "_uj", "_kwh"))} == {
        "namespace": "team-a", "run": "exp-1", "model": "chat", "model_version": "1.3", "stage": "training", "pods": 2,
        "start": "2025-11-24T16:00:00Z", "end": "2025-11-24T17:01:00Z", "measured_percent": 0, "state": "final",
    }  # fmt: skip
    assert 2 * 10**9 < int(first["energy_uj"]) < 2 * 10**9 + 10_000
    assert [(row["namespace"], row["run"]) for row in others] == [("team-a", "exp-2"), ("team-b", "exp-1")]


async def test_a_tenant_sees_its_own_runs_alone_and_learns_of_no_others(face: Face) -> None:
    answer = await get(face, "runs", TENANT)
    assert {row["namespace"] for row in answer.json()["rows"]} == {"team-a"}
    assert answer.json()["namespaces"] == ["team-a"]
    assert "secret" not in answer.text
    assert await rows(face, TENANT, model="secret") == []
    for path, params in (("runs", {"namespace": "team-b"}), ("runs/team-b/exp-1", {}), ("runs/team-b/none", {})):
        refused = await get(face, path, TENANT, **params)
        assert (refused.status_code, refused.json()["kind"]) == (403, "forbidden")
    assert (await get(face, "runs", "user:nobody@")).status_code == 403
    assert (await get(face, "runs", "nonsense")).status_code == 401


async def test_labels_choose_the_pods_that_count(face: Face) -> None:
    assert [row["run"] for row in await rows(face, model_version="1.3")] == ["exp-1"]
    assert {row["run"] for row in await rows(face, model="chat", stage="training")} == {"exp-1"}
    (one,) = await rows(face, labels="x=1")
    assert (one["run"], one["pods"]) == ("exp-1", 1)
    both = await rows(face, TENANT, labels="x=1", namespace="team-a", unlabelled=True)
    assert [(row["run"], row["model"], row["stage"]) for row in both] == [
        (None, "chat", "inference"), ("exp-1", "chat", "training"),
    ]  # fmt: skip
    assert await rows(face, namespace="nowhere") == []


async def test_all_pods_of_a_namespace_add_up_to_its_emissions(face: Face) -> None:
    answer = (await get(face, "runs", namespace="team-a", unlabelled=True)).json()
    emissions = (await get(face, "emissions", filter="namespace=team-a", by="namespace")).json()["rows"]
    (own,) = [row for row in emissions if row["namespace"] == "team-a"]
    for figure in ("energy_uj", "location_ug", "market_ug", "embodied_ug"):
        assert sum(int(row[figure]) for row in answer["rows"]) == int(answer["total"][figure]) == int(own[figure])
    assert answer["total"]["pods"] == 5


@pytest.mark.parametrize("token", [LEAD, TENANT])
async def test_stages_are_what_each_of_them_alone_has_and_add_up_to_the_total(face: Face, token: str) -> None:
    odd = {MODEL: "chat", STAGE: "play"}
    for hour, labels in ((0, {RUN: "exp-1", STAGE: "evaluation"}), (2, odd)):  # a stage of the same run; an unknown one
        report = a_report(HOUR + hour * 3600, "node-9", {f"odd-{hour}": 10**9}, labels=labels, namespace="team-a")
        assert (await face.report(report, "node:node-9")).status_code == 200
    answer = (await get(face, "runs", token, namespace="team-a", unlabelled=True)).json()
    assert RunsAnswer.model_validate(answer)
    assert [its["stage"] for its in answer["stages"]] == ["training", "evaluation", "inference", None]
    for its in answer["stages"]:
        if its["stage"]:
            alone = await get(face, "runs", token, namespace="team-a", unlabelled=True, stage=its["stage"])
            assert {"stage": its["stage"], **alone.json()["total"]} == {**its, "pods": alone.json()["total"]["pods"]}
    for figure in ("energy_uj", "location_ug", "market_ug", "embodied_ug"):
        assert sum(int(its[figure]) for its in answer["stages"]) == int(answer["total"][figure])


async def test_emissions_by_model_and_by_run_are_of_their_namespace(face: Face) -> None:
    by_model = (await get(face, "emissions", by="model")).json()["rows"]
    pairs = {(row["namespace"], row["model"]): int(row["energy_uj"]) for row in by_model}
    assert {("team-a", "chat"), ("team-b", "secret"), ("team-a", "__unlabelled__")} <= set(pairs)
    chat = await rows(face, model="chat", unlabelled=True, namespace="team-a")
    assert sum(int(row["energy_uj"]) for row in chat) == pairs["team-a", "chat"]  # failed runs count for their model
    allocation = await face.client.get(
        "/v1/allocation", params={"from": HOUR, "to": HOUR + 4 * 3600, "group_by": "run"},
        headers={"Authorization": f"Bearer {LEAD}"},
    )  # fmt: skip
    keys = [row["key"] for row in allocation.json()["rows"]]
    assert {"namespace": "team-a", "run": "exp-1"} in keys
    assert {"namespace": "team-b", "run": "exp-1"} in keys


async def test_one_run_has_its_hours_which_add_up_to_it(face: Face) -> None:
    answer = await get(face, "runs/team-a/exp-1", TENANT)
    detail = answer.json()
    assert RunDetail.model_validate(detail)
    assert [row["start"] for row in detail["rows"]] == ["2025-11-24T16:00:00Z", "2025-11-24T17:00:00Z"]
    assert sum(int(row["location_ug"]) for row in detail["rows"]) == int(detail["run"]["location_ug"])
    missing = await get(face, "runs/team-a/exp-9", TENANT)
    assert (missing.status_code, missing.json()["kind"]) == (404, "not_found")
    assert "pod template" in missing.json()["detail"]


async def test_pages_have_all_runs_once_and_other_formats_the_same(face: Face) -> None:
    whole = await rows(face, namespace="team-a,team-b", unlabelled=True)
    for limit in (1, 2, 4):
        found, cursor = [], ""
        while cursor is not None:
            answer = (
                await get(face, "runs", namespace="team-a,team-b", unlabelled=True, limit=limit, cursor=cursor)
            ).json()
            found += answer["rows"]
            cursor = answer["next"]
        assert found == whole
    text = (await get(face, "runs", format="csv")).text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [(row["namespace"], row["run"]) for row in table] == [
        ("team-a", "exp-1"), ("team-a", "exp-2"), ("team-b", "exp-1"),
    ]  # fmt: skip
    assert text.startswith("namespace,run,model,model_version,stage,pods,start,end,state,")
    lines = (await get(face, "runs/team-a/exp-1", format="ndjson")).text.splitlines()
    assert len(lines) == 2
    assert (await get(face, "runs", format="csv", limit=1)).status_code == 422


async def test_the_same_answer_is_not_sent_twice(face: Face) -> None:
    for path in ("runs", "runs/team-a/exp-1"):
        first = await get(face, path)
        assert (await get(face, path, tag=first.headers["ETag"])).status_code == 304
        assert (await get(face, path, TENANT, tag=first.headers["ETag"])).status_code == (
            200 if path == "runs" else 304
        )
    report = a_report(HOUR + 2 * 3600, "node-3", {"late": 5}, labels={RUN: "exp-2"})
    first = await get(face, "runs")
    assert (await face.report(report, "node:node-3")).status_code == 200
    assert (await get(face, "runs", tag=first.headers["ETag"])).status_code == 200


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("runs", {"window": "soon"}), ("runs", {"window": "401d"}), ("runs", {"labels": "x!=1"}),
        ("runs", {"labels": "x in (1)"}), ("runs", {"labels": "x=1,x=2"}), ("runs", {"model": "a/b"}),
        ("runs", {"labels": f"{MODEL}=a", "model": "b"}), ("runs", {"unlabelled": True}), ("runs", {"bogus": 1}),
        ("runs", {"labels": ",".join(f"k{i}=v" for i in range(11))}), ("runs", {"cursor": "WzFd"}),
        ("runs/team-a/a%22b", {}), ("runs/Team/x", {}), ("runs/team-a/x", {"window": "36d"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_refused_in_one_sentence(
    face: Face, path: str, params: dict[str, object]
) -> None:
    answer = await get(face, path, **params)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("idle_uj", [0, 10**9])
async def test_a_run_that_tells_its_progress_has_what_is_expected_at_its_end(
    face: Face, tmp_path: Path, idle_uj: int
) -> None:
    """With the same part of idle energy in what is left as in what it has."""
    begins = HOUR + 4 * 3600
    face.clock[0] = begins + 600
    for minute in range(10):
        report = a_report(begins + 60 * minute, "node-1", {"new": 10**9}, -1, 0, idle_uj, labels={RUN: "exp-9"})
        assert (await face.report(report, "node:node-1")).status_code == 200
    window = f"{HOUR},{begins + 3600}"
    before = await get(face, "runs/team-a/exp-9", window=window)
    assert RunDetail.model_validate(before.json()).expected is None
    tag = before.headers["ETag"]
    assert (await get(face, "runs/team-a/exp-9", tag=tag, window=window)).status_code == 304
    store = SpanStore(open_ledger(f"sqlite:///{tmp_path}/ledger.db"), "default", 100)
    for done in range(3):
        progress = ProgressPoint("epoch", done, 20, (begins + 300 * done) * 1000)
        assert store.store([Post("team-a", "new", "new", progress=progress)], int(face.clock[0])) == [True]
    answer = await get(face, "runs/team-a/exp-9", tag=tag, window=window)
    assert answer.status_code == 200  # the ledger's units are the same, and what is expected is not
    found = RunDetail.model_validate(answer.json())
    assert found.expected is not None
    assert found.expected.progress_percent == 10
    assert found.expected.ends_at == "2025-11-24T21:40:00Z"  # 18 epochs of five minutes after 20:10
    assert abs(found.expected.energy_kwh / found.run.energy_kwh - 10) < 0.5
    assert found.run.location_g < found.expected.location_low_g <= found.expected.location_g
    assert found.expected.location_g <= found.expected.location_high_g
    # Neither another run nor a window that is over, nor a file, has anything of it.
    other = await get(face, "runs/team-a/exp-1", window=window)
    past = await get(face, "runs/team-a/exp-9", window=f"{HOUR},{begins + 300}")
    assert (other.json()["expected"], other.status_code) == (None, 200)
    assert past.status_code == 200
    assert "expected" not in (await get(face, "runs/team-a/exp-9", window=window, format="csv")).text


async def test_a_claim_of_endless_steps_has_no_end_and_breaks_no_answer(face: Face, tmp_path: Path) -> None:
    begins = HOUR + 4 * 3600
    face.clock[0] = begins + 600
    for minute in range(10):
        report = a_report(begins + 60 * minute, "node-1", {"new": 10**9}, labels={RUN: "exp-9"}, namespace="team-a")
        assert (await face.report(report, "node:node-1")).status_code == 200
    store = SpanStore(open_ledger(f"sqlite:///{tmp_path}/ledger.db"), "default", 100)
    for done in range(3):
        progress = ProgressPoint("epoch", done, 2**40, (begins + 300 * done) * 1000)
        assert store.store([Post("team-a", "new", "new", progress=progress)], int(face.clock[0])) == [True]
    answer = await get(face, "runs/team-a/exp-9", window=f"{HOUR},{begins + 3600}")
    found = RunDetail.model_validate(answer.json())
    assert found.expected is not None
    assert (found.expected.progress_percent, found.expected.ends_at) == (0, None)
