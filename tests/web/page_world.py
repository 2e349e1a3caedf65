"""A server's answers as the page gets them, and the page around them, without a network."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import ApiAnswer, GatewayError, PageCaller

NOW = int(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC).timestamp())
DAY = 86_400
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eevil\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 253,
    "</title></svg><svg onload=alert(1)>",
)


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


def intensity(zones: Sequence[str], now: int, start: int | None = None, end: int | None = None) -> dict[str, Any]:
    """As `/api/v1/intensity` answers; hours that have not begun are forecasts, seven days ahead at most."""
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
                "source": "mean of this hour of the week in the last weeks" if coming else "Electricity Maps",
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
        "energy_kwh": ug / 3e8, "energy_uj": str(ug * 12_000), "location_g": ug / 1e6, "location_ug": str(ug),
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
    return around | {"namespaces": None, "total": total, "next": None, "rows": list(rows)}


class World:
    """A Gateway. `status` and `problem` make every answer a refusal; `down` is a server that cannot be reached."""

    def __init__(self, names: Sequence[str] = ("team-a", "team-b", "team-c", "__idle__"), now: int = NOW) -> None:
        self.names, self.now = names, now
        self.refused: dict[str, tuple[int, str]] = {}
        self.down = ""
        self.budgets = list(BUDGETS)
        self.runs = [run_row(f"exp-{number}", name) for number, name in enumerate(names) if not name.startswith("__")]
        self.asked: list[tuple[str, dict[str, str], PageCaller, str | None]] = []

    async def get(
        self, path: str, query: Sequence[tuple[str, str]], caller: PageCaller, etag: str | None = None
    ) -> ApiAnswer:
        given = dict(query)
        self.asked.append((path, given, caller, etag))
        if self.down:
            raise GatewayError(self.down)
        for prefix, (status, detail) in self.refused.items():
            if path.startswith(prefix):
                body = json.dumps({"type": "about:blank", "title": "", "status": status, "detail": detail, "kind": ""})
                return ApiAnswer(status, {"content-type": "application/problem+json"}, body.encode())
        if given.get("format") == "csv":
            return ApiAnswer(200, {"content-type": "text/csv"}, b"start,end\r\n")
        answer = self._answer(path, given)
        if answer is None:
            body = json.dumps({"detail": "there is no such budget", "status": 404}).encode()
            return ApiAnswer(404, {"content-type": "application/problem+json"}, body)
        tag = f'"{len(json.dumps(answer))}"'
        if etag == tag:
            return ApiAnswer(304, {"etag": tag}, b"")
        return ApiAnswer(200, {"content-type": "application/json", "etag": tag}, json.dumps(answer).encode())

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if path == "/api/v1/emissions":
            return emissions(query, self.names)
        if path == "/api/v1/intensity":
            span = [int(query[name]) if name in query else None for name in ("from", "to")]
            return intensity(("DE", "FR"), self.now, *span)
        if path == "/api/v1/nodes":
            rows = [node_row("node-1", self.now), node_row("node-1", self.now, domain="dram"),
                    node_row("node-2", self.now - 4000, coverage_percent=61),
                    node_row("node-3", None, domain=None, method=None, energy_uj="0", coverage_percent=0)]  # fmt: skip
            return {"data_through": instant(NOW), "start": "", "end": "", "next": None, "rows": rows}
        if path == "/api/v1/whoami":
            return {"user": "anna@example.org", "groups": [], "all_namespaces": True, "namespaces": None}
        if path == "/api/v1/status":
            return status(self.names)
        if path == "/api/v1/external":
            return EXTERNAL
        if path == "/api/v1/runs":
            return runs_answer(
                [row for row in self.runs if query.get("namespace", row["namespace"]) == row["namespace"]]
            )
        for row in self.runs:
            if path == f"/api/v1/runs/{quote(row['namespace'], safe='')}/{quote(row['run'], safe='')}":
                return run_detail(row)
        if path == "/api/v1/budgets":
            return {"read_at": instant(NOW), "next": None, "rows": self.budgets}
        for row in self.budgets:
            base = f"/api/v1/budgets/{row['namespace']}/{row['name']}"
            base = base if row["namespace"] else f"/api/v1/clusterbudgets/{row['name']}"
            if path == base:
                return budget_detail(row)
            if path == f"{base}/series":
                return series(row)
            if path == f"{base}/history":
                return history(row)
        return None


class Everybody:
    """A Guard that lets everybody in."""

    def __init__(self, name: str = "anna@example.org", sign_out: str | None = None) -> None:
        self.caller, self.sign_out = PageCaller(name), sign_out

    async def caller_of(self, request: Request) -> PageCaller | Response:
        return self.caller

    def routes(self) -> Sequence[BaseRoute]:
        return []

    def sign_out_path(self) -> str | None:
        return self.sign_out


def client(app: ASGIApp, base: str = "http://page") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base)


async def shown(path: str, world: World | None = None, at: int = NOW, **headers: str) -> httpx.Response:
    """A page of a world, as a browser without JavaScript gets it."""
    async with client(make_app(world or World(), Everybody(), now=lambda: at)) as asking:
        return await asking.get(path, headers=headers)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The app on a free port of this machine; its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
