"""The page of the REST face is true: every endpoint, and every field of the bodies, is there and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from starlette.routing import Route

from carbonbudget_operator.api import (
    adjustment_bodies,
    budget_query_bodies,
    external_bodies,
    projection_bodies,
    report_bodies,
    target_query_bodies,
)
from carbonbudget_operator.server.app import make_app
from carbonbudget_operator.server.public.listed_objects import ListedBudgets, ListedTargets
from carbonbudget_operator.server.wiring import make_pools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.settings import Settings

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs/reference/rest.md").read_text(encoding="utf-8")


def endpoints() -> set[str]:
    nobody = cast(Any, None)
    receiver = cast(Any, SimpleNamespace(refused_reports=None))
    registry = CollectorRegistry()
    pools, people = make_pools(Setup("sqlite:////nowhere/ledger.db", Settings()), registry)  # nothing is opened
    app = make_app(receiver, nobody, nobody, pools, registry, ListedBudgets(nobody), ListedTargets(nobody))
    people.close()
    pools.close()
    answering = {f"{method.upper()} {path}" for path, item in app.openapi()["paths"].items() for method in item}
    plain = {f"{method} {route.path}" for route in app.routes if type(route) is Route for method in route.methods or ()}
    return answering | plain


def test_every_endpoint_says_who_may_ask_and_no_other_is_named() -> None:
    table = re.findall(r"^\| `((?:GET|POST) /[a-z0-9/{}]+)` \|", PAGE, re.MULTILINE)
    assert set(table) == endpoints()
    assert len(table) == len(set(table))
    assert set(re.findall(r"^## ((?:GET|POST) \S+)$", PAGE, re.MULTILINE)) <= endpoints()


@pytest.mark.parametrize(
    ("heading", "models"),
    [
        (
            "POST /v1/budgets/query",
            [
                budget_query_bodies.BudgetQuery,
                budget_query_bodies.BudgetWishes,
                budget_query_bodies.BudgetAnswer,
                budget_query_bodies.UseComponents,
                budget_query_bodies.WorkloadUse,
            ],
        ),
        (
            "POST /v1/adjustments",
            [
                adjustment_bodies.AdjustmentsRequest,
                adjustment_bodies.AdjustmentGroup,
                adjustment_bodies.Adjustment,
                adjustment_bodies.AnsweredAdjustment,
                adjustment_bodies.BudgetPeriod,
            ],
        ),
        ("POST /v1/budgets/hours", [budget_query_bodies.HourlyAnswer]),
        (
            "POST /v1/targets/query",
            [
                target_query_bodies.TargetQuery,
                target_query_bodies.TargetWishes,
                target_query_bodies.TargetSpan,
                target_query_bodies.TargetSpanAnswer,
                target_query_bodies.TargetAnswer,
                target_query_bodies.TargetAnswers,
            ],
        ),
        (
            "POST /v1/runs/query",
            [budget_query_bodies.RunQuery, budget_query_bodies.RunAnswer, budget_query_bodies.RunAnswers],
        ),
        ("POST /v1/report/close", [report_bodies.ClosePeriod]),
        ("POST /v1/report/reopen", [report_bodies.ReopenPeriod]),
        ("POST /v1/external/remove", [external_bodies.RemoveExternal]),
        (
            "GET /v1/projection",
            [projection_bodies.ProjectionAnswer, projection_bodies.CapacityRate, projection_bodies.FormerRuns],
        ),
    ],
)
def test_every_field_of_a_body_is_explained_under_its_endpoint(heading: str, models: list[type[BaseModel]]) -> None:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    fields = {name for model in models for name in model.model_fields}
    assert {name for name in fields if not re.search(rf'[`"]{name}[`"]', section)} == set()
