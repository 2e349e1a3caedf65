"""A CycloneDX 1.6 bill of materials with one machine-learning model and the energy of its life. Pure.

Schema: CycloneDX 1.6 (ECMA-424), `modelCard.considerations.environmentalConsiderations.energyConsumptions`.
"""

from __future__ import annotations

import json
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from carbonbudget_operator.decimal_text import kilowatt_hours
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import BOUNDARY, instant, source_of
from carbonbudget_operator.model_card.model_figures import WITHOUT_STAGE, ModelFigures, StageFigures

_ACTIVITIES: Final = {
    "data": "data-preparation", "training": "training", "evaluation": "validation", "deployment": "deployment",
    "inference": "inference", "retirement": "other", WITHOUT_STAGE: "other",
}  # fmt: skip
_UG_PER_TONNE: Final = 1_000_000_000_000


def cyclonedx_card(model: ModelFigures, terms: CardTerms) -> str:
    """The document. The same card has the same serial number."""
    consumptions = [_consumption(model, name, figures, terms) for name, figures in model.stages.items()]
    component: dict[str, object] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "group": model.namespace,
        "name": model.model,
        "modelCard": {"considerations": {"environmentalConsiderations": {"energyConsumptions": consumptions}}},
    }
    if model.version:
        component["version"] = model.version
    said = repr((model.namespace, model.model, model.version, model.start, model.end, model.total))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, said)}",
        "version": 1,
        "metadata": {"timestamp": instant(terms.created), "tools": {"components": [_tool(model.tool)]}},
        "components": [component],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _consumption(model: ModelFigures, name: str, figures: StageFigures, terms: CardTerms) -> dict[str, object]:
    activity = "fine-tuning" if name == "training" and terms.fine_tuned else _ACTIVITIES[name]
    energy = {"value": figures.facility_uj / UJ_PER_KWH, "unit": "kWh"}  # what the emissions beside it are of
    provider = {
        "description": "The mix of the grid at each hour.",
        "organization": {"name": terms.provider or "not stated"},
        "energySource": "unknown",
        "energyProvided": energy,
    }
    return {
        "activity": activity,
        "energyProviders": [provider],
        "activityEnergyCost": energy,
        "co2CostEquivalent": {"value": figures.location_ug / _UG_PER_TONNE, "unit": "tCO2eq"},
        "properties": [
            {"name": "carbonbudget:stage", "value": name},
            {"name": "carbonbudget:it-energy-kWh", "value": kilowatt_hours(figures.energy_uj)},
            {"name": "carbonbudget:source", "value": source_of(model, figures)},
            {"name": "carbonbudget:market-based-tCO2eq", "value": repr(figures.market_ug / _UG_PER_TONNE)},
            {"name": "carbonbudget:embodied-tCO2eq", "value": repr(figures.embodied_ug / _UG_PER_TONNE)},
            {"name": "carbonbudget:boundary", "value": BOUNDARY},
        ],
    }


def _tool(text: str) -> dict[str, str]:
    name, _, version = text.partition(" ")
    return {"type": "application", "name": name} | ({"version": version} if version else {})
