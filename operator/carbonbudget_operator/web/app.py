"""The page as one ASGI app. Who serves it gives the gateway to the server, the guard and the reader of budgets."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from carbonbudget_operator.web.api_budget_reader import ApiBudgetReader
from carbonbudget_operator.web.api_target_reader import ApiTargetReader
from carbonbudget_operator.web.budget_reader import BudgetReader
from carbonbudget_operator.web.gateway import Gateway
from carbonbudget_operator.web.guard import Guard
from carbonbudget_operator.web.page_handling import PageHandling
from carbonbudget_operator.web.pages.budget_pages import show_budget, show_budgets
from carbonbudget_operator.web.pages.data_page import show_data
from carbonbudget_operator.web.pages.emissions_page import give_file, show_emissions
from carbonbudget_operator.web.pages.grid_page import show_grid
from carbonbudget_operator.web.pages.runs_page import give_run, give_runs, show_run, show_runs
from carbonbudget_operator.web.pages.target_pages import show_target, show_targets
from carbonbudget_operator.web.rendering import page
from carbonbudget_operator.web.security_headers import SecurityHeaders
from carbonbudget_operator.web.static_files import KeptStaticFiles
from carbonbudget_operator.web.target_reader import TargetReader

_PAGES = {
    "/budgets": show_budgets,
    "/budgets/{namespace}/{name}": show_budget,
    "/cluster-budgets/{name}": show_budget,
    "/targets": show_targets,
    "/targets/{namespace}/{name}": show_target,
    "/cluster-targets/{name}": show_target,
    "/emissions": show_emissions,
    "/emissions.{kind}": give_file,
    "/runs": show_runs,
    "/runs.{kind}": give_runs,
    "/runs/{namespace}/{run}": show_run,
    "/runs/{namespace}/{run}/hours.{kind}": give_run,
    "/grid": show_grid,
    "/data": show_data,
}


def make_app(
    gateway: Gateway, guard: Guard, budgets: BudgetReader | None = None, targets: TargetReader | None = None,
    now: Callable[[], float] = time.time,
) -> ASGIApp:  # fmt: skip
    """The app. Its pages answer GET and HEAD alone; the guard's own routes may take more.

    `budgets`, `targets`: where they are read; left out, from `/api/v1`. `now` returns UTC seconds.
    """
    handling = PageHandling(
        gateway, guard, budgets or ApiBudgetReader(gateway), targets or ApiTargetReader(gateway), now
    )

    async def home(_: Request) -> Response:
        return RedirectResponse("/budgets", 303)

    app = Starlette(
        routes=[
            *guard.routes(),
            Mount("/static", KeptStaticFiles()),
            Route("/", home),
            *(Route(path, handling.route(show)) for path, show in _PAGES.items()),
        ],
        exception_handlers={HTTPException: _not_found, Exception: _failed},
    )
    return SecurityHeaders(app)  # around all of it: an error's page has them too


async def _not_found(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = "There is no such page." if error.status_code == 404 else f"{error.detail}."
    response = page("message.html", error.status_code, title="Not found", message=sentence)
    response.headers.update(error.headers or {})
    return response


async def _failed(_: Request, __: Exception) -> Response:
    """The log has the error; the reader gets a sentence."""
    sentence = "This page could not be made: the log of the process that serves it says why."
    return page("message.html", 500, title="Error", message=sentence)
