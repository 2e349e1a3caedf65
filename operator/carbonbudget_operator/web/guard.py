"""Who may open the page. `kubectl carbon ui` and `carbonbudget web` each have a guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from carbonbudget_operator.web.gateway import PageCaller


class Guard(Protocol):
    """Decides about each request before a page is made. Static files alone are given without asking it."""

    async def caller_of(self, request: Request) -> PageCaller | Response:
        """Who asks, or the response that they get instead: a sign-in page, a redirect, a refusal."""

    def routes(self) -> Sequence[BaseRoute]:
        """Routes of its own, such as signing in and out. It protects them itself."""

    def sign_out_path(self) -> str | None:
        """Where the page's `sign out` button POSTs to, or None where there is nothing to sign out of."""
