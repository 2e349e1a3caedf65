"""The server's OpenCost API: what clients send, whom it answers, and that figures equal those of /api/v1/emissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.opencost.opencost_paths import IGNORED_HEADER, PATHS
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps

LEAD, TENANT, OTHER, NOBODY = "user:lead@*", "user:dev@team-a", "user:dev@team-b", "user:nobody@"
WINDOW = f"{HOUR},{HOUR + 7_200}"
MINE, THEIRS = "team-a", ("team-b", "secret-project", "__idle__", "__unallocated__", "node-1")


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7_200
        made.api.namespaces = {"team-a", "team-b", "secret-project"}
        for start, namespace in ((HOUR, "team-a"), (HOUR + 60, "team-b"), (HOUR + 3_600, "team-a")):
            pods = {f"{namespace}-pod": 3_600_000_000 * (1 if start == HOUR else 2)}
            labels = {"team": namespace, "app.kubernetes.io/name": "a"}
            report = a_report(start, pods=pods, namespace=namespace, labels=labels, idle_uj=3_600_000_000)
            assert (await made.report(report)).status_code == 200
        yield made


async def get(face: Face, path: str = "/allocation/compute", token: str = LEAD, **params: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if "If_None_Match" in params:
        headers["If-None-Match"] = params.pop("If_None_Match")
    return await face.client.get(path, params={"window": WINDOW} | params, headers=headers)


async def sets(face: Face, token: str = LEAD, **params: str) -> list[dict[str, Any]]:
    answer = await get(face, token=token, **params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["code"] == 200
    return list(answer.json()["data"])


# What clients send, each from its own source code. `{window}` stands where a client puts its user's choice.
CLIENTS = {
    # opencost/opencost-ui, app/services/allocation.ts
    "opencost-ui": "/model/allocation/compute?window=7d&aggregate=namespace&includeIdle=true&step=1d&accumulate=false",
    # opencost/opencost-ui, app/services/allocation.ts with app/lib/legacy-util.ts (parseFilters), as axios encodes it
    "opencost-ui, drill-down": "/model/allocation/compute?window=7d&aggregate=controller&includeIdle=true&step=1d"
    "&accumulate=true&filter=namespace:%22team-a%22%2BcontrollerKind:%22pod%22",
    # headlamp-k8s/plugins, opencost/src/request.tsx, behind the API server's service proxy
    "headlamp": "/allocation?window=14d&aggregate=pod&step=1d&accumulate=true",
    "headlamp, chart": "/allocation?window=24h&aggregate=namespace&step=1d&accumulate=false",
    # An earlier version of the same plugin
    "headlamp, under /model": "/model/allocation/compute?window=14d&aggregate=pod&step=1d&accumulate=true",
    # backstage/community-plugins, workspaces/opencost: the OpenCost UI of 2023, src/services/allocation.js
    "backstage": "/allocation/compute?window=6d&aggregate=namespace&includeIdle=true&step=1d&accumulate=false",
}


async def test_what_clients_send_is_answered(face: Face) -> None:
    for client in CLIENTS:  # not a test each: the server takes seconds to start
        await _answered(face, client)


async def _answered(face: Face, client: str) -> None:
    answer = await face.client.get(CLIENTS[client], headers={"Authorization": f"Bearer {LEAD}"})
    assert answer.status_code == 200, answer.text
    assert IGNORED_HEADER not in answer.headers
    body = answer.json()
    assert isinstance(body["data"], list)
    wanted = 1 if "accumulate=true" in CLIENTS[client] else {"7d": 7, "6d": 6, "24h": 1}[_window(CLIENTS[client])]
    assert len(body["data"]) == wanted
    for step in body["data"]:
        for name, allocation in step.items():
            assert allocation["name"] == name
            assert allocation["minutes"] >= 0


def _window(address: str) -> str:
    return address.partition("window=")[2].partition("&")[0]


async def test_all_paths_answer_with_the_same_names(face: Face) -> None:
    for path, summary in PATHS.items():
        answer = await get(face, path, aggregate="namespace", includeIdle="true")
        data = answer.json()["data"]
        (found,) = [step["allocations"] for step in data["sets"]] if summary else data
        assert set(found) == {"team-a", "team-b", "__idle__", "__unallocated__"} - _absent(found), path


def _absent(found: dict[str, Any]) -> set[str]:
    """Rows that this ledger does not have."""
    return {"__idle__", "__unallocated__"} - set(found)


@pytest.mark.parametrize("stored", [False, True])
async def test_figures_equal_those_of_the_emissions(face: Face, stored: bool) -> None:
    if stored:
        upkeep, later = UpkeepSteps(face.pools.book, 90, 24), HOUR + 10 * 86_400
        for _ in range(2):  # only what did not change in between is stored
            upkeep.begin(later)
        while upkeep.step(later) is not None:
            pass
    headers = {"Authorization": f"Bearer {LEAD}"}
    emissions = await face.client.get("/api/v1/emissions", params={"window": WINDOW}, headers=headers)
    idle = await face.client.get("/api/v1/emissions", params={"window": WINDOW, "include": "Idle"}, headers=headers)
    idle_g = {row["namespace"]: row["location_g"] for row in idle.json()["rows"]}
    (found,) = await sets(face, aggregate="namespace", includeIdle="true")
    rest = {"location_g": 0.0, "energy_kwh": 0.0}
    for row in emissions.json()["rows"]:
        if row["namespace"] in found:
            figures = found[row["namespace"]]["carbonbudget"]
            assert figures == {
                "energyKWh": row["energy_kwh"], "locationG": row["location_g"], "marketG": row["market_g"],
                "embodiedG": row["embodied_g"], "idleG": idle_g[row["namespace"]],
                "measuredPercent": row["measured_percent"],
            }  # fmt: skip
            assert found[row["namespace"]]["carbonKilograms"] == pytest.approx(row["location_g"] / 1000, rel=1e-12)
        else:
            rest = {name: rest[name] + row[name] for name in rest}
    assert {"team-a", "team-b"} <= set(found)
    unallocated = found.get("__unallocated__", {"carbonbudget": {"locationG": 0, "energyKWh": 0}})["carbonbudget"]
    assert unallocated["locationG"] == pytest.approx(rest["location_g"], abs=1e-6)
    assert unallocated["energyKWh"] == pytest.approx(rest["energy_kwh"], abs=1e-12)


async def test_a_filter_by_namespace_takes_the_rows_of_the_whole_answer(face: Face) -> None:
    for options in ({}, {"shareIdle": "true"}):
        (whole,) = await sets(face, aggregate="namespace", includeIdle="true", **options)
        for names in (["team-a"], ["team-a", "team-b"], ["__idle__"], ["team-b", "__unallocated__"]):
            listed = ",".join(f'"{name}"' for name in names)
            (found,) = await sets(
                face, aggregate="namespace", includeIdle="true", filter=f"namespace:{listed}", **options
            )
            assert found == {name: whole[name] for name in names if name in whole}, (options, names)
    (nothing,) = await sets(face, filter='namespace:"team-a"+namespace:"team-b"')
    assert nothing == {}


async def test_hourly_steps_add_up_to_the_accumulated_answer(face: Face) -> None:
    steps = await sets(face, aggregate="namespace", step="1h", includeIdle="true")
    (whole,) = await sets(face, aggregate="namespace", step="1h", accumulate="true", includeIdle="true")
    assert len(steps) == 2
    for name, allocation in whole.items():
        parts = sum(step[name]["carbonKilograms"] for step in steps if name in step)
        assert parts == pytest.approx(allocation["carbonKilograms"], rel=1e-12)


async def test_a_tenant_reads_its_own_allocations_and_no_byte_of_anothers(face: Face) -> None:
    for params in (
        {},
        {"aggregate": "namespace", "includeIdle": "true"},
        {"aggregate": "controller", "shareIdle": "true"},
        {"aggregate": "pod", "accumulate": "true"},
        {"aggregate": "label:team", "step": "1h"},
        {"aggregate": "cluster", "filter": 'namespace!:"x"'},
        {"filter": 'namespace:"team-a","team-b"', "includeAggregatedMetadata": "true"},
        {"filter": 'namespace:"team-a"|pod:"team-b-pod"'},
    ):
        for path in ("/allocation", "/model/allocation/summary"):
            answer = await get(face, path, TENANT, **params)
            assert answer.status_code == 200, answer.text
            everything = answer.text + str(answer.headers)
            for foreign in THEIRS:
                if foreign != "__unallocated__" or "controller" not in params.get("aggregate", "controller"):
                    assert foreign not in everything, params
    (own,) = await sets(face, TENANT, aggregate="namespace")
    (whole,) = await sets(face, aggregate="namespace")
    assert own == {MINE: whole[MINE]}


async def test_what_a_tenant_may_not_read_is_forbidden(face: Face) -> None:
    for params in (
        {"filter": 'namespace:"team-b"'},
        {"filter": 'namespace:"nowhere"'},
        {"aggregate": "node"},
        {"filter": 'node:"node-1"'},
        {"filterNodes": "node-1"},
    ):
        answer = await get(face, token=TENANT, **params)
        assert answer.status_code == 403, params
        assert answer.json()["code"] == 403
        assert answer.json()["status"] == "error"


async def test_who_may_read_nothing_gets_an_error_in_opencosts_form(face: Face) -> None:
    for token, status in ((NOBODY, 403), ("nonsense", 401), ("", 401)):
        answer = await get(face, token=token)
        assert answer.status_code == status
        assert answer.json()["code"] == status
        assert set(answer.json()) == {"code", "status", "message"}


async def test_the_token_may_be_in_the_header_that_passes_the_service_proxy(face: Face) -> None:
    answer = await face.client.get("/allocation", params={"window": WINDOW}, headers={"X-Carbonbudget-Token": TENANT})
    assert answer.status_code == 200


async def test_a_malformed_question_is_an_error_of_one_sentence(face: Face) -> None:
    for params, said in (
        ({"window": "soon"}, "window"),
        ({"aggregate": "colour"}, "aggregate"),
        ({"filter": 'namespace:"a'}, "position 11"),
        ({"step": "10m"}, "whole hours"),
        ({"window": "900d", "step": "1d"}, "at most 400 days"),
        ({"filter": "x" * 17_000}, "characters"),
    ):
        answer = await get(face, **params)
        assert answer.status_code == 400
        assert answer.json()["status"] == "error"
        assert said in answer.json()["message"]


async def test_parameters_without_effect_are_named_in_a_header(face: Face) -> None:
    answer = await get(face, resolution="1m", sharelb="true", **{"a\r\nb": "x"})
    assert answer.headers[IGNORED_HEADER] == "?,resolution,sharelb"
    answer = await get(face, token=TENANT, includeIdle="true", shareIdle="true")
    assert answer.headers[IGNORED_HEADER] == "includeIdle,shareIdle"


async def test_an_answer_that_did_not_change_is_not_sent_again(face: Face) -> None:
    first = await get(face, aggregate="namespace")
    tag = first.headers["ETag"]
    again = await get(face, aggregate="namespace", resolution="1m", If_None_Match=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers[IGNORED_HEADER] == "resolution"
    assert (await get(face, aggregate="pod", If_None_Match=tag)).status_code == 200
    assert (await get(face, token=TENANT, aggregate="namespace", If_None_Match=tag)).status_code == 200
    assert (await face.report(a_report(HOUR + 120, pods={"p": 9_000_000_000}, namespace="team-b"))).status_code == 200
    assert (await get(face, aggregate="namespace", If_None_Match=tag)).status_code == 200


async def test_a_step_that_is_not_over_ends_where_the_reports_end(face: Face) -> None:
    (today,) = await sets(face, window="today", aggregate="namespace")
    assert today["team-a"]["window"] == {"start": "2025-11-24T00:00:00Z", "end": "2025-11-25T00:00:00Z"}
    assert today["team-a"]["end"] == "2025-11-24T17:01:00Z"


async def test_by_node_for_those_who_may_read_the_whole_cluster(face: Face) -> None:
    (found,) = await sets(face, aggregate="node,namespace", includeIdle="true")
    assert {"node-1/team-a", "node-1/team-b"} <= set(found)
    (none,) = await sets(face, aggregate="namespace", filter='node!:"node-1"')
    assert none == {}
