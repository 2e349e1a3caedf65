"""The energy part of the Model Documentation Form for general-purpose AI models, as Markdown. Pure.

Regulation (EU) 2024/1689, Annex XI, section 1, point 2 (d) and (e); the form is part of the Code of Practice for
general-purpose AI (July 2025), which asks for the energy of the training in MWh with at least two significant figures.
"""

from __future__ import annotations

from decimal import Decimal

from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import BOUNDARY, FACILITY_ENERGY, IT_ENERGY, instant, training_of
from carbonbudget_operator.model_card.markdown import markdown_table, markdown_text
from carbonbudget_operator.model_card.model_figures import ModelFigures

_UJ_PER_MWH = 3_600_000_000_000_000


def gpai_card(model: ModelFigures, terms: CardTerms) -> str:
    """The page. Raises ModelCardError without a training."""
    training = training_of(model)
    name = markdown_text(" ".join(filter(None, (model.model, model.version))))
    rows = [
        [f"Energy of the training, MWh ({FACILITY_ENERGY})", mega_watt_hours(training.facility_uj)],
        [f"{IT_ENERGY} of it, MWh", mega_watt_hours(training.energy_uj)],
        [f"Share of the {IT_ENERGY} that was measured", f"{training.measured_percent} %"],
        ["Time in which it was used", f"{instant(model.start)} to {instant(model.end)}"],
        ["Hardware", markdown_text(terms.hardware) or "not stated"],
        ["Location", markdown_text(terms.location) or "not stated"],
        ["Computation of the training, FLOP", "not measured by this tool"],
        ["Inference benchmark, FLOP", "not measured by this tool"],
    ]
    lines = [
        f"# Energy of {name} (model documentation form)",
        "",
        *markdown_table(["field", "value"], rows),
        "",
        "## Method",
        "",
        f"{BOUNDARY} The figures are of {model.tool}, {model.state}.",
        "",
    ]
    return "\n".join(lines)


def mega_watt_hours(energy_uj: int) -> str:
    """MWh with three significant figures at least: 1.23, 0.0000123, 12345."""
    value = energy_uj / _UJ_PER_MWH
    return format(value, ".0f") if value >= 1_000 else format(Decimal(format(value, ".3g")), "f")
