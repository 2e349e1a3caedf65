"""The page of emissions: bars by step, a table by group, and the same answer as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, get_args
from urllib.parse import urlencode

from starlette.responses import Response

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.run_labels import with_keys
from carbonbudget_operator.web.charts.stacked_bars import stacked_bars
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown, Question
from carbonbudget_operator.web.pages.answer_files import answer_file
from carbonbudget_operator.web.views.emission_view import Basis, EmissionLine, emission_bars, emission_table

WINDOWS: Final = (
    ("today", "Today"), ("yesterday", "Yesterday"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"),
    ("90d", "90 days"), ("week", "This week"), ("lastweek", "Last week"), ("month", "This month"),
    ("lastmonth", "Last month"),
)  # fmt: skip
STEPS: Final = ("hour", "day", "week", "month", "all")
FIELDS: Final = ("namespace", "workload", "run", "model", "node")
_PATH: Final = "/api/v1/emissions"
# Of each of the two answers. A row takes about a kilobyte while its page is made.
_MOST_ROWS: Final = 10_000


class _Form:
    """The address's parameters. They have the API's names, so that a page's address tells the API's."""

    def __init__(self, visit: Visit) -> None:
        self.window = visit.given("window", "" if visit.given("from") else "7d")
        self.start, self.end = visit.given("from"), visit.given("to")
        by, label = visit.given("by", "namespace"), visit.given("label").removeprefix("label:")
        self.label = label or (by.removeprefix("label:") if by.startswith("label:") else "")
        if by == "label" and not self.label:
            raise NotShown(400, "Write the label's key beside `by label`, for example team.")
        self.by = f"label:{self.label}" if by == "label" else by
        self.step = visit.given("step", "hour" if self.window in ("today", "yesterday", "24h") else "day")
        accounting = visit.given("accounting", "LocationBased")
        self.accounting: Basis = "MarketBased" if accounting == "MarketBased" else "LocationBased"
        self.filter = visit.given("filter", longest=4_000)
        if self.step not in STEPS:
            raise NotShown(400, f"step is one of {', '.join(STEPS)}.")

    @property
    def fields(self) -> Sequence[str]:
        """What the rows are grouped by: a run or a model is never shown without its namespace."""
        return with_keys(field.strip() for field in self.by.split(",") if field.strip())

    def query(self, **more: str) -> list[tuple[str, str]]:
        """The API's parameters."""
        span = {"window": self.window} if self.window else {"from": self.start, "to": self.end}
        given = {**span, "by": self.by, "accounting": self.accounting, "filter": self.filter, **more}
        return [(key, value) for key, value in given.items() if value]

    def questions(self) -> list[Question]:
        """For the table, and for the bars where there are any."""
        whole_window = self.query(step="all", compare="previous", unlabelled="true", limit=str(_MOST_ROWS))
        asked: list[Question] = [(_PATH, whole_window)]
        if self.step != "all":
            asked.append((_PATH, self.query(step=self.step, limit=str(_MOST_ROWS))))
        return asked

    def address(self, **changed: str) -> str:
        """The page's address with some parameters changed; an empty one is left out."""
        now = {
            "window": self.window, "from": self.start, "to": self.end, "by": self.by, "step": self.step,
            "accounting": self.accounting, "filter": self.filter,
        }  # fmt: skip
        return "/emissions?" + urlencode({key: value for key, value in {**now, **changed}.items() if value})


async def show_emissions(handling: PageHandling, visit: Visit) -> Response:
    """Bars and table. The table also has the window before."""
    form = _Form(visit)

    async def made(most_bytes: int | None) -> Response:
        return await _page(handling, visit, form, await visit.questions.ask(*form.questions(), most_bytes=most_bytes))

    return await handling.turns.made(form.address(), visit.questions, made)


async def _page(
    handling: PageHandling, visit: Visit, form: _Form, answers: Sequence[JsonObject | NotShown]
) -> Response:
    whole = answers[0]
    if isinstance(whole, NotShown):
        raise whole
    table = await asyncio.to_thread(emission_table, whole, form.fields, form.accounting)
    chart, legend, chart_note = "", [], ""
    if len(answers) > 1:
        steps = answers[1]
        if isinstance(steps, NotShown):
            chart_note = str(steps)
        elif steps.get("next") is not None:
            chart_note = "There are too many bars to draw. Choose a longer step, a shorter window, or a filter."
        else:
            starts, series = await asyncio.to_thread(emission_bars, steps, form.fields, form.accounting, table.lines)
            legend = [one.name for one in series]
            chart = stacked_bars(starts, form.step, series, f"Emissions by {form.step}") if starts else ""
    # Only users who may read all namespaces may group by node. In answers to them `namespaces` is null.
    fields = [field for field in FIELDS if field != "node" or whole.get("namespaces") is None]
    return handling.page(
        "emissions.html", visit, title="Emissions", here="emissions", form=form, table=table, chart=chart,
        legend=legend, chart_note=chart_note, windows=WINDOWS, steps=STEPS, fields=fields, filters=_filters(form),
        drill=lambda line: _drill(form, line), csv=_file(form, "csv"), json_file=_file(form, "json"),
        basis="market-based" if form.accounting == "MarketBased" else "location-based",
        bases=get_args(Basis), most_rows=_MOST_ROWS,
    )  # fmt: skip


async def give_file(handling: PageHandling, visit: Visit) -> Response:
    """The API's own answer as a file."""
    form = _Form(visit)
    return await answer_file(handling, visit, _PATH, form.query(step=form.step, limit="50000"), "emissions")


def _file(form: _Form, kind: str) -> str:
    return form.address().replace("/emissions?", f"/emissions.{kind}?", 1)


def _drill(form: _Form, line: EmissionLine) -> str:
    """Where a line leads: the workloads of a namespace or of a label's value; empty where nothing is below it."""
    fields = form.fields
    if "workload" in fields or len(fields) != len(line.keys) or line.keys[0].startswith("__"):
        return ""
    # A comma would begin another filter, and an empty value cannot be named.
    if any(not key or "," in key for key in line.keys):
        return ""
    named = ",".join(f"{field}={key}" for field, key in zip(fields, line.keys, strict=True))
    if "run" in fields:
        return ""  # the page of runs goes on from there
    below = "workload" if fields == ("namespace",) else "run" if "model" in fields else "namespace,workload"
    return form.address(by=below, filter=",".join(filter(None, (form.filter, named))))


def _filters(form: _Form) -> list[tuple[str, str]]:
    """Each filter, and the address without it."""
    parts = [part.strip() for part in form.filter.split(",") if part.strip()]
    return [
        (part, form.address(filter=",".join(other for place, other in enumerate(parts) if place != index),
                            by="namespace" if part.startswith("namespace=") and form.by == "workload" else form.by))
        for index, part in enumerate(parts)
    ]  # fmt: skip
