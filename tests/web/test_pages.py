"""What all pages have in common, and what they show where there is no answer."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel
from tests.web.budget_answers import BUDGETS, NOW, budget_detail, history, series
from tests.web.data_answers import EXTERNAL, emissions, intensity, node_row, run_detail, run_row, runs_answer, status
from tests.web.page_world import Everybody, World, client, shown
from tests.web.target_answers import TARGETS, target_detail, target_windows

from carbonbudget_operator.api.budget_bodies import (
    BudgetDetail,
    BudgetHistory,
    BudgetsAnswer,
    BudgetSeries,
    BudgetSummary,
)
from carbonbudget_operator.api.emission_bodies import EmissionAnswer
from carbonbudget_operator.api.external_bodies import ExternalAnswer
from carbonbudget_operator.api.grid_bodies import IntensityAnswer
from carbonbudget_operator.api.node_bodies import NodesAnswer
from carbonbudget_operator.api.run_bodies import RunDetail, RunsAnswer
from carbonbudget_operator.api.status_bodies import ServerStatus
from carbonbudget_operator.api.target_bodies import (
    FormerTargetWindow,
    TargetDetail,
    TargetHistory,
    TargetsAnswer,
    TargetSummary,
)
from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.security_headers import POLICY

PAGES = (
    "/budgets",
    "/budgets/team-a/monthly",
    "/cluster-budgets/company",
    "/targets",
    "/targets/team-a/chat-tokens",
    "/cluster-targets/company-inference",
    "/emissions",
    "/runs",
    "/runs/team-a/exp-0",
    "/grid",
    "/data",
)


def test_the_answers_of_these_tests_have_the_form_that_the_server_documents() -> None:
    query = {"by": "namespace", "step": "day", "compare": "previous", "unlabelled": "true"}
    assert EmissionAnswer.model_validate(emissions(query, ("a",))).rows
    assert IntensityAnswer.model_validate(intensity(("DE",), NOW)).rows
    nodes = {"data_through": None, "start": "", "end": "", "next": None, "rows": [node_row("a", NOW)]}
    assert NodesAnswer.model_validate(nodes).rows
    assert BudgetsAnswer.model_validate({"read_at": "", "next": None, "rows": BUDGETS}).rows
    assert BudgetDetail.model_validate(budget_detail(BUDGETS[0])).top_workloads
    assert BudgetSeries.model_validate(series(BUDGETS[0])).forecast_low_g
    assert ServerStatus.model_validate(status()).exports
    assert ExternalAnswer.model_validate(EXTERNAL).rows
    assert RunsAnswer.model_validate(runs_answer([run_row("a")])).rows
    assert RunDetail.model_validate(run_detail(run_row("a"))).rows
    assert BudgetHistory.model_validate({"read_at": "", **history(BUDGETS[0])}).rows
    assert TargetsAnswer.model_validate({"read_at": "", "next": None, "rows": TARGETS}).rows
    stepped = TargetDetail.model_validate(target_detail(TARGETS[1]))
    assert (len(stepped.steps), stepped.path) == (2, "Stepped")
    assert TargetHistory.model_validate({"rows": target_windows(TARGETS[0])}).rows


@pytest.mark.parametrize(
    ("model", "made"),
    [
        (BudgetSummary, BUDGETS[0]),
        (BudgetDetail, budget_detail(BUDGETS[0])),
        (TargetSummary, TARGETS[0]),
        (TargetDetail, target_detail(TARGETS[1])),
        (FormerTargetWindow, target_windows(TARGETS[0])[0]),
    ],
)
def test_answers_about_objects_have_the_documented_fields_and_no_others(
    model: type[BaseModel], made: dict[str, Any]
) -> None:
    assert set(made) - {"read_at"} == set(model.model_fields)


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/static/page.css", "/static/nothing.css", "/budgets/no/thing"])
async def test_every_response_has_the_headers_that_protect_it(path: str) -> None:
    answer = await shown(path)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "cookie" not in answer.headers.get("vary", "")
    if not path.startswith("/static"):
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_has_a_script_or_a_style_inside(path: str) -> None:
    html = (await shown(path)).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html)


async def test_static_files_are_kept_by_their_digest_alone() -> None:
    page = (await shown("/budgets")).text
    address = re.search(r'href="(/static/page\.css\?v=[0-9a-f]{12})"', page)
    assert address is not None
    assert "immutable" in (await shown(address[1])).headers["cache-control"]
    assert (await shown("/static/page.css")).headers["cache-control"] == "no-cache"


async def test_a_post_to_a_page_is_refused() -> None:
    async with client(make_app(World(), Everybody())) as asking:
        assert (await asking.post("/emissions")).status_code == 405


async def test_an_error_of_ours_is_a_sentence_with_the_same_headers() -> None:
    class Broken(World):
        async def get(self, *_: object) -> object:  # type: ignore[override] # fails
            raise RuntimeError("secret detail")

    import httpx

    transport = httpx.ASGITransport(app=make_app(Broken(), Everybody()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as asking:
        answer = await asking.get("/emissions")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


async def test_every_question_is_asked_with_the_callers_own_credentials() -> None:
    world, everybody = World(), Everybody()
    everybody.caller = PageCaller("anna", "token-of-anna")
    async with client(make_app(world, everybody)) as asking:
        for path in PAGES:
            assert (await asking.get(path)).status_code == 200
    assert {caller.token for _, _, caller, _ in world.asked} == {"token-of-anna"}


def test_a_caller_does_not_print_its_token() -> None:
    assert "token-of-anna" not in repr(PageCaller("anna", "token-of-anna"))


@pytest.mark.parametrize(
    "path",
    [
        "/budgets/team-a/nothing",
        "/budgets/TEAM/x",
        "/cluster-budgets/a%2Fb",
        "/targets/team-a/nothing",
        "/targets/T/x",
        "/nowhere",
    ],
)
async def test_what_is_not_there_is_a_page_that_says_so(path: str) -> None:
    answer = await shown(path)
    assert answer.status_code == 404
    assert "there is no such" in answer.text.lower()


@pytest.mark.parametrize("path", ["/emissions", "/grid", "/budgets", "/budgets/team-a/monthly"])
async def test_a_page_whose_right_is_missing_names_the_right(path: str) -> None:
    world = World()
    world.refused["/api/v1/"] = 403, "anna may not get carbonbudgets in any namespace"
    answer = await shown(path, world)
    assert answer.status_code == 403
    assert "A right is missing" in answer.text
    assert "anna may not get carbonbudgets in any namespace" in answer.text


async def test_parts_whose_right_is_missing_leave_the_other_parts() -> None:
    world = World()
    world.refused = {
        "/api/v1/nodes": (403, "nodes need the right in all namespaces"),
        "/api/v1/status": (403, "so does this"),
    }
    answer = await shown("/data", world)
    assert answer.status_code == 200
    assert "nodes need the right in all namespaces" in answer.text
    assert "anna@example.org" in answer.text


async def test_a_server_that_is_away_is_told_in_its_own_sentence() -> None:
    world = World()
    world.down = "The server in namespace carbonbudget-system does not answer just now: try again."
    answer = await shown("/emissions", world)
    assert answer.status_code == 503
    assert world.down in answer.text


async def test_a_busy_server_says_when_to_ask_again() -> None:
    world = World()
    world.refused["/api/v1/emissions"] = 429, "too many questions"
    assert "too many questions. Try again" in (await shown("/emissions", world)).text
