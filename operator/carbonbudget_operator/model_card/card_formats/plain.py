"""The card as JSON and as CSV: all figures, exact."""

from __future__ import annotations

import csv
import io
import json

from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import instant
from carbonbudget_operator.model_card.model_figures import ModelFigures, StageFigures
from carbonbudget_operator.model_card.sci_scores import SciScore, sci_scores, significant

_COLUMNS = (
    "namespace", "model", "version", "start", "end", "stage", "energy_kwh", "facility_energy_kwh",
    "location_g", "market_g", "embodied_g", "measured_percent", "state",
)  # fmt: skip


def json_card(model: ModelFigures, terms: CardTerms) -> str:
    """All figures; amounts as exact decimal text, because JavaScript would round large numbers."""
    value = {
        "namespace": model.namespace, "model": model.model, "version": model.version or None,
        "start": instant(model.start), "end": instant(model.end), "runs": model.runs, "state": model.state,
        "total": _amounts(model.total),
        "stages": {name: _amounts(figures) for name, figures in model.stages.items()},
        "sci": {score.boundary: _score(score) for score in sci_scores(model, terms)},
        "tool": model.tool, "created": instant(terms.created),
    }  # fmt: skip
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def csv_card(model: ModelFigures, terms: CardTerms) -> str:
    """One row a stage, and none for the total: rows add up."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    head = (model.namespace, model.model, model.version, instant(model.start), instant(model.end))
    for name, stage in model.stages.items():
        amounts = _amounts(stage)
        writer.writerow(csv_cells([*head, name, *(amounts[column] for column in _COLUMNS[6:-1]), model.state]))
    return text.getvalue()


def _amounts(figures: StageFigures) -> dict[str, object]:
    return {
        "energy_kwh": kilowatt_hours(figures.energy_uj),
        "facility_energy_kwh": kilowatt_hours(figures.facility_uj), "location_g": grams(figures.location_ug),
        "market_g": grams(figures.market_ug), "embodied_g": grams(figures.embodied_ug),
        "measured_percent": figures.measured_percent,
    }  # fmt: skip


def _score(score: SciScore) -> dict[str, object]:
    per_unit, units = score.grams_per_unit, score.units
    return {
        "stages": list(score.stages), "emissions_g": grams(score.emissions_ug),
        "operational_g": grams(score.figures.location_ug), "embodied_g": grams(score.figures.embodied_ug),
        "functional_units": None if units is None else {"count": float(units.count), "name": units.name},
        "g_per_unit": None if per_unit is None else significant(per_unit),
    }  # fmt: skip
