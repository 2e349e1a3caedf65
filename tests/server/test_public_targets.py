"""GET /api/v1/targets and /clustertargets: each target for those who may get budgets where it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.server.server_face import Face, a_face
from tests.server.target_objects import BY, END, START, a_target, a_target_status

from carbonbudget_operator.api.target_bodies import TargetDetail, TargetHistory, TargetsAnswer
from carbonbudget_operator.api.wire_names import TARGET
from carbonbudget_operator.server.public.target_api_rows import target_detail, target_row

LEAD, TENANT, PLANNER = "user:lead@*", "user:dev@team-a", "user:planner@team-b,%cluster"
HOSTILE = ('=cmd|"/c calc"!A1', "<img src=x onerror=alert(1)>", "r" * 5_000)


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.api.objects = {
            "carbontargets": [
                a_target("team-b", "search", status={}),
                a_target("team-a", "chat"),
                a_target("team-a", "vision", unit="nonsense"),
            ],
            "clustercarbontargets": [
                a_target(
                    "", "all", status=a_target_status(state="Violated"), namespaceSelector={"matchLabels": {"x": "y"}},
                    unit={"name": "request", "source": {"query": "sum(requests)"}},
                )
            ],
        }  # fmt: skip
        yield made


async def get(face: Face, path: str, token: str = LEAD, tag: str = "", **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-None-Match": tag} if tag else {})
    return await face.client.get(f"/api/v1/{path}", params=params, headers=headers)  # type: ignore[arg-type] # numbers


async def names(face: Face, token: str, **params: object) -> list[str]:
    answer = await get(face, "targets", token, **params)
    assert answer.status_code == 200, answer.text
    return [f"{row.namespace or ''}/{row.name}" for row in TargetsAnswer(**answer.json()).rows]


async def test_each_caller_is_shown_the_targets_where_it_may_get_budgets(face: Face) -> None:
    assert await names(face, LEAD) == ["team-a/chat", "team-a/vision", "team-b/search", "/all"]
    assert await names(face, TENANT) == ["team-a/chat", "team-a/vision"]
    assert await names(face, PLANNER) == ["team-b/search", "/all"]
    assert await names(face, "user:nobody@team-c") == []
    assert (await get(face, "targets", "nonsense")).status_code == 401


async def test_a_namespace_that_may_not_be_read_is_refused_and_states_are_filtered(face: Face) -> None:
    assert await names(face, TENANT, namespace="team-a") == ["team-a/chat", "team-a/vision"]
    assert (await get(face, "targets", TENANT, namespace="team-b")).status_code == 403
    assert await names(face, LEAD, state="Behind") == ["team-a/chat"]
    assert await names(face, LEAD, state="Violated") == ["/all"]
    assert (await get(face, "targets", LEAD, state="Exceeded")).status_code == 400
    assert (await get(face, "targets", LEAD, nmespace="team-a")).status_code == 400


@pytest.mark.parametrize("ending", ["", "/history"])
async def test_a_target_that_may_not_be_read_answers_as_one_that_does_not_exist(face: Face, ending: str) -> None:
    hidden = await get(face, f"targets/team-b/search{ending}", TENANT)
    missing = await get(face, f"targets/team-b/never{ending}", TENANT)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json()["detail"].replace("search", "never") == missing.json()["detail"]
    answer = await get(face, f"clustertargets/all{ending}", TENANT)
    assert answer.status_code == 404
    assert (
        answer.json()["detail"] == "ClusterCarbonTarget all is not shown: dev@team-a may not get clustercarbonbudgets"
    )
    there_is_none = (await get(face, f"clustertargets/never{ending}", PLANNER)).json()["detail"]
    assert there_is_none == "there is no ClusterCarbonTarget never; one of a namespace is NAMESPACE/never"
    assert (await get(face, f"clustertargets/all{ending}", PLANNER)).status_code == 200
    assert (await get(face, f"targets/team-a/chat{ending}", TENANT)).status_code == 200
    for path in ("targets/Team_A/x", "targets/team-a/x,metadata.name=chat", "clustertargets/A"):
        assert (await get(face, f"{path}{ending}", LEAD)).status_code == 404


async def test_one_target_is_its_spec_and_status(face: Face) -> None:
    found = TargetDetail(**(await get(face, "targets/team-a/chat", TENANT)).json())
    assert (found.kind, found.namespace, found.name, found.state) == ("CarbonTarget", "team-a", "chat", "Behind")
    assert (found.unit, found.per, found.source) == ("tokens", 1_000_000, "preset vLLMOutputTokens")
    assert (found.reduction_percent, found.by, found.path, found.tolerance_percent) == (20, BY, "Linear", 5)
    assert (found.current_g, found.current_ug, found.expected_g, found.baseline_g) == (42.5, "42500000", 41, 50)
    assert (found.change_percent, found.at_baseline_grid_g, found.units) == (-15, 44, "2000000")
    assert (found.emissions_ug, found.embodied_ug, found.energy_uj) == ("85000001", "5000000", "900000000000")
    assert (found.hours_percent, found.measured_percent, found.coverage_percent) == (98, 96, 100)
    assert (found.window_start, found.window_end, found.current) == (START, END, True)
    assert (found.ready, found.units_available, found.selector) == (True, False, "app=chat")
    assert found.baseline is not None
    assert (found.baseline.per_unit_ug, found.baseline.start, found.baseline.restated) == ("50000000", START, "49g")
    assert found.baseline.method == ["carbon.pue 1.4"]
    assert [one.type for one in found.conditions] == ["Ready", "UnitsAvailable"]
    cluster = TargetDetail(**(await get(face, "clustertargets/all", PLANNER)).json())
    assert (cluster.kind, cluster.namespace, cluster.source) == ("ClusterCarbonTarget", None, "query sum(requests)")
    assert cluster.namespace_selector == "x=y"


def test_a_stepped_path_has_its_steps_in_the_order_of_time_and_another_has_none() -> None:
    steps = [{"by": "2025-12-15T00:00:00+01:00", "reduction": 5}, {"by": "2026-02-01T00:00:00Z", "reduction": 12}]
    body = a_target(target={"reduction": 20, "by": BY, "path": "Stepped", "steps": steps})
    assert target_detail(TARGET, body)["steps"] == [
        {"by": "2025-12-14T23:00:00Z", "reduction_percent": 5},
        {"by": "2026-02-01T00:00:00Z", "reduction_percent": 12},
    ]
    assert target_detail(TARGET, a_target())["steps"] == []
    assert target_detail(TARGET, a_target(unit="nonsense"))["steps"] == []


async def test_history_has_what_was_saved_and_the_windows_without_a_baseline(face: Face) -> None:
    first, second = TargetHistory(**(await get(face, "targets/team-a/chat/history")).json()).rows
    assert (first.per_unit_ug, first.expected_g, first.state) == ("45000000", 46, "OnTrack")
    assert (first.saved_ug, first.absolute_fall_ug, first.saved_uj, first.money) == ("10000000", "-7", "5", "1 EUR")
    assert (second.saved_ug, second.money, second.state) == (None, None, "Behind")


async def test_a_target_that_was_never_evaluated_or_cannot_be_read_is_all_null(face: Face) -> None:
    rows = {row["name"]: row for row in (await get(face, "targets")).json()["rows"]}
    assert (rows["search"]["state"], rows["search"]["current_ug"], rows["search"]["unit"]) == (None, None, "tokens")
    assert (rows["vision"]["state"], rows["vision"]["unit"], rows["vision"]["by"]) == (None, None, None)
    assert TargetDetail(**(await get(face, "targets/team-a/vision")).json()).source is None


async def test_pages_formats_and_tags(face: Face) -> None:
    found: list[str] = []
    cursor = ""
    while True:
        page = TargetsAnswer(**(await get(face, "targets", limit=2, cursor=cursor)).json())
        found += [row.name for row in page.rows]
        if page.next is None:
            break
        cursor = page.next
    assert found == ["chat", "vision", "search", "all"]
    assert (await get(face, "targets", cursor="nonsense")).status_code == 400
    lines = (await get(face, "targets", format="ndjson")).text.splitlines()
    assert [json.loads(line)["name"] for line in lines] == found
    table = list(csv.DictReader(io.StringIO((await get(face, "targets", format="csv")).text)))
    assert [row["current_ug"] for row in table] == ["42500000", "", "", "42500000"]
    assert (await get(face, "targets", format="csv", limit=1)).status_code == 422
    answer = await get(face, "targets")
    assert (await get(face, "targets", tag=answer.headers["ETag"])).status_code == 304
    assert (await get(face, "targets", TENANT, tag=answer.headers["ETag"])).status_code == 200


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_bounded_and_no_number(text: str) -> None:
    body = a_target(
        unit={"name": "x", "source": {"client": text[:120]}}, status=a_target_status(message=text, change=text)
    )
    row = target_row(TARGET, body)
    assert (row["change_percent"], len(str(row["message"])) <= 2_000) == (None, True)
    assert target_detail(TARGET, body)["source"] == f"client {text[:120]}"


@pytest.mark.parametrize("written", ["nan", "inf", "-1e400", "1_0", "12.5"])
def test_a_change_that_json_cannot_have_is_null(written: str) -> None:
    found = target_row(TARGET, a_target(status=a_target_status(change=written)))["change_percent"]
    assert found in (None, 10.0, 12.5)
    json.dumps(found, allow_nan=False)


async def test_without_the_kinds_the_api_server_is_the_reason(face: Face) -> None:
    face.api.up = False
    answer = await get(face, "targets")
    assert answer.status_code == 503
