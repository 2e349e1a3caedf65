"""Emissions by group: the table and the bars of the page, made of answers of `/api/v1/emissions`. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from carbonbudget_core.jsons import JsonObject, items, mapping, objects
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.special_label_values import UNLABELLED
from carbonbudget_operator.web.charts.stacked_bars import COLOURS, BarSeries
from carbonbudget_operator.web.views.answer_figures import (
    amount,
    change_text,
    cost_text,
    percent,
    second,
    share_text,
    utc_text,
    word,
)

Basis = Literal["LocationBased", "MarketBased"]
MOST_LINES: Final = 200
OTHERS: Final = "all others"
_FIGURE: Final[Mapping[str, str]] = {"LocationBased": "location_ug", "MarketBased": "market_ug"}
# Rows of no pod, and pods without the label: names that Kubernetes has for nothing else.
_WORDS: Final[Mapping[str, str]] = {
    "": "(none)", UNLABELLED: "(no label)", "__idle__": "(idle, charged to nobody)",
    "__system__": "(system, charged to nobody)", "__unseen__": "(not seen by the agent)",
}  # fmt: skip


def group_name(keys: Sequence[str]) -> str:
    """The group of a row, for people: "team-a / Job/train"."""
    return " / ".join(dict.fromkeys(_WORDS.get(key, key) for key in keys))


@dataclass(frozen=True, slots=True)
class EmissionLine:
    """A line of the table. `keys` are the values of the fields that the answer is grouped by."""

    keys: tuple[str, ...]
    emissions_ug: int
    energy_uj: int
    embodied_ug: int
    measured: int | None
    share: str = ""
    change: str = ""
    cost: str = ""
    energy_cost: str = ""

    @property
    def name(self) -> str:
        """The group, for people."""
        return group_name(self.keys)

    @property
    def emissions(self) -> str:
        """CO2e of the energy."""
        return format_mass(self.emissions_ug)

    @property
    def energy(self) -> str:
        """Energy."""
        return format_energy(self.energy_uj)

    @property
    def embodied(self) -> str:
        """CO2e of making the hardware; in no other figure."""
        return format_mass(self.embodied_ug)


@dataclass(frozen=True, slots=True)
class UnlabelledShare:
    """The energy of pods without a label that the settings require. `each` are the labels with the share of each."""

    share: str
    energy: str
    labels: Sequence[str]
    each: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class EmissionTable:
    """The window's lines, most first, and its total. `left_out` lines are in the CSV alone.

    `unlabelled` is None where the settings require no labels.
    """

    lines: Sequence[EmissionLine]
    left_out: int
    more_pages: bool
    total: EmissionLine
    start: str
    end: str
    data_through: str
    coverage: int | None
    unlabelled: UnlabelledShare | None = None
    currency: str = ""  # of the costs; empty where the settings have no price


def emission_table(answer: JsonObject, fields: Sequence[str], basis: Basis) -> EmissionTable:
    """The table of an answer with `step=all`. Changes are shown where it has the window before."""
    figure = _FIGURE[basis]
    rows = list(objects(answer.get("rows")))
    total = mapping(answer.get("total"))
    whole, currency = amount(total, figure) or 0, word(answer, "currency")
    lines = [_line(row, fields, figure, whole, currency) for row in rows]
    lines.sort(key=lambda one: (-one.emissions_ug, one.keys))
    coverage = percent(rows[0], "coverage_percent") if rows else None
    return EmissionTable(
        lines[:MOST_LINES], max(0, len(lines) - MOST_LINES), answer.get("next") is not None,
        _line(total, (), figure, whole, currency), utc_text(second(answer, "start")), utc_text(second(answer, "end")),
        utc_text(second(answer, "data_through")), coverage, _unlabelled(mapping(answer.get("unlabelled"))),
        currency,
    )  # fmt: skip


def emission_bars(
    answer: JsonObject, fields: Sequence[str], basis: Basis, ranked: Sequence[EmissionLine]
) -> tuple[list[int], list[BarSeries]]:
    """The steps' starts and the series, by the order of `ranked`; those beyond the colours are one series."""
    figure, kept = _FIGURE[basis], COLOURS - 1
    first = [line.keys for line in ranked[: kept if len(ranked) > COLOURS else COLOURS]]
    places: Mapping[tuple[str, ...], int] = {keys: place for place, keys in enumerate(first)}
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in objects(answer.get("rows")):
        if (start := second(row, "start")) is not None:
            keys = tuple(word(row, field) for field in fields)
            found[start][places.get(keys, len(first))] += amount(row, figure) or 0
    starts = sorted(found)
    names = [*map(group_name, first), OTHERS]
    series = [BarSeries(name, [found[at][place] for at in starts]) for place, name in enumerate(names)]
    return starts, [one for one in series if one.name != OTHERS or any(one.values_ug)]


def _unlabelled(found: JsonObject) -> UnlabelledShare | None:
    labels = [str(key) for key in items(found.get("required"))]
    if not labels:
        return None
    each = mapping(found.get("energy_percent_by_label"))
    return UnlabelledShare(
        _percent_text(found.get("energy_percent")), format_energy(amount(found, "energy_uj") or 0), labels,
        [(key, _percent_text(each.get(key))) for key in labels],
    )  # fmt: skip


def _percent_text(value: object) -> str:
    """One decimal below ten, as of the other shares: "7.5 %"; "none" where nothing used energy."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "none"
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def _line(row: JsonObject, fields: Sequence[str], figure: str, whole: int, currency: str) -> EmissionLine:
    emissions = amount(row, figure) or 0
    return EmissionLine(
        tuple(word(row, field) for field in fields), emissions, amount(row, "energy_uj") or 0,
        amount(row, "embodied_ug") or 0, percent(row, "measured_percent"), share_text(emissions, whole),
        change_text(emissions, amount(row, f"previous_{figure}")),
        cost_text(row, figure.replace("_ug", "_cost"), currency), cost_text(row, "energy_cost", currency),
    )  # fmt: skip
