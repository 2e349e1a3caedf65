"""Runs as the page shows them: lines of the list, and the hours of one run, made of answers of `/api/v1/runs`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import JsonObject, mapping, objects
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.web.views.answer_figures import amount, percent, second, utc_text, word

MOST_LINES: Final = 500
_STATES: Final = {"final": "Final", "provisional": "Provisional"}


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run. Instants are UTC seconds; None and empty texts are not known."""

    namespace: str
    run: str
    model: str
    version: str
    stage: str
    pods: int | None
    start: int | None
    end: int | None
    energy_uj: int
    location_ug: int
    market_ug: int
    embodied_ug: int
    embodied_low_g: float | None
    embodied_high_g: float | None
    measured: int | None
    state: str

    @property
    def state_word(self) -> str:
        """ "Final" or "Provisional"."""
        return _STATES.get(self.state, "Unknown")

    @property
    def model_name(self) -> str:
        """The model with its version: "chat 1.3"."""
        return " ".join(filter(None, (self.model, self.version)))

    @property
    def began(self) -> str:
        """The run's first hour, for people."""
        return utc_text(self.start)

    @property
    def duration(self) -> str:
        """From its first hour to the end of its last: "5 h", "2 d 3 h"."""
        if self.start is None or self.end is None or self.end <= self.start:
            return ""
        hours = -(-(self.end - self.start) // 3600)
        return f"{hours} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"

    @property
    def energy(self) -> str:
        """Energy."""
        return format_energy(self.energy_uj)

    @property
    def emissions(self) -> str:
        """Location-based CO2e."""
        return format_mass(self.location_ug)

    @property
    def market(self) -> str:
        """Market-based CO2e."""
        return format_mass(self.market_ug)

    @property
    def embodied(self) -> str:
        """CO2e of making the hardware; in no other figure."""
        return format_mass(self.embodied_ug)

    @property
    def embodied_range(self) -> str:
        """Between which figures sources put it; empty where they agree."""
        low, high = self.embodied_low_g, self.embodied_high_g
        if low is None or high is None or high <= low:
            return ""
        return f"{format_mass(int(low * 1_000_000))} to {format_mass(int(high * 1_000_000))}"


@dataclass(frozen=True, slots=True)
class RunList:
    """The window's runs, those that began last first, and their total. `left_out` are in the CSV alone."""

    lines: Sequence[RunLine]
    left_out: int
    more_pages: bool
    total: RunLine
    start: str
    end: str
    data_through: str


def run_list(answer: JsonObject) -> RunList:
    """The list of runs in an answer of /api/v1/runs."""
    lines = sorted(map(_line, objects(answer.get("rows"))), key=lambda one: (-(one.start or 0), one.namespace, one.run))
    return RunList(
        lines[:MOST_LINES], max(0, len(lines) - MOST_LINES), answer.get("next") is not None,
        _line(mapping(answer.get("total"))), utc_text(second(answer, "start")), utc_text(second(answer, "end")),
        utc_text(second(answer, "data_through")),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """What a run that goes on is expected to have emitted and used at its end, as texts with their ranges."""

    progress: int
    ends_at: str
    emissions: str
    emissions_range: str
    energy: str
    energy_range: str


@dataclass(frozen=True, slots=True)
class PageRun:
    """One run and its hours, in order."""

    line: RunLine
    hours: Sequence[RunLine]
    start: str
    end: str
    data_through: str
    expected: ExpectedEnd | None


def shown_run(answer: JsonObject) -> PageRun:
    """The page of a run from an answer of /api/v1/runs/{namespace}/{run}."""
    return PageRun(
        _line(mapping(answer.get("run"))), [_line(row) for row in objects(answer.get("rows"))],
        utc_text(second(answer, "start")), utc_text(second(answer, "end")), utc_text(second(answer, "data_through")),
        _expected(answer.get("expected")),
    )  # fmt: skip


def _expected(value: object) -> ExpectedEnd | None:
    """None where the answer has none, or no whole one."""
    given = mapping(value)
    grams = [_number(given, f"location_{name}g") for name in ("", "low_", "high_")]
    kilowatt_hours = [_number(given, f"energy_{name}kwh") for name in ("", "low_", "high_")]
    progress = percent(given, "progress_percent")
    if progress is None or None in grams or None in kilowatt_hours:
        return None
    masses = [format_mass(int((one or 0) * 1_000_000)) for one in grams]
    energies = [format_energy(int((one or 0) * UJ_PER_KWH)) for one in kilowatt_hours]
    return ExpectedEnd(
        progress, utc_text(second(given, "ends_at")), masses[0], f"{masses[1]} to {masses[2]}", energies[0],
        f"{energies[1]} to {energies[2]}",
    )  # fmt: skip


def _line(row: JsonObject) -> RunLine:
    return RunLine(
        word(row, "namespace"), word(row, "run"), word(row, "model"), word(row, "model_version"), word(row, "stage"),
        amount(row, "pods"), second(row, "start"), second(row, "end"), amount(row, "energy_uj") or 0,
        amount(row, "location_ug") or 0, amount(row, "market_ug") or 0, amount(row, "embodied_ug") or 0,
        _number(row, "embodied_low_g"), _number(row, "embodied_high_g"), percent(row, "measured_percent"),
        word(row, "state"),
    )  # fmt: skip


def _number(row: JsonObject, key: str) -> float | None:
    value = row.get(key)
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**15
    return float(value) if good else None  # type: ignore[arg-type] # a number, as was just checked
