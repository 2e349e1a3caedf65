"""CarbonTarget and ClusterCarbonTarget objects as the API server lists them."""

from __future__ import annotations

from typing import Any

START, END, BY = "2025-11-17T00:00:00Z", "2025-11-24T00:00:00Z", "2026-03-01T00:00:00Z"


def a_figure(per_unit_ug: int = 42_500_000, **change: object) -> dict[str, Any]:
    """The figure of a week: 42.5 g per million tokens."""
    return {
        "start": START,
        "end": END,
        "perUnit": "42g",
        "perUnitMicrograms": per_unit_ug,
        "units": "2000000",
        "emissions": "85g",
        "emissionsMicrograms": 2 * per_unit_ug + 1,
        "embodiedMicrograms": 5_000_000,
        "energyMicrojoules": 900_000_000_000,
        "hoursPercent": 98,
        "measured": 96,
        "coverage": 100,
    } | change


def a_target_status(**change: object) -> dict[str, Any]:
    """The status of a target that is behind its path."""
    return {
        "evaluatedGeneration": 1,
        "baseline": {
            "perUnit": "50g", "perUnitMicrograms": 50_000_000, "measured": a_figure(50_000_000),
            "frozenAt": START, "hash": "0123", "restated": "49g", "method": ["carbon.pue 1.4"],
        },
        "current": a_figure(),
        "atBaselineGrid": "44g",
        "expectedNow": {"perUnit": "41g", "perUnitMicrograms": 41_000_000, "reduction": "18.0"},
        "change": "-15.0",
        "state": "Behind",
        "message": "chat emits 42.5g per 1,000,000 tokens, and 41g are expected by now",
        "dataThrough": END,
        "observedAt": "2025-11-24T16:10:00Z",
        "history": [
            {
                "figure": a_figure(45_000_000), "expectedMicrograms": 46_000_000, "state": "OnTrack",
                "savings": {"micrograms": 10_000_000, "absoluteFallMicrograms": -7, "microjoules": 5, "money": "1 EUR"},
            },
            {"figure": a_figure(47_000_000), "expectedMicrograms": 46_500_000, "state": "Behind"},
        ],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "", "lastTransitionTime": START},
            {"type": "UnitsAvailable", "status": "False", "reason": "Missing", "message": "no answer"},
        ],
    } | change  # fmt: skip


def a_target(namespace: str = "team-a", name: str = "chat", **change: Any) -> dict[str, Any]:
    """A CarbonTarget; without a namespace a ClusterCarbonTarget. `change` replaces spec fields, `status` the status."""
    status = change.pop("status", a_target_status())
    metadata = {"name": name, "uid": f"{namespace}/{name}", "generation": 1}
    return {
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "spec": {
            "selector": {"matchLabels": {"app": "chat"}},
            "unit": {"name": "tokens", "per": 1_000_000, "source": {"preset": "vLLMOutputTokens"}},
            "baseline": {"start": START, "end": END},
            "target": {"reduction": 20, "by": BY},
        }
        | change,
        "status": status,
    }
