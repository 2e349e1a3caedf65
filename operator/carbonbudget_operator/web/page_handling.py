"""What each page is made with, and how a page becomes a response."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from carbonbudget_operator.web.budget_reader import BudgetReader
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.guard import Guard
from carbonbudget_operator.web.page_questions import NotShown, Questions, Unchanged
from carbonbudget_operator.web.page_turns import PageTurns
from carbonbudget_operator.web.rendering import page
from carbonbudget_operator.web.target_reader import TargetReader


@dataclass(frozen=True, slots=True)
class PageHandling:
    """The parts that all pages share. `now` returns UTC seconds."""

    gateway: Gateway
    guard: Guard
    budgets: BudgetReader
    targets: TargetReader
    now: Callable[[], float] = time.time
    turns: PageTurns = field(default_factory=PageTurns)

    def page(self, template: str, visit: Visit, status: int = 200, **values: Any) -> Response:
        """A page for a visit. The browser asks for it again each minute, by its tag where it has one."""
        address = visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else "")
        response = page(
            template, status, caller=visit.caller, sign_out=self.guard.sign_out_path(), address=address,
            tag=visit.questions.tag, **values,
        )  # fmt: skip
        if visit.questions.tag and status == 200:
            response.headers["ETag"] = visit.questions.tag
        return response

    def route(
        self, show: Callable[[PageHandling, Visit], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The handler of a page. It knows the caller before the page asks anything."""

        async def handle(request: Request) -> Response:
            caller = await self.guard.caller_of(request)
            if isinstance(caller, Response):
                return caller
            questions = Questions(self.gateway, caller, request.headers.get("if-none-match", ""))
            visit = Visit(request, caller, questions)
            try:
                return await show(self, visit)
            except Unchanged:
                return Response(status_code=304, headers={"ETag": questions.known})
            except NotShown as problem:
                questions.tag = ""
                return self.page(
                    "message.html", visit, problem.status, title=problem.title, message=str(problem), here="",
                )  # fmt: skip

        return handle


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a known caller."""

    request: Request
    caller: PageCaller
    questions: Questions

    def given(self, name: str, default: str = "", longest: int = 1_000) -> str:
        """A parameter of the address, without spaces at its ends. Raises NotShown for one that is too long."""
        value = self.request.query_params.get(name, "").strip() or default
        if len(value) > longest:
            raise NotShown(400, f"{name} is longer than {longest} characters.")
        return value
