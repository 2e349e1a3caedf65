"""The functions that a review passes on its way through the webhook: few, and none that its answer does not need."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.admission.given import HOUR, NOW, Bench, a_budget, a_review, an_object
from tests.admission.test_process import FAR, Process

from carbonbudget_operator.admission import reviewed_work
from carbonbudget_operator.budgets.workload_demand import PodDemand, pod_demand

WITHIN: dict[str, Any] = {"state": "WithinBudget", "percent": 10, "used_g": 100, "ends": FAR}
BLOCK = [{"at": 100, "action": "Block", "basis": "Projected"}]
ANNOTATED = {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": "1h"}}


async def functions_of_a_create_review(bench: Bench) -> set[str]:
    """The functions of carbonbudget that run between the request and the response, as FILE:FUNCTION."""
    passed: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and "/carbonbudget_" in code.co_filename and not code.co_name.startswith("<"):
            passed.add(f"{Path(code.co_filename).name}:{code.co_qualname}")

    review = a_review("Job", an_object("Job", {"project": "x"}, metadata=ANNOTATED))
    async with TestClient(TestServer(Process(bench).app)) as client:
        sys.setprofile(note)
        try:
            answered = await client.post("/validate", json=review)
        finally:
            sys.setprofile(None)
        assert answered.status == 200
    return passed


async def test_a_review_that_a_budget_refuses_passes_at_most_31_functions() -> None:
    passed = await functions_of_a_create_review(Bench(a_budget(ends=FAR, until=FAR)))
    assert "admission_events.py:AdmissionEvents.record" in passed
    assert len(passed) <= 31, sorted(passed)


async def test_a_review_with_a_projection_passes_at_most_46_functions() -> None:
    bench = Bench(a_budget(**WITHIN, thresholds=BLOCK)).knows(as_of=int(time.time()))
    passed = await functions_of_a_create_review(bench)
    assert "expected_emissions.py:expect_emissions" in passed
    assert len(passed) <= 46, sorted(passed)


def test_requests_are_read_once_for_all_projections_and_not_at_all_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(spec: Any) -> PodDemand:
        reads.append(spec)
        return pod_demand(spec)

    monkeypatch.setattr(reviewed_work, "pod_demand", counted)
    assert Bench(a_budget(until=NOW + HOUR)).creates(metadata=ANNOTATED).outcome == "refused"
    assert reads == []
    several = Bench(*(a_budget(f"b{number}", **WITHIN, thresholds=BLOCK) for number in range(5))).knows()
    assert several.creates(metadata=ANNOTATED).outcome == "allowed"
    assert len(reads) == 1
