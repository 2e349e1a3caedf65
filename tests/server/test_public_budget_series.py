"""GET /api/v1/budgets/{namespace}/{name}/series: steps that add up to what the controller compares with the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book
from tests.server.budget_objects import END, START, a_budget, a_status
from tests.server.server_face import Face, a_face
from tests.server.test_public_budgets import LEAD, PLANNER, TENANT, get

from carbonbudget_operator.api.budget_bodies import BudgetSeries
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.server.public.budget_api_rows import parse_budget
from carbonbudget_operator.server.public.budget_series import _edges, series_question

DAY = 86_400
FIRST, LAST = 1_761_955_200, 1_764_547_200  # November 2025


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7200
        # HOUR is 16:00 on 24 November 2025; the third hour has midnight of Kolkata in its middle.
        for number, hour in enumerate((HOUR - 50 * 3600, HOUR - 24 * 3600, HOUR - 22 * 3600, HOUR, HOUR + 3600)):
            for namespace in ("team-a", "team-b"):
                pods = {f"p-{namespace}": 10**9 * (number + 1)}
                report = a_report(hour, f"node-{namespace}", pods, namespace=namespace, labels={"t": namespace})
                assert (await made.report(report, f"node:node-{namespace}")).status_code == 200
        made.api.objects = {
            "carbonbudgets": [a_budget("team-a"), a_budget("team-b"), a_budget("team-a", "runs", per="Workload")],
            "clustercarbonbudgets": [
                a_budget("", "all"),
                a_budget("", "some", namespaceSelector={}, status=a_status(namespaces=["team-b"])),
                a_budget("", "unknown", namespaceSelector={}, status={}),
            ],
        }
        yield made


async def series(face: Face, path: str = "budgets/team-a/monthly", token: str = LEAD, **params: object) -> BudgetSeries:
    answer = await get(face, f"{path}/series", token, **params)
    assert answer.status_code == 200, answer.text
    return BudgetSeries(**answer.json())


def total(found: BudgetSeries) -> int:
    return sum(int(row.used_ug or 0) for row in found.rows)


@pytest.mark.parametrize("step", ["hour", "day"])
async def test_steps_add_up_to_the_use_that_the_controller_compares(face: Face, step: str) -> None:
    for path, namespaces in (
        ("budgets/team-a/monthly", ["team-a"]), ("clusterbudgets/all", ["*"]), ("clusterbudgets/some", ["team-b"]),
    ):  # fmt: skip
        found = await series(face, path, step=step)
        answer = await face.answer(namespaces=namespaces, start=FIRST, end=LAST)
        assert total(found) == answer["used_ug"] > 0
        known = [row for row in found.rows if row.cumulative_ug is not None]
        assert int(known[-1].cumulative_ug or 0) == total(found)
        assert (found.rows[0].start, found.rows[-1].end, len(found.rows)) == (START, END, 720 if step == "hour" else 30)


async def test_a_step_has_even_pace_and_after_the_data_the_forecast_alone(face: Face) -> None:
    found = await series(face)
    assert found.limit_ug == "5000000000"
    assert [found.rows[at].even_pace_g for at in (2, 29)] == [500, 5000]
    assert [row.start for row in found.rows if row.used_ug not in (None, "0")] == [
        "2025-11-22T00:00:00Z", "2025-11-23T00:00:00Z", "2025-11-24T00:00:00Z",
    ]  # fmt: skip
    assert (found.rows[22].forecast_g, found.rows[24].used_g, found.rows[24].cumulative_ug) == (None, None, None)
    ahead = [row.forecast_g for row in found.rows[23:]]
    assert None not in ahead
    assert ahead == sorted(ahead, key=float)  # type: ignore[arg-type] # none is None
    assert ahead[-1] == 5300


async def test_a_forecast_of_a_former_period_is_not_shown(face: Face) -> None:
    former = {"start": "2025-10-01T00:00:00Z", "end": START}
    face.api.objects["carbonbudgets"] = [a_budget(status=a_status(period=former))]
    assert {row.forecast_g for row in (await series(face)).rows} == {None}


async def test_a_forecast_has_a_range_after_two_weeks(face: Face) -> None:
    found = await series(face)
    assert (found.forecast_low_ug, found.forecast_high_g) == (None, None)
    book(Booker(face.engine), a_report(HOUR - 15 * DAY, "node-team-a", {"p": 10**9}, namespace="team-a"))
    assert (await series(face)).forecast_low_ug is None  # of the time since nothing is known
    others = (a_report(HOUR - 15 * DAY + hour * 3600, "node-1", namespace="team-b") for hour in range(1, 15 * 24))
    book(Booker(face.engine), *others)
    found = await series(face)
    # Nothing was used in the week before the last one. The status' forecast is above what the last week would bring.
    assert found.forecast_low_ug == str(total(found))
    assert found.forecast_high_ug == "5300000000"


async def test_a_period_that_begins_inside_an_hour_adds_up_too(face: Face) -> None:
    face.api.objects["carbonbudgets"] = [a_budget(period="Day", timeZone="Asia/Kolkata", status={})]
    found = await series(face, step="hour")
    start, end = "2025-11-23T18:30:00Z", "2025-11-24T18:30:00Z"
    assert (found.start, found.end) == (start, end)
    assert total(found) == (await face.answer(start=HOUR - 77_400, end=HOUR + 9_000))["used_ug"] > 0


async def test_a_reader_of_a_budget_over_several_namespaces_gets_sums_alone(face: Face) -> None:
    for step in ("hour", "day"):
        answer = await get(face, "clusterbudgets/all/series", PLANNER, step=step)
        assert answer.status_code == 200
        assert "team-a" not in answer.text
    assert total(await series(face, "clusterbudgets/unknown", PLANNER)) == 0
    assert (await get(face, "clusterbudgets/all/series", TENANT)).status_code == 404
    assert (await get(face, "budgets/team-b/monthly/series", TENANT)).status_code == 404


async def test_what_has_no_series_says_why(face: Face) -> None:
    face.api.objects["carbonbudgets"] += [
        a_budget("team-a", "year", period="Year"),
        a_budget("team-a", "long", period=None, start="2020-01-01T00:00:00Z", end="2026-01-01T00:00:00Z"),
        a_budget("team-a", "bad", limit="much"),
        a_budget("team-a", "zone", timeZone="Moon/Sea"),
    ]
    for name, step, word in (
        ("runs", "day", "per: Workload"), ("year", "hour", "step=day"), ("long", "day", "400"), ("bad", "day", "much"),
        ("zone", "day", "Moon/Sea"),
    ):  # fmt: skip
        answer = await get(face, f"budgets/team-a/{name}/series", step=step)
        assert (answer.status_code, word in answer.json()["detail"]) == (422, True), answer.text
    assert (await get(face, "budgets/team-a/year/series", step="day")).status_code == 200
    assert (await get(face, "budgets/team-a/year/series", step="week")).status_code == 400


async def test_an_unchanged_series_is_not_sent_again_and_csv_has_the_same_rows(face: Face) -> None:
    first = await get(face, "budgets/team-a/monthly/series")
    assert (await get(face, "budgets/team-a/monthly/series", tag=first.headers["ETag"])).status_code == 304
    lines = (await get(face, "budgets/team-a/monthly/series", format="csv")).text.splitlines()
    assert len(lines) == 1 + len(first.json()["rows"])


@given(
    start=st.integers(0, 2**33), days=st.integers(1, 40), odd=st.integers(0, 5_000),
    zone=st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe"]),
    step=st.sampled_from(["hour", "day"]),
)  # fmt: skip
def test_steps_are_the_period_without_a_hole(start: int, days: int, odd: int, zone: str, step: str) -> None:
    end = start + days * DAY + odd
    edges = _edges(start, end, step, zone)
    assert (edges[0], edges[-1]) == (start, end)
    assert all(0 < after - before <= (3600 if step == "hour" else 25 * 3600) for before, after in pairwise(edges))


@pytest.mark.parametrize(("resource", "namespace"), [(BUDGET, "team-a"), (CLUSTER_BUDGET, "")])
def test_a_question_about_one_namespace_names_no_other(resource: Any, namespace: str) -> None:
    body = a_budget(namespace, status=a_status(namespaces=["team-x"]))
    asked = series_question(parse_budget(resource, body), "day", HOUR)
    assert asked["namespaces"] == ([namespace] if namespace else ["*"])
