"""Answers about budgets as a server gives them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from typing import Any

NOW = int(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC).timestamp())
DAY = 86_400


def instant(second: int) -> str:
    return dt.datetime.fromtimestamp(second, dt.UTC).isoformat().replace("+00:00", "Z")


def budget_row(name: str = "monthly", namespace: str | None = "team-a", **given: Any) -> dict[str, Any]:
    """A row of /api/v1/budgets."""
    start = NOW - NOW % DAY - 23 * DAY
    row: dict[str, Any] = {
        "kind": "CarbonBudget" if namespace else "ClusterCarbonBudget", "namespace": namespace, "name": name,
        "state": "Warning", "action": "Warn", "message": "4.1kg of 5kg are used (82 %).",
        "limit_g": 5000.0, "limit_ug": "5000000000", "used_g": 4100.0, "used_ug": "4100000000", "percent_used": 82,
        "forecast_g": 5300.0, "exhausted_at": instant(NOW + 3 * DAY), "period": "Month",
        "period_start": instant(start), "period_end": instant(start + 30 * DAY), "time_zone": "Europe/Paris",
        "per": "Selection", "accounting": "LocationBased", "include": "Dynamic,Idle,Overhead",
        "dynamic_g": 3000.0, "idle_g": 700.0, "overhead_g": 400.0, "embodied_g": None,
        "enforced_action": None, "enforced_until": None, "suspend_from": None, "ready": True, "data_complete": True,
        "coverage_percent": 98, "measured_percent": 40, "observed_at": instant(NOW), "data_through": instant(NOW - 60),
        "current": True, "contact": "#ml-platform",
    }  # fmt: skip
    return row | given


BUDGETS = [
    budget_row("monthly"),
    budget_row(
        "training",
        "team-b",
        state="Exceeded",
        action="Block",
        used_ug="5500000000",
        percent_used=110,
        forecast_g=7000.0,
        enforced_action="Block",
        enforced_until=instant(NOW + 3600),
        message="5.5kg of 5kg are used: new Jobs are refused.",
    ),
    budget_row(
        "inference",
        "team-c",
        state="WithinBudget",
        action="",
        used_ug="900000000",
        percent_used=18,
        forecast_g=1200.0,
        exhausted_at=None,
        message="900g of 5kg are used.",
    ),
    budget_row(
        "company",
        None,
        state="WithinBudget",
        action="",
        limit_ug="80000000000",
        used_ug="31000000000",
        percent_used=38,
        forecast_g=52000.0,
        exhausted_at=None,
        message="31kg of 80kg are used.",
    ),
    budget_row(
        "new",
        "team-d",
        state=None,
        action=None,
        used_ug=None,
        used_g=None,
        percent_used=None,
        forecast_g=None,
        exhausted_at=None,
        coverage_percent=None,
        measured_percent=None,
        message=None,
        data_through=None,
    ),
    budget_row(
        "runs",
        "team-b",
        per="Workload",
        state="WithinBudget",
        action="",
        used_ug="700000000",
        percent_used=14,
        forecast_g=None,
        exhausted_at=None,
        message="The largest workload used 700g of 5kg.",
    ),
]


def budget_detail(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to /api/v1/budgets/{namespace}/{name}."""
    return dict(row) | {
        "read_at": instant(NOW),
        "base_limit_g": row["limit_g"],
        "base_limit_ug": row["limit_ug"],
        "adjustments": [],
        "parent": None,
        "children": None,
        "selector": "app=train",
        "namespace_selector": None,
        "namespaces": None,
        "thresholds": [
            {"at_percent": 80, "action": "Warn", "basis": "Used"},
            {"at_percent": 100, "action": "Block", "basis": "Used"},
        ],
        "top_workloads": [
            {
                "kind": "Job",
                "name": "train-llm",
                "namespace": None,
                "used_g": 2200.0,
                "percent_used": 44,
                "state": None,
            },
            {
                "kind": "CronJob",
                "name": "nightly",
                "namespace": None,
                "used_g": 900.0,
                "percent_used": 18,
                "state": None,
            },
        ],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "", "last_transition_time": None}
        ],
    }


def series(row: Mapping[str, Any]) -> dict[str, Any]:
    start, draw = int(dt.datetime.fromisoformat(row["period_start"]).timestamp()), random.Random(4)
    days = [draw.uniform(0.3, 1.7) for _ in range(23)]
    total, rows = 0.0, []
    for number, part in enumerate(days):
        total += part
        rows.append({
            "start": instant(start + number * DAY), "end": instant(start + (number + 1) * DAY),
            "cumulative_ug": str(int(int(row["used_ug"] or 0) * total / sum(days))),
        })  # fmt: skip
    forecast_g = row["forecast_g"]
    low, high = (None, None) if forecast_g is None else (forecast_g * 0.94, forecast_g * 1.1)
    return {
        "data_through": instant(NOW - 60), "start": row["period_start"], "end": row["period_end"],
        "limit_g": row["limit_g"], "limit_ug": row["limit_ug"],
        "forecast_low_g": low, "forecast_low_ug": None if low is None else str(int(low * 1e6)),
        "forecast_high_g": high, "forecast_high_ug": None if high is None else str(int(high * 1e6)),
        "rows": [
            {"used_g": None, "used_ug": None, "cumulative_g": None, "limit_g": 1, "even_pace_g": 1, "forecast_g": None}
            | one for one in rows
        ],
    }  # fmt: skip


def history(row: Mapping[str, Any]) -> dict[str, Any]:
    month, grams = 30 * DAY, int(row["limit_ug"]) / 1_000_000
    rows = [
        {
            "start": instant(NOW - (n + 2) * month), "end": instant(NOW - (n + 1) * month), "limit_g": grams,
            "used_g": grams * (60 + 13 * n % 55) / 100, "percent_used": 60 + 13 * n % 55,
        }
        for n in range(9)
    ]  # fmt: skip
    return {"rows": rows}
