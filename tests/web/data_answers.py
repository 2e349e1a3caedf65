"""Answers about emissions, runs, the grid and the data as a server gives them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.web.budget_answers import DAY, NOW, instant


def emission_row(start: int, end: int, ug: int, **keys: Any) -> dict[str, Any]:
    return {
        "start": instant(start), "end": instant(end), **keys, "energy_kwh": ug / 3e8, "energy_uj": str(ug * 12_000),
        "location_g": ug / 1e6, "location_ug": str(ug), "market_g": ug / 2e6, "market_ug": str(ug // 2),
        "embodied_g": ug / 1e7, "embodied_ug": str(ug // 10), "measured_percent": 64, "coverage_percent": 97,
    }  # fmt: skip


def emissions(query: Mapping[str, str], names: Sequence[str]) -> dict[str, Any]:
    fields = query["by"].split(",")
    steps = 1 if query["step"] == "all" else 14
    begin, draw = NOW - NOW % DAY - 14 * DAY, random.Random(1)
    weights = {name: 10 ** draw.uniform(6, 9) for name in names}
    rows = []
    for number in range(steps):
        start = begin + number * DAY
        end = begin + 14 * DAY if steps == 1 else start + DAY
        for name in names:
            ug = int(weights[name] * (14 if steps == 1 else draw.uniform(0.5, 1.5)))
            row = emission_row(start, end, ug, **dict.fromkeys(fields, name))
            if "compare" in query:
                row |= {"previous_location_ug": str(int(ug * draw.uniform(0.6, 1.5))), "previous_market_ug": "1"}
            rows.append(row)
    total = emission_row(begin, begin + 14 * DAY, sum(int(row["location_ug"]) for row in rows))
    return {
        "data_through": instant(NOW - 60), "start": instant(begin), "end": instant(begin + 14 * DAY),
        "namespaces": None, "total": {key: value for key, value in total.items() if key not in ("start", "end")},
        "next": None, "rows": rows,
        "unlabelled": {
            "required": ["team", "project"], "pods_energy_kwh": 40.0, "pods_energy_uj": str(40 * 10**12),
            "energy_kwh": 3.0, "energy_uj": str(3 * 10**12), "energy_percent": 7.5,
            "energy_percent_by_label": {"team": 2.5, "project": 7.5},
        } if "unlabelled" in query else None,
    }  # fmt: skip


def status(names: Sequence[str] = ("node-3",)) -> dict[str, Any]:
    """As `/api/v1/status` answers."""
    refused = [
        ("node-3", "impossible", 41, "9 kW are more than a node can draw: see server.max_node_watts"),
        ("node-2", "busy", 3, "too many reports wait"),
        *((name, "name", 1, f"a pod's name is {name}") for name in names if not name.startswith("team")),
    ]
    return {
        "cluster": "prod", "version": "0.1.0", "settings": "9f1c", "data_through": instant(NOW),
        "required_labels": ["team", "project"],
        "exports": [
            {"target": "history", "last_hour": instant(NOW - 7200), "hours_behind": 0, "oldest_missing": None},
            {"target": "mimir", "last_hour": instant(NOW - 30 * 3600), "hours_behind": 28,
             "oldest_missing": instant(NOW - 29 * 3600)},
        ],
        "refused_since": instant(NOW - 3 * DAY),
        "refused": [
            {"sender": sender, "kind": kind, "reports": count, "last": instant(NOW - 600), "reason": reason}
            for sender, kind, count, reason in refused
        ],
    }  # fmt: skip


EXTERNAL = {
    "start": instant(NOW - DAY), "end": instant(NOW),
    "rows": [
        {"source": source, "scope": "scope2", "scope_name": scope, "method": method, "figures": 31, "accounts": 2,
         "files": 1, "emissions_g": 4_200.0, "emissions_ug": "4200000000", "energy_kwh": energy,
         "energy_uj": None if energy is None else str(int(energy * 3.6e12)), "first": instant(NOW - DAY),
         "last": instant(NOW), "partly_figures": 1, "partly_g": 1.0, "partly_ug": "1000000"}
        for source, scope, method, energy in (
            ("codecarbon", "electricity", "measured by the process", 12.5),
            ("aws", "electricity, market-based", "AWS model 2.0", None),
        )
    ],
}  # fmt: skip


def intensity(
    zones: Sequence[str], now: int, start: int | None = None, end: int | None = None, own_until: int = 0
) -> dict[str, Any]:
    """As `/api/v1/intensity` answers; hours that have not begun are forecasts, seven days ahead at most.

    Until `own_until` they are the source's own.
    """
    rows = []
    this_hour = now - now % 3600
    first, last = start or this_hour - 7 * DAY, min(end or this_hour + 3600, this_hour + 7 * DAY)
    for at in range(first - first % 3600, last, 3600):
        for place, zone in enumerate(zones):
            coming = at > now
            value = 320_000 - place * 120_000 + int(90_000 * abs((at // 3600 % 24) - 12) / 12)
            value += 0 if coming else at // 3600 * 7919 % 40_000
            rows.append({
                "start": instant(at), "end": instant(at + 3600), "zone": zone,
                "source": "Electricity Maps" if not coming else "forecast of Electricity Maps" if at < own_until
                else "mean of this hour of the week in the last weeks",
                "basis": "lifecycle", "g_per_kwh": value / 1000, "mg_per_kwh": value,
                "low_mg_per_kwh": value - 30_000 if coming else None,
                "high_mg_per_kwh": value + 45_000 if coming else None,
                "kind": "forecast" if coming else "published", "estimated": this_hour - 8 * 3600 < at <= now,
                "age_hours": 0, "received": None if coming else instant(now), "applied": not coming,
            })  # fmt: skip
    return {
        "start": instant(first),
        "forecast_until": instant(last) if last > now else None,
        "end": instant(now),
        "zones": list(zones),
        "next": None,
        "rows": rows,
        "sources": [
            {
                "source": "Electricity Maps",
                "zone": zones[0],
                "last_answer": instant(now),
                "failing": False,
                "error": None,
            },
            {"source": "NESO", "zone": "GB", "last_answer": None, "failing": True, "error": "no answer within 10 s"},
        ],
    }


def node_row(node: str, last: int | None, **given: Any) -> dict[str, Any]:
    return {
        "node": node, "zone": "DE", "region": "eu-central", "instance_type": "m5.2xlarge", "domain": "cpu",
        "method": "rapl", "energy_kwh": 3.2, "energy_uj": str(3_200 * 3_600_000_000), "measured_percent": 100,
        "first_report": instant(NOW - 30 * DAY), "last_report": None if last is None else instant(last),
        "coverage_percent": 99,
    } | given  # fmt: skip


def run_figures(ug: int) -> dict[str, Any]:
    return {
        "energy_kwh": ug / 3e8, "energy_uj": str(ug * 12_000), "facility_energy_kwh": ug / 2e8,
        "facility_energy_uj": str(ug * 18_000), "location_g": ug / 1e6, "location_ug": str(ug),
        "market_g": ug / 2e6, "market_ug": str(ug // 2), "embodied_g": ug / 1e7, "embodied_ug": str(ug // 10),
        "embodied_low_g": ug / 2e7, "embodied_high_g": ug / 5e6, "measured_percent": 64,
    }  # fmt: skip


def run_row(run: str, namespace: str = "team-a", ug: int = 410_000_000, **given: Any) -> dict[str, Any]:
    """A row of /api/v1/runs."""
    start = NOW - NOW % 3600 - 5 * 3600
    return {
        "namespace": namespace, "run": run, "model": "chat", "model_version": "1.3", "stage": "training", "pods": 4,
        "start": instant(start), "end": instant(start + 5 * 3600), "state": "final", **run_figures(ug),
    } | given  # fmt: skip


def run_detail(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to /api/v1/runs/{namespace}/{run}: five hours, of which the third has no pods."""
    first = int(dt.datetime.fromisoformat(row["start"]).timestamp())
    hours = [
        {
            "start": instant(first + hour * 3600), "end": instant(first + hour * 3600 + 3600), "state": row["state"],
            **run_figures(int(row["location_ug"]) // 4),
        }
        for hour in (0, 1, 3, 4)
    ]  # fmt: skip
    around = {"data_through": instant(NOW - 60), "start": instant(NOW - 35 * DAY), "end": instant(NOW)}
    return around | {"run": dict(row), "rows": hours}


def runs_answer(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer to /api/v1/runs."""
    total = run_figures(sum(int(row["location_ug"]) for row in rows)) | {"pods": 4 * len(rows)}
    around = {"data_through": instant(NOW - 60), "start": instant(NOW - 7 * DAY), "end": instant(NOW)}
    return around | {"namespaces": None, "total": total, "stages": [], "next": None, "rows": list(rows)}
