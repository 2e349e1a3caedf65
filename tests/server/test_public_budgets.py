"""GET /api/v1/budgets and /clusterbudgets: each budget for those who may get it in the API server."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.budget_objects import END, START, a_budget, a_status
from tests.server.server_face import Face, a_face

from carbonbudget_operator.api.budget_bodies import BudgetDetail, BudgetHistory, BudgetsAnswer
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.server.public.budget_api_rows import budget_row
from carbonbudget_operator.server.public.paging import cut, read_cursor

LEAD, TENANT, PLANNER = "user:lead@*", "user:dev@team-a", "user:planner@team-b,%cluster"
BUDGETS = "/apis/carbonbudget.dev/v1alpha1/carbonbudgets"
HOSTILE = ('=cmd|"/c calc"!A1', "<img src=x onerror=alert(1)>", "\u202egpj.exe", "r" * 5_000)


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.api.objects = {
            "carbonbudgets": [
                a_budget("team-b", "weekly", period="Week", status={}),
                a_budget("team-a", "monthly"),
                a_budget("team-a", "runs", per="Workload", limit="nonsense"),
            ],
            "clustercarbonbudgets": [
                a_budget("", "all", status=a_status(state="Exceeded", namespaces=["team-a", "team-c"]))
            ],
        }
        yield made


async def get(face: Face, path: str, token: str = LEAD, tag: str = "", **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-None-Match": tag} if tag else {})
    return await face.client.get(f"/api/v1/{path}", params=params, headers=headers)  # type: ignore[arg-type] # numbers


async def names(face: Face, token: str, **params: object) -> list[str]:
    answer = await get(face, "budgets", token, **params)
    assert answer.status_code == 200, answer.text
    return [f"{row['namespace'] or ''}/{row['name']}" for row in BudgetsAnswer(**answer.json()).model_dump()["rows"]]


async def test_each_caller_is_shown_the_budgets_that_it_may_get(face: Face) -> None:
    assert await names(face, LEAD) == ["team-a/monthly", "team-a/runs", "team-b/weekly", "/all"]
    assert await names(face, TENANT) == ["team-a/monthly", "team-a/runs"]
    assert await names(face, PLANNER) == ["team-b/weekly", "/all"]
    assert await names(face, "user:nobody@team-c") == []
    assert (await get(face, "budgets", "nonsense")).status_code == 401


async def test_a_namespace_that_may_not_be_read_is_refused_and_never_shows_another(face: Face) -> None:
    assert await names(face, LEAD, namespace="team-a") == ["team-a/monthly", "team-a/runs"]
    assert await names(face, TENANT, namespace="team-a") == ["team-a/monthly", "team-a/runs"]
    assert (await get(face, "budgets", TENANT, namespace="team-b")).status_code == 403
    assert await names(face, LEAD, state="Warning") == ["team-a/monthly", "team-a/runs"]
    assert await names(face, LEAD, state="Exceeded") == ["/all"]
    assert (await get(face, "budgets", LEAD, state="Bad")).status_code == 400


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
async def test_an_instant_without_a_year_in_utc_is_null_and_leaves_the_others(face: Face, odd: str) -> None:
    history = [
        {"start": START, "end": odd, "used": "1kg", "limit": "5kg"},
        {"start": START, "end": END, "used": "2kg", "limit": "5kg"},
    ]
    status = a_status(exhaustedAt=odd, period={"start": START, "end": odd}, history=history)
    face.api.objects["carbonbudgets"].append(a_budget("team-a", "odd", status=status))
    assert "team-a/odd" in await names(face, LEAD)
    detail = BudgetDetail(**(await get(face, "budgets/team-a/odd")).json())
    assert (detail.exhausted_at, detail.period_start, detail.period_end) == (None, START, None)
    (former,) = BudgetHistory(**(await get(face, "budgets/team-a/odd/history")).json()).rows
    assert (former.end, former.used_g) == (END, 2000)


@pytest.mark.parametrize("ending", ["", "/history"])
async def test_a_budget_that_may_not_be_read_answers_as_one_that_does_not_exist(face: Face, ending: str) -> None:
    hidden = await get(face, f"budgets/team-b/weekly{ending}", TENANT)
    missing = await get(face, f"budgets/team-b/never{ending}", TENANT)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json()["detail"].replace("weekly", "never") == missing.json()["detail"]
    assert (await get(face, f"clusterbudgets/all{ending}", TENANT)).status_code == 404
    assert (await get(face, f"clusterbudgets/all{ending}", PLANNER)).status_code == 200
    assert (await get(face, f"budgets/team-a/monthly{ending}", TENANT)).status_code == 200
    assert (await get(face, f"budgets/team-a/never{ending}", LEAD)).status_code == 404
    for path in ("budgets/Team_A/x", "budgets/team-a/x,metadata.name=monthly", "clusterbudgets/A"):
        assert (await get(face, f"{path}{ending}", LEAD)).status_code == 404


async def test_one_budget_is_its_spec_and_status(face: Face) -> None:
    found = BudgetDetail(**(await get(face, "budgets/team-a/monthly", TENANT)).json())
    assert (found.kind, found.namespace, found.name, found.state) == ("CarbonBudget", "team-a", "monthly", "Warning")
    assert (found.limit_g, found.limit_ug, found.used_g, found.used_ug) == (
        5000, "5000000000", 4100.123456, "4100123456",
    )  # fmt: skip
    assert (found.forecast_g, found.percent_used, found.dynamic_g, found.embodied_g) == (5300, 82, 2900, None)
    assert (found.period, found.period_start, found.period_end, found.time_zone) == ("Month", START, END, "UTC")
    assert (found.ready, found.data_complete, found.current, found.include) == (
        True, False, True, "Dynamic,Idle,Overhead",
    )  # fmt: skip
    assert [(one.name, one.used_g, one.percent_used) for one in found.top_workloads] == [("train", 2100, 42)]
    cluster = BudgetDetail(**(await get(face, "clusterbudgets/all", PLANNER)).json())
    assert (cluster.kind, cluster.namespace, cluster.namespaces) == ("ClusterCarbonBudget", None, ["team-a", "team-c"])


async def test_selectors_and_thresholds_are_shown_as_people_write_them(face: Face) -> None:
    expressions = [
        {"key": "app", "operator": "In", "values": ["x", "y"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "gpu", "operator": "Exists"},
    ]
    face.api.objects["carbonbudgets"] = [
        a_budget(
            selector={"matchLabels": {"team": "ml"}, "matchExpressions": expressions},
            thresholds=[{"at": 90, "action": "Block"}],
        )
    ]
    found = (await get(face, "budgets/team-a/monthly")).json()
    assert found["selector"] == "team=ml,app in (x, y),!old,gpu"
    assert found["thresholds"] == [{"at_percent": 90, "action": "Block", "basis": "Used"}]


async def test_what_cannot_be_read_of_a_budget_is_null(face: Face) -> None:
    rows = {row["name"]: row for row in (await get(face, "budgets")).json()["rows"]}
    assert (rows["runs"]["limit_g"], rows["runs"]["limit_ug"], rows["runs"]["per"]) == (None, None, "Workload")
    assert (rows["weekly"]["state"], rows["weekly"]["used_ug"], rows["weekly"]["ready"]) == (None, None, None)
    face.api.objects["carbonbudgets"] = [
        {"metadata": {"namespace": "team-a", "name": "bad"}, "spec": {"limit": 5}, "status": {"state": 1}},
        a_budget("team-a", "odd", status={"state": "Later", "usedMicrograms": "x"}),
    ]
    for name, limit in (("bad", None), ("odd", 5000)):
        found = (await get(face, f"budgets/team-a/{name}")).json()
        assert (found["name"], found["limit_g"], found["state"]) == (name, limit, None)


async def test_a_period_that_is_over_is_in_the_history(face: Face) -> None:
    found = BudgetHistory(**(await get(face, "budgets/team-a/monthly/history", TENANT)).json())
    (row,) = found.rows
    assert (row.start, row.end, row.used_g, row.limit_g, row.percent_used) == (
        "2025-10-01T00:00:00Z", START, 4700, 5000, 94,
    )  # fmt: skip
    text = (await get(face, "budgets/team-a/monthly/history", TENANT, format="csv")).text
    assert text == f"start,end,used_g,limit_g,percent_used\r\n2025-10-01T00:00:00Z,{START},4700.0,5000.0,94\r\n"


async def test_the_api_server_is_asked_at_most_every_ten_seconds(face: Face) -> None:
    for token in (LEAD, TENANT, PLANNER):
        await names(face, token)
        await get(face, "budgets/team-a/monthly", LEAD)
    assert sorted(face.api.lists) == [
        BUDGETS, BUDGETS.replace("/carbonbudgets", "/clustercarbonbudgets"),
        BUDGETS.replace("carbonbudgets", "namespaces/team-a/carbonbudgets") + " monthly",
    ]  # fmt: skip


async def test_nothing_is_listed_for_who_may_not_read_it(face: Face) -> None:
    await get(face, "budgets/team-b/weekly", TENANT)
    await get(face, "clusterbudgets/all", TENANT)
    assert face.api.lists == []


async def test_an_answer_that_did_not_change_is_not_sent_again(face: Face) -> None:
    for path in ("budgets", "budgets/team-a/monthly", "budgets/team-a/monthly/history"):
        first = await get(face, path)
        again = await get(face, path, tag=first.headers["ETag"])
        assert (again.status_code, again.content) == (304, b"")
        assert "Authorization" in first.headers["Vary"]
    assert (await get(face, "budgets", TENANT)).headers["ETag"] != (await get(face, "budgets")).headers["ETag"]


async def test_while_the_api_server_is_away_the_answer_says_so(face: Face) -> None:
    await names(face, LEAD, namespace="team-a")  # the token and the right are known
    face.api.up = False
    answer = await get(face, "budgets/team-a/monthly")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "carbonbudgets" in answer.json()["detail"]


async def test_text_of_budgets_runs_in_no_spreadsheet_and_is_cut(face: Face) -> None:
    face.api.objects["carbonbudgets"] = [
        a_budget("team-a", f"b{n}", status=a_status(message=text)) for n, text in enumerate(HOSTILE)
    ]
    rows = list(csv.DictReader(io.StringIO((await get(face, "budgets", TENANT, format="csv")).text)))
    assert [row["message"] for row in rows[:3]] == [f"'{HOSTILE[0]}", *HOSTILE[1:3]]
    assert len(rows[3]["message"]) == 2_000
    lines = (await get(face, "budgets", TENANT, format="ndjson")).text.splitlines()
    assert [json.loads(line)["message"] for line in lines[:3]] == list(HOSTILE[:3])


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_pages_of_budgets_add_up_to_the_whole(face: Face, limit: int) -> None:
    whole, found, cursor = await names(face, LEAD), [], ""
    while cursor is not None:
        page = (await get(face, "budgets", limit=limit, cursor=cursor)).json()
        assert len(page["rows"]) <= limit
        found += [f"{row['namespace'] or ''}/{row['name']}" for row in page["rows"]]
        cursor = page["next"]
    assert found == whole
    many = await get(face, "budgets", limit=3, format="csv")
    assert (many.status_code, "limit" in many.json()["detail"]) == (422, True)
    assert (await get(face, "budgets", cursor="WzFd")).status_code == 400


async def test_a_thousand_budgets_are_read_in_pages(face: Face) -> None:
    face.api.objects["carbonbudgets"] = [a_budget(f"team-{n % 7}", f"b{n}") for n in range(1_200)]
    assert len(await names(face, LEAD, limit=2_000)) == 1_201
    assert face.api.lists.count(BUDGETS) == 3


@given(
    budgets=st.sets(st.tuples(st.sampled_from(["", "team-a", "team-b", "z"]), st.text(max_size=5)), max_size=30),
    limit=st.integers(1, 12),
)
def test_pages_of_any_budgets_add_up_to_the_whole(budgets: set[tuple[str, str]], limit: int) -> None:
    """Names that no object can have are names too: a cursor must bring each of them back as it is."""
    kinds = {one: BUDGET if one[0] else CLUSTER_BUDGET for one in budgets}
    rows = [((kind.kind, *one), budget_row(kind, a_budget(*one))) for one, kind in kinds.items()]
    rows.sort(key=lambda pair: pair[0])
    found, cursor = [], ""
    while cursor is not None:
        page, cursor = cut(rows, read_cursor(cursor, (str, str, str)), limit)  # type: ignore[assignment] # None ends it
        assert len(page) <= limit
        found += page
    assert found == [row for _, row in rows]
