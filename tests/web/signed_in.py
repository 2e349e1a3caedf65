"""The page in this process, with a gateway that answers for the server, and a browser that keeps cookies."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx
from cryptography.fernet import Fernet
from prometheus_client import CollectorRegistry
from tests.web.page_world import World

from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.attempt_limits import AttemptLimits
from carbonbudget_operator.web.gateway import ApiAnswer, GatewayError, PageCaller
from carbonbudget_operator.web.metrics import WebMetrics
from carbonbudget_operator.web.probes_and_host_check import ProbesAndHostCheck
from carbonbudget_operator.web.security_headers import SecurityHeaders
from carbonbudget_operator.web.session_cookie import COOKIE_NAME, SessionSealer
from carbonbudget_operator.web.token_guard import TokenGuard

HOST = "carbon.example.org"
ORIGIN = f"https://{HOST}"
HOUR = 3600
NOW = 1_800_000_000


@dataclass
class AnsweringGateway:
    """Tokens are "token-NAME"; any other is refused. `asked` has the path and the token of each question.

    `world` answers all that is not whoami. `before` is awaited before each answer.
    """

    asked: list[tuple[str, str | None]] = field(default_factory=list)
    status: int = 200
    trouble: str = ""
    world: World = field(default_factory=World)
    before: Callable[[], Awaitable[None]] | None = None
    at_once: int = 0
    most_at_once: int = 0

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        self.asked.append((path, caller.token))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.before is not None:
            await self.before()
        self.at_once -= 1
        if self.trouble:
            raise GatewayError(self.trouble)
        kind, _, name = (caller.token or "").partition("-")
        if kind != "token":
            return ApiAnswer(401, {}, b'{"detail": "the token is expired, invalid, or not for the audience X"}')
        if path != "/api/v1/whoami":
            return await self.world.get(path, query, caller, etag, most_bytes)
        body = {"user": name, "groups": [], "all_namespaces": False, "namespaces": ["team-a"]}
        return ApiAnswer(self.status, {}, json.dumps(body).encode())


class Page:
    """One web process without its listeners. `now` is its clock; `browser` keeps cookies as a browser does."""

    def __init__(self, in_all: int = 100, each: int = 5) -> None:
        self.gateway, self.now, self.ready = AnsweringGateway(), float(NOW), True
        self.key = Fernet.generate_key()
        self.sealer = SessionSealer([self.key], 8 * HOUR)
        self.registry = CollectorRegistry()
        metrics = WebMetrics(self.registry)
        limits = AttemptLimits(in_all, each)
        guard = TokenGuard(self.gateway, self.sealer, limits, metrics, 8 * HOUR, lambda: self.now)
        served = ProbesAndHostCheck(make_app(self.gateway, guard), [HOST], lambda: self.ready, metrics)
        self.app = SecurityHeaders(served)
        self.browser = self.a_browser()

    def a_browser(self, address: str = "192.0.2.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    async def sign_in(
        self, token: str, place: str = "/", browser: httpx.AsyncClient | None = None, **headers: str
    ) -> httpx.Response:
        given = {"Origin": ORIGIN} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await (browser or self.browser).post("/signin", data={"token": token, "next": place}, headers=given)

    def cookie(self) -> str | None:
        return self.browser.cookies.get(COOKIE_NAME)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"carbonbudget_web_{name}_total", labels)
