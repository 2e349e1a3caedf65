"""Answers about targets as a server gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.web.budget_answers import DAY, NOW, instant

MIDNIGHT = NOW - NOW % DAY
BASELINE_END = MIDNIGHT - 70 * DAY


def target_row(name: str = "chat-tokens", namespace: str | None = "team-a", **given: Any) -> dict[str, Any]:
    """A row of /api/v1/targets: 37.2 g for a million tokens, of which 36.9 g were expected."""
    row: dict[str, Any] = {
        "kind": "CarbonTarget" if namespace else "ClusterCarbonTarget", "namespace": namespace, "name": name,
        "state": "Behind", "message": "carbon target chat-tokens: Behind, 37.2g CO2e per 1,000,000 token (-11.4 %)",
        "unit": "token", "per": 1_000_000, "window": "Week", "time_zone": "Europe/Paris", "basis": "Total",
        "accounting": "LocationBased", "reduction_percent": 20, "by": instant(MIDNIGHT + 110 * DAY),
        "path": "Linear", "include": "Dynamic,Idle,Overhead,Embodied", "embodied_ug": "90000000",
        "tolerance_percent": 5, "current_g": 37.2, "current_ug": "37200000", "ready": True, "units_available": True,
        "window_start": instant(NOW - 7 * DAY), "window_end": instant(NOW), "units": "91250000",
        "emissions_g": 3394.5, "emissions_ug": "3394500000", "energy_uj": "36720000000000",
        "hours_percent": 99, "emissions_percent": 99, "measured_percent": 87, "coverage_percent": 98,
        "at_baseline_grid_g": 38.1,
        "expected_g": 36.9, "expected_ug": "36900000",
        "baseline_g": 42.0, "baseline_ug": "42000000", "change_percent": -11.4,
        "observed_at": instant(NOW), "data_through": instant(NOW - 60), "current": True,
    }  # fmt: skip
    return row | given


TARGETS = [
    target_row(),
    target_row(
        "batch-images", "team-b", state="Violated", unit="image", per=1, current_ug="1900000", expected_ug="1300000",
        baseline_ug="1500000", at_baseline_grid_g=2.0, change_percent=26.6, path="Stepped",
        message="carbon target batch-images: Violated, 1.9g CO2e per image (+26.6 %), expected 1.3g",
    ),
    target_row("search", "team-c", state="OnTrack", unit="request", per=1_000, current_ug="300000",
               expected_ug="310000", change_percent=-15.0, baseline_ug="353000", basis="Efficiency"),
    target_row("company-inference", None, state="Achieved", current_ug="30000000", change_percent=-28.5),
    target_row("new", "team-d", state="NoData", message=None, at_baseline_grid_g=None, data_through=None,
               **dict.fromkeys(("current_g", "current_ug", "window_start", "window_end", "units", "emissions_ug",
                                "energy_uj", "hours_percent", "emissions_percent", "measured_percent",
                                "coverage_percent", "expected_g",
                                "expected_ug", "baseline_g", "baseline_ug", "change_percent",
                                "embodied_ug"))),
]  # fmt: skip


def target_windows(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Nine weeks, newest first; the present one is not over."""
    if row["baseline_ug"] is None:
        return []
    baseline, monday = int(row["baseline_ug"]), MIDNIGHT - DAY
    found = []
    for number in range(9):
        end = monday - number * 7 * DAY
        part = (end - BASELINE_END) / (180 * DAY)
        expected, figure = int(baseline * (1 - 0.2 * part)), int(baseline * (0.99 - 0.21 * part + 0.04 * (number % 3)))
        state = "OnTrack" if figure <= expected else "Behind" if figure <= 1.05 * expected else "Violated"
        found.append({
            "start": instant(end - 7 * DAY), "end": instant(end), "per_unit_ug": str(figure),
            "per_unit_g": figure / 1e6, "expected_g": expected / 1e6, "emissions_ug": "1", "energy_uj": "1",
            "state": state, "units": str(90_000_000 - number * 1_000_000),
            "hours_percent": 100 if number else 96, "emissions_percent": 100 if number else 96,
            "saved_ug": str((baseline - figure) * 90),
            "saved_uj": str((baseline - figure) * 90 * 10_000), "absolute_fall_ug": "1000000",
            "money": f"{(baseline - figure) * 90 / 1e9:.2f} EUR",
        })  # fmt: skip
    return found


def target_detail(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to /api/v1/targets/{namespace}/{name}."""
    has_baseline = row["baseline_ug"] is not None
    stepped = [
        {"by": instant(MIDNIGHT - 20 * DAY), "reduction_percent": 10},
        {"by": instant(MIDNIGHT + 40 * DAY), "reduction_percent": 15},
    ]
    return {
        **row,
        "created_at": instant(BASELINE_END - 30 * DAY),
        "steps": stepped if row["path"] == "Stepped" else [],
        "baseline": {
            "per_unit_g": row["baseline_g"], "per_unit_ug": row["baseline_ug"], "units": "360000000",
            "start": instant(BASELINE_END - 28 * DAY), "end": instant(BASELINE_END), "emissions_ug": "15120000000",
            "energy_uj": "1", "frozen_at": instant(BASELINE_END), "restated": "42.3g",
            "method": ["carbon.pue 1.2"],
        } if has_baseline else None,
        "minimum_units": 1_000_000, "source": "preset vLLMOutputTokens", "selector": "app=chat",
        "namespace_selector": None,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "", "last_transition_time": None},
            {"type": "UnitsAvailable", "status": "True" if has_baseline else "False", "reason": "Counted",
             "message": "" if has_baseline else "Prometheus has no series vllm:generation_tokens_total of team-d",
             "last_transition_time": None},
            {"type": "OnTrack", "status": "False", "reason": "Behind", "message": "0.8 % above the path",
             "last_transition_time": None},
        ],
    }  # fmt: skip
