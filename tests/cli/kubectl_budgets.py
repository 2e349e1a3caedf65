"""Budgets as the API server has them, and the sentences of `kubectl carbon explain`, for the tests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from carbonbudget_operator.admission.admission_decision import Mode
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.explain import explain

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
STATUS: dict[str, Any] = {
    "evaluatedGeneration": 1,
    "period": {"start": "2026-10-31T23:00:00Z", "end": "2026-11-30T23:00:00Z"},
    "used": "4.1kg", "usedMicrograms": 4_100_000_000, "remaining": "900g", "percentUsed": 82, "forecast": "6.3kg",
    "exhaustedAt": "2026-11-26T23:00:00Z",
    "breakdown": {"dynamic": "3kg", "idle": "700g", "overhead": "400g"},
    "state": "Warning", "action": "Warn", "dataThrough": "2026-11-24T11:59:00Z", "coverage": 98, "measured": 40,
    "topWorkloads": [
        {"kind": "Job", "name": "train", "emissions": "2.2kg", "percent": 44},
        {"kind": "Job", "name": "small", "emissions": "900g", "percent": 18},
    ],
}  # fmt: skip
BLOCK = {
    "state": "Exceeded",
    "action": "Block",
    "used": "5.5kg",
    "usedMicrograms": 5_500_000_000,
    "percentUsed": 110,
    "exhaustedAt": None,
}


def an_object(name: str, namespace: str = "team-a", given: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    wanted = {"limit": "5kg", "period": "Month", "timeZone": "Europe/Paris", "contact": "#ml-platform"} | spec
    return {"metadata": metadata, "spec": wanted, "status": STATUS if given is None else given}


def a_budget(name: str = "monthly", given: dict[str, Any] | None = None, **spec: Any) -> CarbonBudget:
    return CarbonBudget.model_validate(an_object(name, given=given, **spec))


def told(
    budget: AnyBudget,
    heading: str,
    may_change: bool | None = None,
    now: dt.datetime = NOW,
    mode: Mode | None = "Enforce",
) -> str:
    return " ".join(dict(explain(budget, now, ReaderContext(may_change, mode))).get(heading, []))
