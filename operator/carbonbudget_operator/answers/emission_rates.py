"""What the cluster emitted in the last hour that is over, by namespace and by label: for the server's metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from carbonbudget_operator.answers.emission_series import coverage_percent
from carbonbudget_operator.answers.required_labels import RequiredLabels
from carbonbudget_operator.ledger.fact_reader import data_through, node_spans, read_nodes
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import expectations
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
)
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION
from carbonbudget_operator.special_label_values import OTHER_VALUES, UNLABELLED
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

COMPONENTS: Final = ("Dynamic", "Idle", "Overhead")

_Name = TypeVar("_Name", str, tuple[str, str], tuple[str, str, str])
Figures = list[int]  # as a row has them
Accounted = Mapping[tuple[str, str], int]  # by accounting (or "Embodied") and component


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """What the nodes in a zone are valued by: mgCO2e/kWh of that basis, and the facility's overhead."""

    zone: str
    basis: str
    mg_per_kwh: int
    pue_permille: int


@dataclass(frozen=True, slots=True)
class HourEmissions:
    """Sums of one hour, which starts at the UTC second `hour`. `version` changes when they may.

    `by_namespace` also has the rows of no pod; `by_label` has (key, value), without those rows; `by_model` has
    (namespace, model) of pods that name one, `by_model_version` (namespace, model, version). The smallest beyond the
    bound are one row, `__other__`. `required` has the energy of pods without the labels that the settings require.
    """

    hour: int
    version: str
    by_namespace: Mapping[str, Figures]
    by_label: Mapping[tuple[str, str], Figures]
    by_model: Mapping[tuple[str, str], Figures]
    by_model_version: Mapping[tuple[str, str, str], Figures]
    intensities: Sequence[GridIntensity]
    coverage_percent: int | None
    required: RequiredLabels

    @property
    def measured_percent(self) -> int:
        """Share of the energy that a meter measured, rounded down."""
        total = sum(sum(figures[ENERGY_UJ]) for figures in self.by_namespace.values())
        metered = sum(figures[METERED_UJ] for figures in self.by_namespace.values())
        return metered * 100 // total if total else 0


def emission_rates(
    book: ValuedReader, keys: Sequence[str], most: int, known: str = "", since_days: int = 8,
    required_keys: Sequence[str] = (),
) -> HourEmissions | None:  # fmt: skip
    """The last hour that every node has reported; None without one, or if it is the version that is known."""
    with snapshot(book.engine) as connection:
        hour = data_through(node_spans(connection, book.cluster)) // HOUR * HOUR - HOUR
        units = book.units(connection, hour, hour + HOUR) if hour > 0 else {}
        version = f"{hour} {sorted(units.items())}"
        if not units or version == known:
            return None
        rows = [row for key, unit in units.items() for row in book.unit(connection, key, *unit).rows]
        expected = expectations(connection, book.cluster)
        nodes = read_nodes(connection, book.cluster, since=hour - since_days * 24 * HOUR).values()
        grid, places = book.grid(connection, hour), book.terms.at(hour).valuer.places
        stand = [places.of(node, hour, grid) for node in nodes]
        found = {
            GridIntensity(place.grid_zone or place.zone, place.basis, place.mg_per_kwh, place.pue_permille)
            for place in stand
        }
    required = RequiredLabels(required_keys)
    for row in rows:
        required.add(row)
    return HourEmissions(
        hour, version, _largest(_by_namespace(rows), most, OTHER_VALUES), _by_label(rows, keys, most),
        _largest(_by_model(rows), most, (OTHER_VALUES, OTHER_VALUES)),
        _largest(_by_model_version(rows), most, (OTHER_VALUES, OTHER_VALUES, OTHER_VALUES)),
        sorted(found, key=lambda one: (one.zone, one.basis, one.mg_per_kwh, one.pue_permille)),
        coverage_percent(book, expected, hour, hour + HOUR), required,
    )  # fmt: skip


def accounted(figures: Figures) -> Accounted:
    """The emissions in micrograms by accounting and component; embodied ones have neither."""
    found = {("Embodied", ""): figures[EMBODIED_UG]}
    for accounting, columns in (("LocationBased", LOCATION_UG), ("MarketBased", MARKET_UG)):
        for component, figure in zip(COMPONENTS, figures[columns], strict=True):
            found[accounting, component] = figure
    return found


def _by_namespace(rows: Iterable[ValuedRow]) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for row in rows:
        _add(found.setdefault(row.namespace, [0] * COLUMNS), row.figures)
    return found


def _by_label(rows: Sequence[ValuedRow], keys: Sequence[str], most: int) -> dict[tuple[str, str], Figures]:
    made: dict[tuple[str, str], Figures] = {}
    for key in keys:
        found: dict[str, Figures] = {}
        for row in rows:
            if not row.special:
                _add(found.setdefault(row.labels.get(key, UNLABELLED), [0] * COLUMNS), row.figures)
        made |= {(key, value): figures for value, figures in _largest(found, most, OTHER_VALUES).items()}
    return made


def _by_model(rows: Iterable[ValuedRow]) -> dict[tuple[str, str], Figures]:
    found: dict[tuple[str, str], Figures] = {}
    for row in rows:
        if not row.special and (model := row.labels.get(MODEL)):
            _add(found.setdefault((row.namespace, model), [0] * COLUMNS), row.figures)
    return found


def _by_model_version(rows: Iterable[ValuedRow]) -> dict[tuple[str, str, str], Figures]:
    found: dict[tuple[str, str, str], Figures] = {}
    for row in rows:
        if not row.special and (model := row.labels.get(MODEL)):
            version = row.labels.get(MODEL_VERSION) or UNLABELLED
            _add(found.setdefault((row.namespace, model, version), [0] * COLUMNS), row.figures)
    return found


def _largest(found: Mapping[_Name, Figures], most: int, other: _Name) -> dict[_Name, Figures]:
    """The `most` with the most emissions, and the sum of the others."""
    if len(found) <= most:
        return dict(found)
    ordered = sorted(found, key=lambda name: (-sum(found[name][LOCATION_UG]), name))
    rest = [0] * COLUMNS
    for name in ordered[most:]:
        _add(rest, found[name])
    return {name: found[name] for name in ordered[:most]} | {other: rest}


def _add(total: Figures, more: Sequence[int]) -> None:
    for column, figure in enumerate(more):
        total[column] += figure
