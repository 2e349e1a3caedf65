"""The running server answers as its OpenAPI document says, whatever is asked: examples by schemathesis."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks
from tests.conftest import ROOT
from tests.ledger.reports import HOUR, a_report
from tests.server.budget_objects import a_budget
from tests.server.server_face import Face, a_server
from tests.server.target_objects import a_target

from carbonbudget_operator.run_labels import RUN

DOCUMENT = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))
PATHS = sorted(DOCUMENT["paths"])
THERE = {
    "namespace": "team-a",
    "name": "monthly",
    "period": "2025-11-24",
    "run": "exp-1",
}  # what a path can name that exists
CALLERS = ("user:lead@*", "user:dev@team-a")
EXAMPLES = 8
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with a_server(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7200
        made.api.namespaces = {"team-a", "team-b"}
        made.api.objects = {
            "carbonbudgets": [a_budget("team-a"), a_budget("team-b", "weekly", status={})],
            "clustercarbonbudgets": [a_budget("", "monthly")],
            "carbontargets": [a_target("team-a", "monthly"), a_target("team-b", "search", status={})],
            "clustercarbontargets": [a_target("", "monthly")],
        }
        server = uvicorn.Server(uvicorn.Config(made.app, log_config=None, lifespan="off"))
        listening = socket.create_server(("127.0.0.1", 0))  # connections wait in it until the server takes them
        running = asyncio.create_task(server.serve([listening]))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address) as client:
            face = Face(client, made.api, made.pools, made.people, made.clock)
            for namespace in ("team-a", "team-b"):
                report = a_report(HOUR, f"node-{namespace}", labels={RUN: "exp-1"}, namespace=namespace)
                assert (await face.report(report, f"node:node-{namespace}")).status_code == 200
        try:
            yield address
        finally:
            server.should_exit = True
            await running


async def test_every_answer_is_one_that_the_document_describes(url: str) -> None:
    """Two modes: what the document permits, and what it does not, which must be refused."""
    answered: Counter[int] = Counter()
    for path in PATHS:
        operation = schemathesis.openapi.from_dict(DOCUMENT)[path]["GET"]
        for mode in GenerationMode:
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                await asyncio.to_thread(ask, url, strategy, answered)
            except Unsatisfiable:  # a resource without parameters has nothing that could be wrong
                assert mode is GenerationMode.NEGATIVE
    assert answered[200] > 50, answered
    assert answered[400] > 50, answered
    assert set(answered) <= {200, 400, 401, 403, 404, 422}, answered


def ask(url: str, strategy: Any, answered: Counter[int]) -> None:
    """Send examples of one operation, by callers with many rights and with few."""

    @given(strategy, st.sampled_from(CALLERS), st.booleans())
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def holds(case: Any, caller: str, there: bool) -> None:
        if there and case.meta.generation.mode is GenerationMode.POSITIVE:
            case.path_parameters = {name: THERE[name] for name in case.path_parameters or {}}
        headers = {"Authorization": f"Bearer {caller}"}
        answered[case.call_and_validate(base_url=url, headers=headers, checks=CHECKS).status_code] += 1

    holds()
