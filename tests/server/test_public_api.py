"""GET /api/v1: whom it answers, in which forms, and that no tenant reads another's names."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from openapi_spec_validator import validate
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.node_coverage import store_listed
from carbonbudget_operator.server.public.row_formats import render
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps

LEAD, TENANT, OTHER = "user:lead@*", "user:dev@team-a", "user:dev@team-b"
WINDOW = f"{HOUR},{HOUR + 7200}"
EMISSIONS = "/api/v1/emissions"

ENDINGS = ("", "/series", "/history")


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7200
        made.api.namespaces = {"team-a", "team-b", "secret-project"}
        for start, namespace in ((HOUR, "team-a"), (HOUR + 60, "team-b"), (HOUR + 3600, "team-a")):
            pods = {f"{namespace}-pod": 3_600_000_000 * (1 if start == HOUR else 2)}
            labels = {"team": namespace, "app": "a"}
            report = a_report(start, pods=pods, namespace=namespace, labels=labels)
            assert (await made.report(report)).status_code == 200
        yield made


async def get(face: Face, path: str = EMISSIONS, token: str = LEAD, **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | {
        key: str(params.pop(key)) for key in list(params) if key.startswith("If-")
    }
    return await face.client.get(
        path, params={"window": WINDOW} | params if path == EMISSIONS else params, headers=headers
    )


async def rows(face: Face, token: str = LEAD, **params: object) -> list[dict[str, Any]]:
    answer = await get(face, EMISSIONS, token, **params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


async def test_the_whole_cluster_by_namespace_is_what_the_allocation_says(face: Face) -> None:
    answer = (await get(face)).json()
    headers = {"Authorization": f"Bearer {LEAD}"}
    allocation = await face.client.get("/v1/allocation", params={"from": HOUR, "to": HOUR + 7200}, headers=headers)
    wanted = {row["key"]["namespace"]: row for row in allocation.json()["rows"]}
    assert {row["namespace"] for row in answer["rows"]} == set(wanted) >= {"team-a", "team-b", "__idle__"}
    for row in answer["rows"]:
        for figure in ("energy_uj", "location_ug", "market_ug", "embodied_ug"):
            assert row[figure] == str(wanted[row["namespace"]][figure]), (row, figure)
    assert answer["total"]["energy_uj"] == str(allocation.json()["total"]["energy_uj"])
    assert (answer["start"], answer["end"], answer["namespaces"]) == (
        "2025-11-24T16:00:00Z",
        "2025-11-24T18:00:00Z",
        None,
    )


async def test_the_steps_of_a_window_add_up_to_it(face: Face) -> None:
    whole = {row["namespace"]: int(row["location_ug"]) for row in await rows(face)}
    for step in ("hour", "day", "week", "month"):
        sums: dict[str, int] = {}
        for row in await rows(face, step=step):
            sums[row["namespace"]] = sums.get(row["namespace"], 0) + int(row["location_ug"])
        assert sums == whole, step
    assert len({row["start"] for row in await rows(face, step="hour")}) == 2


async def test_pages_add_up_to_the_whole(face: Face) -> None:
    whole = await rows(face, step="hour", by="namespace,label:team")
    assert len(whole) > 3
    for limit in (1, 2, 3, len(whole)):
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = (await get(face, step="hour", by="namespace,label:team", limit=limit, cursor=cursor)).json()
            found += page["rows"]
            assert len(page["rows"]) <= limit
            if page["next"] is None:
                break
            cursor = page["next"]
        assert found == whole


async def test_a_tenant_reads_its_own_rows_and_no_byte_of_anothers(face: Face) -> None:
    for params in (
        {},
        {"by": "workload"},
        {"by": "label:team"},
        {"step": "hour"},
        {"format": "csv"},
        {"format": "ndjson"},
    ):
        answer = await get(face, token=TENANT, **params)
        assert answer.status_code == 200
        everything = answer.text + str(answer.headers)
        assert "team-a" in everything or params.get("by") == "workload"
        for foreign in ("team-b", "secret-project", "__idle__", "__system__", "node-1"):
            assert foreign not in everything, params
    whole = {row["namespace"]: row for row in await rows(face)}
    (own,) = await rows(face, TENANT)
    assert own == whole["team-a"]
    assert (await get(face, "/api/v1/whoami", TENANT)).json() == {
        "user": "dev@team-a", "groups": ["g"], "token": None, "all_namespaces": False, "namespaces": ["team-a"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [{"filter": "namespace=team-b"}, {"by": "node"}, {"filter": "node=node-1"}, {"filter": "namespace=nowhere"}],
)
async def test_what_a_tenant_may_not_read_is_forbidden(face: Face, params: dict[str, str]) -> None:
    answer = await get(face, token=TENANT, **params)
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")


async def test_who_may_read_no_namespace_gets_no_rows(face: Face) -> None:
    assert (await get(face, token="user:nobody@")).status_code == 403
    assert (await get(face, token="nonsense")).status_code == 401
    assert (await get(face, token="user:foreign@*")).status_code == 401


async def test_errors_are_problem_details(face: Face) -> None:
    for params, status in (
        ({"window": "soon"}, 400), ({"step": "minute"}, 400), ({"by": "pod"}, 400), ({"filter": "namespace"}, 400),
        ({"cursor": "x"}, 400), ({"cursor": "WyJ4Il0="}, 400), ({"limit": 0}, 400), ({"nonsense": "1"}, 400),
        ({"compare": "previous", "step": "day"}, 400), ({"window": "2000-01-01,2026-01-01"}, 400),
        ({"window": "7d", "from": "2026-01-01"}, 400), ({"window": f"{HOUR},{HOUR}"}, 400),
        ({"window": "999999999999,1000000003599"}, 400), ({"window": "", "to": "2026-01-01"}, 400),
    ):  # fmt: skip
        answer = await get(face, **params)  # type: ignore[arg-type] # parameters
        assert answer.status_code == status, (params, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert set(problem) == {"type", "title", "status", "detail", "kind"}
        assert problem["status"] == status
        assert "\n" not in problem["detail"]


async def test_an_unchanged_answer_is_not_sent_again(face: Face) -> None:
    first = await get(face, step="hour")
    tag = first.headers["ETag"]
    again = await get(face, step="hour", **{"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    tags = {tag}
    for token, params in (
        (LEAD, {"step": "day"}), (TENANT, {"step": "hour"}), (LEAD, {"step": "hour", "format": "csv"}),
        (LEAD, {"step": "hour", "limit": 1}), (LEAD, {"step": "hour", "accounting": "MarketBased"}),
    ):  # fmt: skip
        answer = await get(face, token=token, **params, **{"If-None-Match": tag})  # type: ignore[arg-type]
        assert answer.status_code == 200, params
        tags.add(answer.headers["ETag"])
    assert len(tags) == 6
    assert (await face.report(a_report(HOUR + 3660, namespace="team-a"))).status_code == 200
    assert (await get(face, step="hour", **{"If-None-Match": tag})).status_code == 200


async def test_a_tag_stands_as_long_as_nothing_changed_however_late_it_is(face: Face) -> None:
    face.clock[0] = HOUR + 3 * 86_400 + 600
    tag = (await get(face, window="7d")).headers["ETag"]
    face.clock[0] += 61
    assert (await get(face, window="7d", **{"If-None-Match": tag})).status_code == 304


async def test_a_node_that_is_listed_and_does_not_report_is_a_new_version(face: Face) -> None:
    """No fact changes, and coverage falls all the same."""
    first = await get(face, window="7d", step="all")
    store_listed(face.engine, "default", {"silent": "uid-1"}, HOUR)
    store_listed(face.engine, "default", {"silent": "uid-1"}, face.clock[0])
    again = await get(face, window="7d", step="all", **{"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert again.json()["rows"][0]["coverage_percent"] < first.json()["rows"][0]["coverage_percent"]
    tag = again.headers["ETag"]
    store_listed(face.engine, "default", {"silent": "uid-1"}, face.clock[0] + 120)  # the same list, read again
    assert (await get(face, window="7d", step="all", **{"If-None-Match": tag})).status_code == 304


async def test_a_late_report_into_the_window_before_is_a_new_version(face: Face) -> None:
    """The window before is that of the whole hours which are covered: 17:30 to 17:59 covers an hour."""
    params = {"window": f"{HOUR + 5400},{HOUR + 7140}", "compare": "previous"}
    first = await get(face, **params)
    assert (await face.report(a_report(HOUR + 120, pods={"late": 9_000_000}, namespace="team-a"))).status_code == 200
    again = await get(face, **params, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content != first.content) == (200, True)


async def test_a_node_that_lags_hides_nothing_that_others_reported(face: Face) -> None:
    """An hour that only one of two nodes has begun to report counts by hour as it does in the whole."""
    assert (await face.report(a_report(HOUR + 3540, "node-2", {"x": 8_000_000}), "node:node-2")).status_code == 200
    totals = {(await get(face, step=step)).json()["total"]["energy_uj"] for step in ("hour", "day", "all")}
    assert len(totals) == 1


async def test_a_tag_does_not_let_in_whom_the_right_was_taken(face: Face) -> None:
    tag = (await get(face)).headers["ETag"]
    assert (await get(face, token="user:nobody@", **{"If-None-Match": tag})).status_code == 403


async def test_the_three_formats_hold_the_same_rows(face: Face) -> None:
    wanted = await rows(face, by="namespace,label:app")
    lines = (await get(face, by="namespace,label:app", format="ndjson")).text.splitlines()
    assert [json.loads(line) for line in lines] == wanted
    table = list(csv.DictReader(io.StringIO((await get(face, by="namespace,label:app", format="csv")).text)))
    assert [row["location_ug"] for row in table] == [row["location_ug"] for row in wanted]


def test_no_spreadsheet_runs_a_cell() -> None:
    """Label values and names cannot begin so in Kubernetes; a format does not rely on it."""
    cells = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", 'a"b', "a,b", "-", "a=b"]
    columns = [f"c{number}" for number in range(len(cells))]
    text = render("csv", columns, [dict(zip(columns, cells, strict=True)) | {"n": -5}], {}).decode()
    (row,) = csv.reader(io.StringIO(text.split("\r\n", 1)[1], newline=""))
    assert row == [f"'{cell}" if cell[0] in "=+-@\t\r" else cell for cell in cells]
    assert render("csv", ["n"], [{"n": -5}], {}) == b"n\r\n-5\r\n"


async def test_one_way_of_accounting_can_be_asked_for(face: Face) -> None:
    (row, *_) = await rows(face, accounting="LocationBased")
    assert not any(name.startswith("market") for name in row)
    answer = await get(face, accounting="MarketBased", format="csv")
    assert not any(name.startswith("location") for name in answer.text.splitlines()[0].split(","))


async def test_the_window_before_stands_beside_and_in_no_total(face: Face) -> None:
    window = f"{HOUR + 3600},{HOUR + 7200}"
    alone = (await get(face, window=window)).json()
    both = (await get(face, window=window, compare="previous")).json()
    assert both["total"] == alone["total"]
    found = {row["namespace"]: row for row in both["rows"]}
    earlier = {row["namespace"]: row for row in await rows(face, window=f"{HOUR},{HOUR + 3600}")}
    assert found["team-a"]["previous_location_ug"] == earlier["team-a"]["location_ug"]
    assert (found["team-b"]["location_ug"], found["team-b"]["previous_location_ug"]) == (
        "0",
        earlier["team-b"]["location_ug"],
    )


async def test_the_components_add_up_to_the_whole_whether_units_are_stored_or_not(face: Face) -> None:
    more = a_report(HOUR + 120, pods={"p": 20 * 10**9}, idle_uj=10**10, system_uj=10**9)
    assert (await face.report(more)).status_code == 200
    for stored in (False, True):
        if stored:
            face.clock[0] = HOUR + 10 * 86_400
            upkeep = UpkeepSteps(face.pools.book, 90, 24)
            for _ in range(2):  # only what did not change in between is stored
                upkeep.begin(face.clock[0])
            while upkeep.step(face.clock[0]) is not None:
                pass
            with face.engine.connect() as connection:
                assert connection.scalar(sa.select(sa.func.count()).select_from(schema.valued_unit))
        whole = (await get(face)).json()
        parts = [(await get(face, include=name)).json() for name in ("Dynamic", "Idle", "Overhead")]
        for figure in ("energy_uj", "location_ug", "market_ug"):
            sums = [int(part["total"][figure]) for part in parts]
            assert sum(sums) == int(whole["total"][figure]), (stored, figure)
            assert min(sums) > 0
            two = (await get(face, include="Idle,Dynamic")).json()
            assert int(two["total"][figure]) == sums[0] + sums[1]
        for part in parts:
            assert part["total"]["embodied_ug"] == whole["total"]["embodied_ug"]
            assert [row["measured_percent"] for row in part["rows"]] == [
                row["measured_percent"] for row in whole["rows"]
            ]  # fmt: skip
    tags = {(await get(face, include=names)).headers["ETag"] for names in ("Dynamic", "Idle", "Idle,Dynamic")}
    assert len(tags) == 3
    assert (await get(face, include="Dynamic,Idle")).headers["ETag"] in tags
    for wrong in ("Embodied", "", "dynamic", "Dynamic,x"):
        assert (await get(face, include=wrong)).status_code == 400


@pytest.mark.parametrize("window", ["2000-01-01,2000-02-01", "2099-01-01,2099-01-02"])
async def test_a_window_without_data_has_no_rows(face: Face, window: str) -> None:
    answer = (await get(face, window=window)).json()
    assert (answer["rows"], answer["next"], answer["total"]["energy_uj"]) == ([], None, "0")


async def test_coverage_is_that_of_the_step(face: Face) -> None:
    percent = {row["start"]: row["coverage_percent"] for row in await rows(face, step="hour")}
    assert set(percent.values()) <= set(range(101))
    assert len(percent) == 2


async def test_the_status_is_for_those_who_may_read_the_whole_cluster(face: Face) -> None:
    assert (await get(face, "/api/v1/status", TENANT)).status_code == 403
    status = (await get(face, "/api/v1/status")).json()
    assert (status["cluster"], status["data_through"]) == ("default", "2025-11-24T17:01:00Z")


async def test_the_api_describes_itself(face: Face) -> None:
    document = (await get(face, "/api/v1/openapi.json")).json()
    validate(document)
    resources = ("emissions", "intensity", "factors", "nodes", "reports", "reports/{period}", "reports/{period}/closed")
    one = [f"{each}{ending}" for each in ("budgets/{namespace}/{name}", "clusterbudgets/{name}") for ending in ENDINGS]
    targets = [
        f"{each}{ending}"
        for each in ("targets/{namespace}/{name}", "clustertargets/{name}")
        for ending in ("", "/history")
    ]
    paths = (
        *resources, "whoami", "status", "external", "budgets", "targets", "runs", "runs/{namespace}/{run}", *one,
        *targets,
    )  # fmt: skip
    assert set(document["paths"]) == {f"/api/v1/{name}" for name in paths}
    assert document["openapi"].startswith("3.1")


async def test_a_cut_answer_is_never_taken_for_a_whole_one(face: Face) -> None:
    """CSV and NDJSON cannot name a next page."""
    for form in ("csv", "ndjson"):
        answer = await get(face, format=form, limit=1)
        assert (answer.status_code, answer.json()["kind"]) == (422, "unanswerable")
        assert (await get(face, format=form)).status_code == 200


async def test_until_the_pods_are_known_a_tenant_is_asked_to_come_again(face: Face) -> None:
    face.api.namespaces = None
    answer = await get(face, token=TENANT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert (await get(face, token=TENANT, filter="namespace=team-a")).status_code == 200
    assert (await get(face)).status_code == 200


async def test_a_search_through_all_namespaces_is_made_once_a_minute(face: Face) -> None:
    face.api.namespaces = {f"ns-{number}" for number in range(300)} | {"team-a"}
    answers = await asyncio.gather(*(get(face, token=TENANT) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    asked = face.api.rights
    assert asked < 320
    assert (await get(face, "/api/v1/whoami", TENANT)).json()["namespaces"] == ["team-a"]
    assert face.api.rights == asked
    face.api.namespaces = {f"ns-{number}" for number in range(1_001)}
    answer = await get(face, token="user:late@team-a")
    assert answer.status_code == 422
    assert "1001" not in answer.text  # how many there are is nobody's business


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/v1/nothing", 404), ("POST", EMISSIONS, 405)])
async def test_what_there_is_not_is_a_problem_too(face: Face, method: str, path: str, status: int) -> None:
    answer = await face.client.request(method, path, headers={"Authorization": f"Bearer {LEAD}"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert answer.json()["detail"].endswith(": /api/v1/openapi.json lists what there is")


async def test_stored_and_sealed_hours_give_the_same_answers_as_facts(face: Face) -> None:
    """Days, hours and what is sealed are read by other ways; a tenant's part of them by another statement."""
    asked = [
        (token, {"by": by, "step": step})
        for token in (LEAD, TENANT, OTHER)
        for by in ("namespace", "workload", "namespace,label:team")
        for step in ("hour", "day", "all")
    ]
    facts = [(await get(face, token=token, **params)).json() for token, params in asked]  # type: ignore[arg-type]
    for days, seals in ((2, False), (50, True)):
        steps = UpkeepSteps(face.pools.book, 35, 25)
        now = HOUR + days * 86_400
        steps.begin(now)
        steps.begin(now)  # an hour that did not change since the round before
        done = 0
        while steps.step(now) is not None:
            done += 1
        assert done or seals
        while seals and steps.seal(now) is not None:
            done += 1
        assert done
        again = [(await get(face, token=token, **params)).json() for token, params in asked]  # type: ignore[arg-type]
        for (token, params), before, after in zip(asked, facts, again, strict=True):
            assert after["rows"] == before["rows"], (token, params, seals)
            assert after["total"] == before["total"]
