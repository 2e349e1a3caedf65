"""The two scores of SCI for AI as a Markdown page: score, components and coefficients. Pure."""

from __future__ import annotations

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import BOUNDARY, FACILITY_ENERGY, IT_ENERGY, instant
from carbonbudget_operator.model_card.markdown import markdown_table, markdown_text
from carbonbudget_operator.model_card.model_figures import WITHOUT_STAGE, ModelFigures
from carbonbudget_operator.model_card.sci_scores import SciScore, sci_scores, significant
from carbonbudget_operator.printable import numbered


def sci_card(model: ModelFigures, terms: CardTerms) -> str:
    """The page. A boundary without functional units has a sum and no score, and says how to name them."""
    name = markdown_text(" ".join(filter(None, (model.model, model.version))))
    runs = numbered(model.runs, "run", "runs")
    lines = [
        f"# Software Carbon Intensity of {name}",
        "",
        f"{instant(model.start)} to {instant(model.end)}, {runs}, {model.state}. Made by {model.tool} on "
        f"{instant(terms.created)[:10]}.",
        "",
    ]
    for score in sci_scores(model, terms):
        heading = f"## {score.boundary.capitalize()} boundary"
        lines += [heading, "", _score_line(score), "", *_components(model, score), ""]
    if WITHOUT_STAGE in model.stages:
        rest = model.stages[WITHOUT_STAGE]
        lines += [
            f"{grams(rest.location_ug + rest.embodied_ug)} g CO2e are of pods without a stage and in neither score: "
            "label them `carbonbudget.dev/stage`.",
            "",
        ]
    return "\n".join([*lines, BOUNDARY, ""])


def _score_line(score: SciScore) -> str:
    per_unit = score.grams_per_unit
    if score.units is None or per_unit is None:
        return (
            f"{grams(score.emissions_ug)} g CO2e. No functional unit is named, so there is no score: say "
            f"`--{score.boundary}-units '1.2e6 token'`."
        )
    unit = markdown_text(score.units.name)
    return f"**{significant(per_unit)} g CO2e per {unit}** ({float(score.units.count):,.15g} of them)."


def _components(model: ModelFigures, score: SciScore) -> list[str]:
    rows = [
        [
            name, kilowatt_hours(one.energy_uj), kilowatt_hours(one.facility_uj), grams(one.location_ug),
            grams(one.embodied_ug), f"{one.measured_percent} %",
        ]
        for name, one in model.stages.items()
        if name in score.stages
    ]  # fmt: skip
    if not rows:
        return ["No pod of the model had one of its stages: " + ", ".join(score.stages) + "."]
    return markdown_table(
        ["stage", f"{IT_ENERGY}, kWh", f"E: {FACILITY_ENERGY}, kWh", "E x I, g CO2e", "M, g CO2e", "measured"], rows
    )
