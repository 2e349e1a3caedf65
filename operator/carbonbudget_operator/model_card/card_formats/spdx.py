"""An SPDX 3.0.1 document with one AI package and the energy of its training and inference. Pure.

Model: SPDX 3.0.1, profile AI, class EnergyConsumption. It has three kinds of energy and no emissions; the emissions are
in the package's comment.
"""

from __future__ import annotations

import json
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import BOUNDARY, FACILITY_ENERGY, IT_ENERGY, instant, source_of
from carbonbudget_operator.model_card.model_figures import ModelFigures, StageFigures

_CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_CREATION: Final = "_:creation"


def spdx_card(model: ModelFigures, terms: CardTerms) -> str:
    """The document as JSON-LD. Stages other than training and inference are in the comment alone."""
    said = repr((model.namespace, model.model, model.version, model.start, model.end, model.total))
    name = f"urn:uuid:{uuid5(NAMESPACE_URL, said)}"
    agent, package, document = f"{name}#tool", f"{name}#model", f"{name}#document"
    training = "ai_finetuningEnergyConsumption" if terms.fine_tuned else "ai_trainingEnergyConsumption"
    energies = {
        key: [_energy(model.stages[stage])]
        for key, stage in ((training, "training"), ("ai_inferenceEnergyConsumption", "inference"))
        if stage in model.stages
    }
    element: dict[str, object] = {
        "type": "ai_AIPackage", "spdxId": package, "creationInfo": _CREATION, "name": model.model,
        "comment": _comment(model),
    }  # fmt: skip
    if model.version:
        element["software_packageVersion"] = model.version
    if energies:
        element["ai_energyConsumption"] = {"type": "ai_EnergyConsumption", **energies}
    graph = [
        {
            "type": "CreationInfo", "@id": _CREATION, "specVersion": "3.0.1", "created": instant(terms.created),
            "createdBy": [agent],
        },
        {"type": "SoftwareAgent", "spdxId": agent, "creationInfo": _CREATION, "name": model.tool},
        {
            "type": "SpdxDocument", "spdxId": document, "creationInfo": _CREATION, "rootElement": [package],
            "profileConformance": ["core", "software", "ai"],
        },
        element,
    ]  # fmt: skip
    return json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=2, ensure_ascii=False) + "\n"


def _energy(figures: StageFigures) -> dict[str, object]:
    return {
        "type": "ai_EnergyConsumptionDescription",
        "ai_energyQuantity": figures.facility_uj / UJ_PER_KWH,
        "ai_energyUnit": "kilowattHour",
    }


def _comment(model: ModelFigures) -> str:
    lines = [
        f"{name}: {kilowatt_hours(figures.facility_uj)} kWh ({FACILITY_ENERGY}; {IT_ENERGY} alone "
        f"{kilowatt_hours(figures.energy_uj)} kWh), {grams(figures.location_ug)} g CO2e location-based, "
        f"{grams(figures.market_ug)} g market-based, "
        f"{grams(figures.embodied_ug)} g embodied ({source_of(model, figures)})"
        for name, figures in model.stages.items()
    ]
    return "\n".join([*lines, BOUNDARY])
