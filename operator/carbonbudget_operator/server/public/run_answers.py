"""Makes the answers to GET /api/v1/runs and of one run. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from carbonbudget_operator.answers.runs_by_label import (
    RunsQuery,
    RunSummary,
    run_hours,
    run_summaries,
    runs_version,
)
from carbonbudget_operator.answers.window_parser import Step, WindowError, check_window
from carbonbudget_operator.answers.workload_prediction import RunRest
from carbonbudget_operator.api.run_bodies import RunHourRow, RunRow
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.run_labels import RUN
from carbonbudget_operator.server.public.amount_cells import amount_cells
from carbonbudget_operator.server.public.paging import make_cursor, read_cursor
from carbonbudget_operator.server.public.row_formats import Cell, instant, render
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_LONGEST: Final[Step] = "day"  # 400 days: the hours of all runs in the window are looked through
_FAR_SECONDS: Final = 10 * 366 * 86_400  # a pod may say that it has a billion steps
_LONGEST_OF_ONE: Final[Step] = "hour"  # 35 days, with a row for each hour


def runs_query(given: Mapping[str, Any]) -> RunsQuery:
    """The question that a request's parameters are. Raises Refusal."""
    window = given["start"], given["end"]
    try:
        check_window(window, _LONGEST_OF_ONE if given.get("run") else _LONGEST)
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None
    names = given["namespaces"]
    labels = tuple((str(key), str(value)) for key, value in given["labels"])
    if given.get("run"):
        labels = (*labels, (RUN, str(given["run"])))
    place = read_cursor(given["cursor"], (str, str, str))
    after = None if place is None else (str(place[0]), str(place[1]), str(place[2]))
    return RunsQuery(
        window, None if names is None else frozenset(names), labels, given["unlabelled"], after, given["limit"]
    )


def runs_answer_version(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The version of either answer: it changes whenever the answer may. Raises Refusal."""
    return runs_version(book, runs_query(given), f"{given['format']} {given.get('run')}").encode()


def runs_answer(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The runs in the format that was asked for. Raises Refusal."""
    query = runs_query(given)
    found = run_summaries(book, query)
    last = found.runs[-1] if found.more else None
    around = {
        "data_through": instant(found.data_through) if found.data_through else None,
        "start": instant(found.covers[0]),
        "end": instant(found.covers[1]),
        "namespaces": None if query.namespaces is None else sorted(query.namespaces),
        "total": {**_figures(found.total), "pods": found.total.pods},
        "stages": [{"stage": stage or None, **_figures(its)} for stage, its in found.stages.items()],
        "next": None if last is None else make_cursor(last.key),
    }
    rows = [_row(run, found.data_through) for run in found.runs]
    return render(given["format"], list(_columns(RunRow.model_fields)), rows, around)


def run_answer(
    book: ValuedReader, given: Mapping[str, Any], rest_of_run: Callable[[str, str], RunRest | None]
) -> bytes:
    """One run and its hours. Raises Refusal 404 where no pod of the window has that run.

    `rest_of_run` returns what a run is expected to need until its end, by namespace and name.
    """
    query = runs_query(given)
    found, hours = run_hours(book, query)
    if not found.runs:
        name = f"{given['namespaces'][0]}/{given['run']}"
        reason = f"no pod of this window has the run {name}: the label {RUN} belongs on the pod template"
        raise Refusal(404, "not_found", reason)
    around: dict[str, object] = {
        "data_through": instant(found.data_through) if found.data_through else None,
        "start": instant(found.covers[0]),
        "end": instant(found.covers[1]),
        "run": _row(found.runs[0], found.data_through),
        "expected": None,
    }
    through = found.data_through
    if given["format"] == "json" and query.window[1] > through:  # else the window ends before the run does
        around["expected"] = _expected(found.runs[0], rest_of_run(given["namespaces"][0], given["run"]))
    rows: list[dict[str, Cell]] = [
        {
            "start": instant(hour.start),
            "end": instant(hour.end),
            "state": hour.state(found.data_through),
            **_figures(hour),
        }
        for hour in hours
    ]
    return render(given["format"], list(_columns(RunHourRow.model_fields)), rows, around)


def _expected(run: RunSummary, found: RunRest | None) -> dict[str, Cell] | None:
    """The run with its rest."""
    if found is None or found.is_done:
        return None
    amounts, rest = run.amounts, found.rest
    # A run's energy is what it is charged with; the rest is the own energy of its pods.
    used_uj, permille = amounts.energy_uj, found.charged_permille
    ends_at = found.ends_at_ms // 1000
    kwh, grams = UJ_PER_KWH, 1_000_000
    return {
        "progress_percent": found.progress_percent,
        "ends_at": instant(ends_at) if ends_at < rest.start_ms // 1000 + _FAR_SECONDS else None,
        "energy_kwh": (used_uj + rest.energy_uj * permille // 1000) / kwh,
        "energy_low_kwh": (used_uj + rest.low_uj * permille // 1000) / kwh,
        "energy_high_kwh": (used_uj + rest.high_uj * permille // 1000) / kwh,
        "location_g": (amounts.location_ug + rest.emissions_ug) / grams,
        "location_low_g": (amounts.location_ug + rest.low_ug) / grams,
        "location_high_g": (amounts.location_ug + rest.high_ug) / grams,
    }


def _columns(fields: Collection[str]) -> list[str]:
    """The names first, then the figures: a model's own fields come after those that it has from another."""
    own = [name for name in fields if not name.endswith(("_g", "_ug", "_kwh", "_uj", "_percent"))]
    return own + [name for name in fields if name not in own]


def _row(run: RunSummary, through: int) -> dict[str, Cell]:
    return {
        "namespace": run.namespace,
        "run": run.run or None,
        "model": ",".join(sorted(run.models)) or None,
        "model_version": ",".join(sorted(run.versions)) or None,
        "stage": ",".join(sorted(run.stages)) or None,
        "pods": run.pods,
        "start": instant(run.start),
        "end": instant(run.end),
        "state": run.state(through),
        **_figures(run),
    }


def _figures(run: RunSummary) -> dict[str, Cell]:
    cells = amount_cells(run.amounts)
    measured = cells.pop("measured_percent")
    return {
        **cells,
        "embodied_low_g": run.embodied_low_ug / 1_000_000,
        "embodied_high_g": run.embodied_high_ug / 1_000_000,
        "facility_energy_kwh": run.facility_uj / UJ_PER_KWH,
        "facility_energy_uj": str(run.facility_uj),
        "measured_percent": measured,
    }
