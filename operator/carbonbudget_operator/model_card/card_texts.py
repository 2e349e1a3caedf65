"""Sentences and instants that several forms of a card have in common. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from carbonbudget_operator.model_card.model_figures import WITHOUT_STAGE, ModelCardError, ModelFigures, StageFigures

IT_ENERGY = "IT energy"
FACILITY_ENERGY = "energy with cooling and power supply, by PUE"
BOUNDARY = (
    "IT energy is that of the nodes' processors, accelerators and memory as their meters or models give it, with the "
    "shares of idle energy and of overhead (system, platform and shared namespaces) that each pod is charged with. "
    "Cooling and power supply are added by the PUE of the data centre, and the emissions are of both. All pods with "
    "the model's label count, those of failed and intermediate runs too. Not included: network equipment, storage "
    "outside the nodes, and work elsewhere."
)


def instant(second: int) -> str:
    """UTC seconds in RFC 3339."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def source_of(model: ModelFigures, figures: StageFigures) -> str:
    """Where figures are from, in one line."""
    return (
        f"{model.tool}, {figures.measured_percent} % of the IT energy measured, location-based, "
        f"{instant(model.start)[:10]} to {instant(model.end)[:10]}, {model.state}"
    )


def training_of(model: ModelFigures) -> StageFigures:
    """The training stage. Raises ModelCardError where pods have no stage and so nobody knows what training was."""
    found = model.stages.get("training")
    if found is None:
        why = "pods of it have no stage" if WITHOUT_STAGE in model.stages else "it has other stages only"
        raise ModelCardError(
            f"model {model.model} has no training in that time ({why}): label its training's pods "
            "carbonbudget.dev/stage=training, or say --unlabelled-stage training"
        )
    return found
