"""A server's answers as the page gets them, and the page around them, without a network."""

from __future__ import annotations

import asyncio
import json
import re
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
from tests.web.budget_answers import BUDGETS, NOW, budget_detail, history, instant, series
from tests.web.data_answers import EXTERNAL, emissions, intensity, node_row, run_detail, run_row, runs_answer, status
from tests.web.target_answers import TARGETS, target_detail, target_windows

from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import AnswerTooLarge, ApiAnswer, GatewayError, PageCaller

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eevil\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 253,
    "</title></svg><svg onload=alert(1)>",
)


def text_of(html: str) -> str:
    """What a reader sees."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


class World:
    """A Gateway. `status` and `problem` make every answer a refusal; `down` is a server that cannot be reached."""

    def __init__(self, names: Sequence[str] = ("team-a", "team-b", "team-c", "__idle__"), now: int = NOW) -> None:
        self.names, self.now = names, now
        self.refused: dict[str, tuple[int, str]] = {}
        self.down = ""
        self.budgets, self.targets = list(BUDGETS), list(TARGETS)
        self.runs = [run_row(f"exp-{number}", name) for number, name in enumerate(names) if not name.startswith("__")]
        self.own_until, self.forecasts = 0, list[dict[str, object]]()
        self.asked: list[tuple[str, dict[str, str], PageCaller, str | None]] = []
        self.read_token: dict[str, Any] | None = None

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        given = dict(query)
        self.asked.append((path, given, caller, etag))
        if self.down:
            raise GatewayError(self.down)
        for prefix, (code, detail) in self.refused.items():
            if path.startswith(prefix):
                body = json.dumps({"type": "about:blank", "title": "", "status": code, "detail": detail, "kind": ""})
                return ApiAnswer(code, {"content-type": "application/problem+json"}, body.encode())
        if given.get("format") == "csv":
            return ApiAnswer(200, {"content-type": "text/csv"}, b"start,end\r\n")
        answer = self._answer(path, given)
        if answer is None:
            body = json.dumps({"detail": "there is no such budget", "status": 404}).encode()
            return ApiAnswer(404, {"content-type": "application/problem+json"}, body)
        tag = f'"{len(json.dumps(answer))}"'
        if etag == tag:
            return ApiAnswer(304, {"etag": tag}, b"")
        text = json.dumps(answer).encode()
        if most_bytes is not None and len(text) > most_bytes:
            raise AnswerTooLarge(most_bytes)
        return ApiAnswer(200, {"content-type": "application/json", "etag": tag}, text)

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if path == "/api/v1/emissions":
            return emissions(query, self.names)
        if path == "/api/v1/intensity":
            span = [int(query[name]) if name in query else None for name in ("from", "to")]
            return intensity(("DE", "FR"), self.now, *span, self.own_until) | {"forecasts": self.forecasts}
        if path == "/api/v1/nodes":
            rows = [node_row("node-1", self.now), node_row("node-1", self.now, domain="dram"),
                    node_row("node-2", self.now - 4000, coverage_percent=61),
                    node_row("node-3", None, domain=None, method=None, energy_uj="0", coverage_percent=0)]  # fmt: skip
            return {"data_through": instant(NOW), "start": "", "end": "", "next": None, "rows": rows}
        if path == "/api/v1/whoami":
            who = {"user": "anna@example.org", "groups": [], "all_namespaces": True, "namespaces": None}
            return who | {"token": self.read_token}
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
        if path == "/api/v1/targets":
            return {"read_at": instant(NOW), "next": None, "rows": self.targets}
        for row in self.targets:
            base = f"/api/v1/targets/{row['namespace']}/{row['name']}"
            base = base if row["namespace"] else f"/api/v1/clustertargets/{row['name']}"
            if path == base:
                return target_detail(row)
            if path == f"{base}/history":
                return {"rows": target_windows(row)}
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
