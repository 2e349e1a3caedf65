"""CodeCarbon's emissions.csv of versions 2 and 3: one row a run. Pure.

`emissions` is in kg, `energy_consumed` in kWh and `duration` in seconds; `timestamp` is the run's end in local time,
without a zone. A run that was flushed has several rows; each holds all of the run until then, and the last one counts.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

from carbonbudget_operator.external.file_amounts import decimal_of, micrograms, microjoules
from carbonbudget_operator.external.file_draft import FileDraft
from carbonbudget_operator.external.file_instants import check_past, instant_of, zone_of
from carbonbudget_operator.external.file_rows import Row, csv_rows, name_of
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFigure

_NEEDED: Final = (
    "timestamp", "project_name", "run_id", "duration", "emissions", "energy_consumed", "codecarbon_version",
)  # fmt: skip
_VERSION: Final = re.compile(r"([23])\.[0-9]+(\.[0-9A-Za-z.+-]+)?", re.ASCII)
_LONGEST_S: Final = 10 * 366 * 86_400
_MODES: Final = ("machine", "process")


def read_codecarbon(text: str, request: ImportRequest, now: int) -> FileDraft:
    """The figures of the file. Raises ExternalFileError."""
    draft, zone = FileDraft(), zone_of(request.timezone)
    runs: dict[str, tuple[ExternalFigure, bool]] = {}
    for line, row in csv_rows(text, _NEEDED):
        if "task_name" in row:
            raise ExternalFileError(
                "line 1 has the column task_name: this is CodeCarbon's file of tasks, which are parts of runs. Import "
                "the emissions.csv of the runs"
            )
        figure, rounded = _figure(line, row, zone, now)
        if figure.item in runs:
            _check_grown(runs[figure.item][0], figure)
            draft.superseded += 1
        runs[figure.item] = figure, rounded
    for figure, rounded in runs.values():
        draft.add(figure, rounded)
    return draft


def _figure(line: int, row: Row, zone: dt.tzinfo, now: int) -> tuple[ExternalFigure, bool]:
    place = f"line {line}"
    version = _VERSION.fullmatch(row["codecarbon_version"])
    if version is None:
        raise ExternalFileError(
            f"{place}: codecarbon_version is {shown(row['codecarbon_version'])}: versions 2 and 3 are read"
        )
    run = name_of(row["run_id"], f"{place}: run_id")
    project = name_of(row["project_name"], f"{place}: project_name", needed=False)
    mode = row.get("tracking_mode", "")
    if mode and mode not in _MODES:
        raise ExternalFileError(f"{place}: tracking_mode is {shown(mode)}, not {' or '.join(_MODES)}")
    emissions_ug, first = micrograms(row["emissions"], "kg", f"{place}: emissions")
    energy_uj, second = microjoules(row["energy_consumed"], f"{place}: energy_consumed")
    duration = decimal_of(row["duration"], f"{place}: duration")
    if duration > _LONGEST_S:
        raise ExternalFileError(f"{place}: duration is {shown(row['duration'])} s, which is more than ten years")
    end = instant_of(row["timestamp"], zone, f"{place}: timestamp")
    check_past(end, now, f"{place}: the run", ": its time has no zone, --time-zone names it")
    start = end - max(1, math.ceil(duration))  # whole seconds that hold the run
    made = f"CodeCarbon {version[1]}" + (f", {mode}" if mode else "")
    figure = ExternalFigure(
        "codecarbon", "2-location", project, run, start, end, emissions_ug, energy_uj, made, line,
        f"{row['emissions']} kg",
    )  # fmt: skip
    return figure, first or second


def _check_grown(former: ExternalFigure, figure: ExternalFigure) -> None:
    """A run's later row holds the earlier one. Raises ExternalFileError for one that cannot."""
    grown = (
        figure.end > former.end
        and figure.end - figure.start > former.end - former.start
        and figure.emissions_ug >= former.emissions_ug
        and figure.account == former.account
    )
    if not grown:
        raise ExternalFileError(
            f"lines {former.line} and {figure.line} are of one run ({shown(figure.item)}), and the second is no later "
            "state of the first: remove one of them"
        )
