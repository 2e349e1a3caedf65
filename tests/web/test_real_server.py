"""The page on the real server and a real ledger: real answers, real refusals, no name of another tenant."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.budget_objects import a_budget, a_status
from tests.server.server_face import Face, a_face
from tests.web.page_world import Everybody, client

from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.run_labels import MODEL, RUN
from carbonbudget_operator.server.public.budget_api_rows import budget_detail, history_rows
from carbonbudget_operator.web.api_budget_reader import ApiBudgetReader
from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import ApiAnswer, PageCaller
from carbonbudget_operator.web.views.page_budget_from_answer import shown_detail

LEAD, TENANT, STRANGER = "user:lead@*", "user:dev@team-a", "user:nobody@"
WINDOW = f"from={HOUR}&to={HOUR + 7200}"


class OfFace:
    """A Gateway to the server of the tests."""

    def __init__(self, face: Face) -> None:
        self.face, self.statuses = face, list[int]()

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        headers = {"Authorization": f"Bearer {caller.token}"} | ({"If-None-Match": etag} if etag else {})
        answer = await self.face.client.get(path, params=list(query), headers=headers)
        self.statuses.append(answer.status_code)
        return ApiAnswer(
            answer.status_code, {key.lower(): value for key, value in answer.headers.items()}, answer.content
        )


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7200
        made.api.namespaces = {"team-a", "team-b", "secret-project"}
        for start, namespace in ((HOUR, "team-a"), (HOUR + 60, "team-b"), (HOUR + 3600, "secret-project")):
            report = a_report(
                start,
                pods={f"{namespace}-pod": 9 * 10**9},
                namespace=namespace,
                labels={"team": namespace, RUN: f"run-of-{namespace}", MODEL: "chat"},
            )
            assert (await made.report(report)).status_code == 200
        made.api.objects = {
            "carbonbudgets": [
                a_budget("team-b", "weekly", period="Week", status={}),
                a_budget("team-a", "monthly"),
                a_budget("team-a", "odd", per="Workload", limit="nonsense"),
            ],
            "clustercarbonbudgets": [a_budget("", "all", status=a_status(state="Exceeded", namespaces=["team-a"]))],
        }
        yield made


async def opened(gateway: OfFace, path: str, token: str = LEAD, tag: str = "") -> httpx.Response:
    guard = Everybody("somebody")
    guard.caller = PageCaller("somebody", token)
    async with client(make_app(gateway, guard)) as browser:
        return await browser.get(path, headers={"If-None-Match": tag} if tag else {})


def text_of(answer: httpx.Response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())


@pytest.mark.parametrize("by", ["namespace", "workload", "node", "label:team", "namespace,workload", "run", "model"])
@pytest.mark.parametrize("step", ["hour", "day", "all"])
async def test_emissions_of_the_real_server_are_shown(face: Face, by: str, step: str) -> None:
    answer = await opened(OfFace(face), f"/emissions?{WINDOW}&by={by}&step={step}")
    assert answer.status_code == 200, text_of(answer)
    assert ("chart bars" in answer.text) == (step != "all")
    assert "team-a" in text_of(answer) or by == "node"
    assert "None" not in text_of(answer)


@pytest.mark.parametrize("path", [f"/runs?{WINDOW}", f"/runs/team-a/run-of-team-a?{WINDOW}"])
async def test_runs_of_the_real_server_are_shown(face: Face, path: str) -> None:
    answer = await opened(OfFace(face), path, TENANT)
    assert answer.status_code == 200, text_of(answer)
    assert "run-of-team-a" in text_of(answer)
    assert "chat" in text_of(answer)
    assert "None" not in text_of(answer)
    again = await opened(OfFace(face), path, TENANT, answer.headers["etag"])
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/grid?window=3d", "/data?window=24h"])
async def test_grid_and_data_of_the_real_server_are_shown(face: Face, path: str) -> None:
    answer = await opened(OfFace(face), path)
    assert answer.status_code == 200
    assert "None" not in text_of(answer)


async def test_no_page_of_a_tenant_has_a_byte_of_anothers_names(face: Face) -> None:
    for path in (
        f"/emissions?{WINDOW}", f"/emissions?{WINDOW}&by=workload", f"/emissions?{WINDOW}&by=label:team&step=hour",
        f"/emissions.csv?{WINDOW}&by=workload", f"/emissions.json?{WINDOW}", "/grid", "/data",
        f"/emissions?{WINDOW}&filter=namespace%3Dteam-b", f"/emissions?{WINDOW}&by=node",
        f"/runs?{WINDOW}", f"/runs.csv?{WINDOW}", f"/runs?{WINDOW}&model=chat", f"/emissions?{WINDOW}&by=run",
    ):  # fmt: skip
        answer = await opened(OfFace(face), path, TENANT)
        shown = answer.text.replace("filter=namespace%3Dteam-b", "").replace("namespace=team-b", "")
        assert "secret-project" not in shown, path
        assert "team-b" not in shown.replace("in namespace team-b", ""), path
        assert "__idle__" not in shown


async def test_a_stranger_is_told_the_right_that_is_missing(face: Face) -> None:
    answer = await opened(OfFace(face), f"/emissions?{WINDOW}", STRANGER)
    assert answer.status_code == 403
    assert "may not get carbonbudgets in any namespace" in answer.text


async def test_a_tenants_data_page_names_the_right_that_nodes_need(face: Face) -> None:
    answer = await opened(OfFace(face), "/data", TENANT)
    assert answer.status_code == 200
    assert "team-a" in text_of(answer)
    assert "all namespaces" in text_of(answer)
    assert 'class="note warn"' in answer.text


async def test_a_refresh_without_new_data_is_a_304_on_both_ways(face: Face) -> None:
    gateway, path = OfFace(face), f"/emissions?{WINDOW}&step=hour"
    first = await opened(gateway, path)
    assert gateway.statuses == [200, 200]
    again = await opened(gateway, path, tag=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert gateway.statuses[2:] == [304, 304]
    assert (await face.report(a_report(HOUR + 120, pods={"p": 10**9}, namespace="team-c"))).status_code == 200
    changed = await opened(gateway, path, tag=first.headers["etag"])
    assert changed.status_code == 200
    assert "team-c" in changed.text


async def test_a_question_that_the_server_does_not_understand_is_its_own_sentence(face: Face) -> None:
    answer = await opened(OfFace(face), "/emissions?window=soon")
    assert answer.status_code == 400
    assert "is no window" in answer.text


async def test_budgets_of_the_real_server_are_shown_with_their_curve_and_their_history(face: Face) -> None:
    page = await opened(OfFace(face), "/budgets")
    assert re.findall(r"<h2><a href=\"([^\"]+)\">", page.text) == [
        "/cluster-budgets/all", "/budgets/team-a/monthly", "/budgets/team-a/odd", "/budgets/team-b/weekly",
    ]  # fmt: skip
    assert "None" not in text_of(page)
    for path in ("/budgets/team-a/monthly", "/cluster-budgets/all"):
        gateway = OfFace(face)
        one = await opened(gateway, path)
        # The budget, its history, its series, and the grid's intensity in its period.
        assert (one.status_code, gateway.statuses) == (200, [200, 200, 200, 200])
        assert "Grid intensity in this period" in one.text
        assert "chart burn-up" in one.text
        assert "not shown" not in one.text
        assert "Former periods" in one.text
        assert "4.1kg of 5kg" in text_of(one)
        assert "None" not in text_of(one)


async def test_budgets_that_cannot_be_read_or_were_not_evaluated_are_shown_as_such(face: Face) -> None:
    odd = text_of(await opened(OfFace(face), "/budgets/team-a/odd"))
    assert "a limit that cannot be read" in odd
    new = text_of(await opened(OfFace(face), "/budgets/team-b/weekly"))
    assert "No data" in new
    assert "None" not in odd + new


async def test_a_tenant_sees_its_own_budgets_and_anothers_is_not_there(face: Face) -> None:
    page = await opened(OfFace(face), "/budgets", TENANT)
    assert "/budgets/team-a/monthly" in page.text
    assert "team-b" not in page.text
    assert "cluster-budgets" not in page.text
    for path in ("/budgets/team-b/weekly", "/cluster-budgets/all"):
        assert (await opened(OfFace(face), path, TENANT)).status_code == 404


async def test_a_budget_is_the_same_from_the_server_and_from_its_object(face: Face) -> None:
    """The cluster's page reads the one, `kubectl carbon ui` the other."""
    gateway = OfFace(face)
    by_server = (await ApiBudgetReader(gateway).one(PageCaller("lead", LEAD), "team-a", "monthly")).budget
    item = next(one for one in face.api.objects["carbonbudgets"] if one["metadata"]["name"] == "monthly")
    assert by_server == shown_detail(budget_detail(BUDGET, item), {"rows": history_rows(BUDGET, item)})
