"""The page as one ASGI app. Who serves it gives the gateway to the server and the guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from carbonbudget_operator.web.gateway import Gateway
from carbonbudget_operator.web.guard import Guard
from carbonbudget_operator.web.rendering import page
from carbonbudget_operator.web.security_headers import SecurityHeaders
from carbonbudget_operator.web.static_files import KeptStaticFiles


def make_app(gateway: Gateway, guard: Guard) -> Starlette:
    """The app. It answers GET and HEAD alone; the guard's own routes may take more."""

    async def home(request: Request) -> Response:
        caller = await guard.caller_of(request)
        if isinstance(caller, Response):
            return caller
        answer = await gateway.get("/api/v1/whoami", [], caller)
        return page("message.html", title="Budgets", caller=caller, message=f"The server answered {answer.status}.")

    routes = [*guard.routes(), Mount("/static", KeptStaticFiles()), Route("/", home)]
    return Starlette(routes=routes, middleware=[Middleware(SecurityHeaders)])
