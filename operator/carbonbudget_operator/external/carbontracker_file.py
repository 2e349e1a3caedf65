"""Carbontracker's output log (`..._carbontracker_output.log`): what a training has used. Pure.

The log has blocks `Actual consumption ...` and `Predicted consumption ...`, each with time, energy (kWh) and CO2eq (g);
both figures include Carbontracker's PUE. Predictions are never read. A later actual block holds the earlier ones, so
the last one counts. The line of the block has the time of its end, in local time without a zone.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from typing import Final

from carbonbudget_operator.external.file_amounts import micrograms, microjoules
from carbonbudget_operator.external.file_draft import FileDraft
from carbonbudget_operator.external.file_instants import check_past, instant_of, zone_of
from carbonbudget_operator.external.file_rows import MAX_ROWS
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFigure

_STAMPED: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:,[0-9]{3})? - (.*)", re.ASCII)
_ACTUAL: Final = re.compile(r"Actual consumption(?: for ([0-9]{1,9}) epoch\(s\))?:", re.ASCII)
_TIME: Final = re.compile(
    r"\tTime:\t(?:([0-9]{1,4}) days?, )?([0-9]{1,2}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?)", re.ASCII
)
_ENERGY: Final = re.compile(r"\tEnergy:\t(\S+) kWh", re.ASCII)
_EMISSIONS: Final = re.compile(r"\tCO2eq:\t(\S+) g", re.ASCII)
_LOG_NAME: Final = re.compile(r"(.+)_carbontracker_output\.log", re.ASCII)


def read_carbontracker(text: str, request: ImportRequest, now: int) -> FileDraft:
    """The figure of the log. Raises ExternalFileError."""
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_ROWS:
        raise ExternalFileError(f"the log has more than {MAX_ROWS} lines: this is no output log of Carbontracker")
    zone, draft = zone_of(request.timezone), FileDraft()
    named = _LOG_NAME.fullmatch(request.name)
    if named is None:
        raise ExternalFileError(
            f"the file's name is {shown(request.name)}: a log is known by the name that Carbontracker gave it, which "
            "ends with _carbontracker_output.log"
        )
    last: tuple[ExternalFigure, bool, int] | None = None
    stamp = ""
    for number, line in enumerate(lines, 1):
        if stamped := _STAMPED.fullmatch(line):
            stamp = stamped[1]
        elif (block := _ACTUAL.fullmatch(line)) is not None:
            figure, rounded = _figure(lines, number, stamp, zone, named[1], now)
            epochs = int(block[1] or 0)
            if last is not None:
                _check_later(last, figure, epochs)
                draft.superseded += 1
            last = figure, rounded, epochs
    if last is None:
        raise ExternalFileError(
            "the log has no line `Actual consumption`: name the ..._carbontracker_output.log of a training that has "
            "ended, not the ..._carbontracker.log"
        )
    draft.add(last[0], last[1])
    return draft


def _figure(
    lines: list[str], number: int, stamp: str, zone: dt.tzinfo, run: str, now: int
) -> tuple[ExternalFigure, bool]:
    """The block whose heading is line `number`."""
    if not stamp:
        raise ExternalFileError(f"line {number}: no line before it has a time: this is no log of Carbontracker")
    end = instant_of(stamp, zone, f"line {number}: the time before it")
    check_past(end, now, f"line {number}: the training", ": the log's times have no zone, --time-zone names it")
    time = _found(_TIME, lines, number, "Time")
    energy_uj, first = microjoules(
        _found(_ENERGY, lines, number + 1, "Energy, in kWh")[1], f"line {number + 2}: Energy"
    )
    said = _found(_EMISSIONS, lines, number + 2, "CO2eq, in g")[1]
    emissions_ug, second = micrograms(said, "g", f"line {number + 3}: CO2eq")
    seconds = (int(time[1] or 0) * 24 + int(time[2])) * 3600 + int(time[3]) * 60 + Decimal(time[4])
    start = end - max(1, math.ceil(seconds))
    figure = ExternalFigure(
        "carbontracker", "2-location", "", run, start, end, emissions_ug, energy_uj, "Carbontracker", number + 3,
        f"{said} g",
    )  # fmt: skip
    return figure, first or second


def _found(pattern: re.Pattern[str], lines: list[str], at: int, what: str) -> re.Match[str]:
    found = pattern.fullmatch(lines[at]) if at < len(lines) else None
    if found is None:
        raise ExternalFileError(f"line {at + 1} has no {what}: the log is cut, or of a version that is not known")
    return found


def _check_later(last: tuple[ExternalFigure, bool, int], figure: ExternalFigure, epochs: int) -> None:
    former, _, before = last
    if figure.end < former.end or epochs <= before or figure.emissions_ug < former.emissions_ug:
        raise ExternalFileError(
            f"lines {former.line} and {figure.line} are both of this training, and the second is no later state of the "
            "first: a log holds one training"
        )
