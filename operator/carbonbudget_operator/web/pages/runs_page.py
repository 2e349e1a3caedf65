"""The pages of runs: all of them as a table, and one with its hours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from starlette.responses import Response

from carbonbudget_operator.run_labels import STAGES
from carbonbudget_operator.web.charts.stacked_bars import BarSeries, stacked_bars
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown
from carbonbudget_operator.web.pages.answer_files import answer_file
from carbonbudget_operator.web.views.answer_figures import utc_text
from carbonbudget_operator.web.views.run_view import RunLine, run_list, shown_run

WINDOWS: Final = (("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "A year"))
RUN_WINDOWS: Final = (("24h", "24 hours"), ("7d", "7 days"), ("35d", "35 days"))
_PATH: Final = "/api/v1/runs"
_MOST_ROWS: Final = 2_000
_MOST_BARS: Final = 24 * 35
_LONGEST_SECONDS: Final = 35 * 86_400  # of a question about one run


class _Form:
    """The address's parameters. They have the API's names, so that a page's address tells the API's."""

    def __init__(self, visit: Visit) -> None:
        self.window = visit.given("window", "" if visit.given("from") else "7d")
        self.start, self.end = visit.given("from"), visit.given("to")
        self.namespace, self.model, self.stage = (visit.given(name) for name in ("namespace", "model", "stage"))

    def query(self, **more: str) -> list[tuple[str, str]]:
        """The parameters that have a value, with these."""
        given = {
            "window": self.window, "from": self.start, "to": self.end, "namespace": self.namespace,
            "model": self.model, "stage": self.stage, **more,
        }  # fmt: skip
        return [(key, value) for key, value in given.items() if value]

    def file(self, kind: str) -> str:
        """The address of the same runs as a file."""
        return f"/runs.{kind}?{urlencode(self.query())}"


async def show_runs(handling: PageHandling, visit: Visit) -> Response:
    """The runs of the window, those that began last first."""
    form = _Form(visit)
    (answer,) = await visit.questions.ask((_PATH, form.query(limit=str(_MOST_ROWS))))
    if isinstance(answer, NotShown):
        raise answer
    found = await asyncio.to_thread(run_list, answer)
    return handling.page(
        "runs.html", visit, title="Runs", here="runs", form=form, runs=found, windows=WINDOWS, stages=STAGES,
        address_of=lambda line: _address(line, _span_of_line(line, form.window, int(handling.now()))),
        csv=form.file("csv"), json_file=form.file("json"), most_rows=_MOST_ROWS,
    )  # fmt: skip


async def give_runs(handling: PageHandling, visit: Visit) -> Response:
    """The list as a file."""
    return await answer_file(handling, visit, _PATH, _Form(visit).query(limit="50000"), "runs")


async def show_run(handling: PageHandling, visit: Visit) -> Response:
    """One run: its figures, a bar for each hour, and the hours as a table."""
    span = _span_of(visit)
    (answer,) = await visit.questions.ask((_path_of(visit), list(span.items())))
    if isinstance(answer, NotShown):
        raise answer
    run = await asyncio.to_thread(shown_run, answer)
    here, query = _address(run.line), urlencode(span)
    return handling.page(
        "run.html", visit, title=run.line.run, here="runs", run=run, line=run.line, window=span.get("window", ""),
        windows=RUN_WINDOWS, here_address=here, chart=_chart(run.hours), when=utc_text,
        csv=f"{here}/hours.csv?{query}", json_file=f"{here}/hours.json?{query}",
    )  # fmt: skip


async def give_run(handling: PageHandling, visit: Visit) -> Response:
    """The hours of one run as a file."""
    return await answer_file(handling, visit, _path_of(visit), list(_span_of(visit).items()), "run")


def _span_of(visit: Visit) -> dict[str, str]:
    """The window of one run's page: `window`, or `from` and `to`."""
    if start := visit.given("from"):
        return {"from": start} | ({"to": end} if (end := visit.given("to")) else {})
    return {"window": visit.given("window", RUN_WINDOWS[-1][0])}


def _path_of(visit: Visit) -> str:
    """The API's address of a run. The parts are quoted: a name of the address is not a path."""
    namespace, run = (visit.request.path_params[name] for name in ("namespace", "run"))
    if not namespace or not run or "/" in namespace + run or len(namespace) > 63 or len(run) > 63:
        raise NotShown(404, "No run has such a name.")
    return f"{_PATH}/{quote(namespace, safe='')}/{quote(run, safe='')}"


def _address(line: RunLine, span: Mapping[str, str] | None = None) -> str:
    """The address of a run's page."""
    path = f"/runs/{quote(line.namespace, safe='')}/{quote(line.run, safe='')}"
    return f"{path}?{urlencode(span)}" if span else path


def _span_of_line(line: RunLine, window: str, now: int) -> Mapping[str, str]:
    """The window in which a run's page has the hours of the list: of a run that began earlier its first 35 days."""
    if window in dict(RUN_WINDOWS):
        return {"window": window}
    if line.start is None or line.end is None or line.start >= now - _LONGEST_SECONDS:
        return {"window": RUN_WINDOWS[-1][0]}
    return {"from": str(line.start), "to": str(min(line.end, line.start + _LONGEST_SECONDS))}


def _chart(hours: Sequence[RunLine]) -> str:
    """A bar for each hour from the first to the last, also for those without pods."""
    values = {hour.start - hour.start % 3600: hour.location_ug for hour in hours if hour.start is not None}
    if not values:
        return ""
    starts = list(range(min(values), max(values) + 1, 3600))
    if len(starts) > _MOST_BARS:
        return ""
    return stacked_bars(starts, "hour", [BarSeries("CO2e", [values.get(at, 0) for at in starts])], "Emissions by hour")
