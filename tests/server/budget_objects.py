"""CarbonBudget and ClusterCarbonBudget objects as the API server lists them."""

from __future__ import annotations

from typing import Any

START, END = "2025-11-01T00:00:00Z", "2025-12-01T00:00:00Z"


def a_status(**change: object) -> dict[str, Any]:
    """The status of a budget that has used 4.1 of 5 kg."""
    return {
        "evaluatedGeneration": 1,
        "period": {"start": START, "end": END},
        "used": "4.1kg",
        "usedMicrograms": 4_100_123_456,
        "remaining": "899g",
        "percentUsed": 82,
        "forecast": "5.3kg",
        "exhaustedAt": "2025-11-28T12:00:00Z",
        "breakdown": {"dynamic": "2.9kg", "idle": "900g", "overhead": "300g"},
        "state": "Warning",
        "action": "Warn",
        "message": "monthly has used 4.1kg of 5kg",
        "observedAt": "2025-11-24T16:10:00Z",
        "dataThrough": "2025-11-24T16:09:00Z",
        "coverage": 100,
        "measured": 96,
        "topWorkloads": [{"kind": "Job", "name": "train", "emissions": "2.1kg", "percent": 42}],
        "history": [{"start": "2025-10-01T00:00:00Z", "end": START, "used": "4.7kg", "limit": "5kg"}],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "", "lastTransitionTime": START},
            {"type": "DataComplete", "status": "False", "reason": "NodesSilent", "message": "n1 is silent"},
        ],
    } | change


def a_budget(namespace: str = "team-a", name: str = "monthly", **change: Any) -> dict[str, Any]:
    """A CarbonBudget; without a namespace a ClusterCarbonBudget. `change` replaces spec fields, `status` the status."""
    status = change.pop("status", a_status())
    metadata = {"name": name, "uid": f"{namespace}/{name}", "generation": 1}
    return {
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "spec": {"limit": "5kg", "period": "Month", "contact": "#ml"} | change,
        "status": status,
    }
