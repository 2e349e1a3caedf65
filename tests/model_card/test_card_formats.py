"""Each form of a card: valid by its own schema or library, with the figures that went in, whatever the names are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from fractions import Fraction

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spdx_python_model import v3_0_1 as spdx3

from carbonbudget_operator.model_card.card_formats.cyclonedx import cyclonedx_card
from carbonbudget_operator.model_card.card_formats.gpai import gpai_card, mega_watt_hours
from carbonbudget_operator.model_card.card_formats.hugging_face import hugging_face_card
from carbonbudget_operator.model_card.card_formats.plain import csv_card, json_card
from carbonbudget_operator.model_card.card_formats.sci import sci_card
from carbonbudget_operator.model_card.card_formats.spdx import spdx_card
from carbonbudget_operator.model_card.card_terms import CardTerms, parse_units
from carbonbudget_operator.model_card.model_figures import (
    WITHOUT_STAGE,
    ModelCardError,
    ModelFigures,
    StageFigures,
    sum_of,
)
from carbonbudget_operator.model_card.sci_scores import sci_scores
from carbonbudget_operator.printable import printable
from carbonbudget_operator.run_labels import STAGES

KWH, GRAM, START = 3_600_000_000_000, 1_000_000, 1_764_000_000
TRAINING = StageFigures(1_500 * KWH, 600_000 * GRAM, 0, 40_000 * GRAM, 1_350 * KWH, 2_370 * KWH)  # a PUE of 1.58
INFERENCE = StageFigures(20 * KWH, 8_000 * GRAM, 7_000 * GRAM, 1_000 * GRAM, 0, 30 * KWH)
TERMS = CardTerms(created=START + 7200)
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
Form = Callable[[ModelFigures, CardTerms], str]
FORMS: list[Form] = [cyclonedx_card, gpai_card, hugging_face_card, json_card, csv_card, sci_card, spdx_card]


def model(stages: dict[str, StageFigures] | None = None, name: str = "org.chat", version: str = "1.3") -> ModelFigures:
    found = {"training": TRAINING, "inference": INFERENCE} if stages is None else stages
    return ModelFigures("team-a", name, version, START, START + 3600, found, 3, "final", "carbonbudget 0.1.0")


STAGED = st.dictionaries(
    st.sampled_from([*STAGES, WITHOUT_STAGE]),
    st.builds(StageFigures, *[st.integers(0, 10**22)] * 6),
    min_size=1,
)  # fmt: skip
NAMES = st.text(min_size=1, max_size=80)


def cyclonedx_activities(text: str) -> list[dict[str, object]]:
    error = VALIDATOR.validate_str(text)
    assert error is None, error
    considerations = json.loads(text)["components"][0]["modelCard"]["considerations"]
    found = considerations["environmentalConsiderations"]["energyConsumptions"]
    assert isinstance(found, list)
    return found


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
@given(STAGED, NAMES, st.booleans())
def test_a_cyclonedx_card_satisfies_the_schema_of_1_6(
    stages: dict[str, StageFigures], name: str, fine_tuned: bool
) -> None:
    terms = CardTerms(START, fine_tuned, provider=name)
    assert len(cyclonedx_activities(cyclonedx_card(model(stages, name, name), terms))) == len(stages)


def test_the_schema_of_cyclonedx_would_find_a_wrong_unit() -> None:
    assert VALIDATOR.validate_str(cyclonedx_card(model(), TERMS).replace('"kWh"', '"MWh"')) is not None


def test_a_cyclonedx_card_has_kilowatt_hours_and_tonnes_of_each_activity() -> None:
    training, inference = cyclonedx_activities(cyclonedx_card(model(), TERMS))
    assert training["activity"] == "training"
    assert training["activityEnergyCost"] == {"value": 2370.0, "unit": "kWh"}  # what the emissions are of
    (provider,) = training["energyProviders"]  # type: ignore[misc]
    assert provider["energyProvided"] == training["activityEnergyCost"]
    assert {"name": "carbonbudget:it-energy-kWh", "value": "1500"} in training["properties"]  # type: ignore[operator]
    assert training["co2CostEquivalent"] == {"value": 0.6, "unit": "tCO2eq"}
    assert inference["activity"] == "inference"


def test_a_fine_tuning_is_named_as_one_in_each_form_that_has_a_place_for_it() -> None:
    terms = CardTerms(START, fine_tuned=True)
    assert cyclonedx_activities(cyclonedx_card(model(), terms))[0]["activity"] == "fine-tuning"
    assert "finetuningEnergyConsumption" in spdx_card(model(), terms)
    assert 'training_type: "fine-tuning"' in hugging_face_card(model(), terms)


def spdx_package(text: str) -> spdx3.ai_AIPackage:
    objects = spdx3.SHACLObjectSet()
    spdx3.JSONLDDeserializer().read(io.StringIO(text), objects)
    (package,) = objects.foreach_type(spdx3.ai_AIPackage)
    return package


@given(STAGED, NAMES)
def test_an_spdx_card_is_read_by_the_classes_of_3_0_1(stages: dict[str, StageFigures], name: str) -> None:
    package = spdx_package(spdx_card(model(stages, name, name), TERMS))
    assert package.name == name
    energy = package.ai_energyConsumption
    known = {"training", "inference"} & set(stages)
    assert (energy is not None) == bool(known)
    if energy is not None and "training" in stages:
        (found,) = energy.ai_trainingEnergyConsumption
        assert found.ai_energyQuantity == stages["training"].facility_uj / KWH


def test_a_hugging_face_card_has_grams_of_the_training_alone() -> None:
    terms = CardTerms(START, location='Frankfurt: "eu-central-1"', hardware="8 x H100")
    block = yaml.safe_load(hugging_face_card(model(), terms).strip("-\n"))["co2_eq_emissions"]
    assert block == {
        "emissions": 600_000.0,
        "source": "carbonbudget 0.1.0, 90 % of the IT energy measured, location-based, 2025-11-24 to 2025-11-24, final",
        "training_type": "pre-training",
        "geographical_location": 'Frankfurt: "eu-central-1"',
        "hardware_used": "8 x H100",
    }


@given(NAMES)
def test_no_text_of_an_option_ends_the_front_matter_or_adds_a_field(text: str) -> None:
    card = hugging_face_card(model(), CardTerms(START, location=text, hardware=text))
    assert card.startswith("---\n")
    assert card.count("\n---\n") == 1
    assert card.endswith("\n---\n")
    block = yaml.safe_load(card[4:-4])
    assert block.keys() == {"co2_eq_emissions"}
    assert block["co2_eq_emissions"]["hardware_used"] == printable(text, 300)


@pytest.mark.parametrize("form", [hugging_face_card, gpai_card])
@pytest.mark.parametrize("stages", [{WITHOUT_STAGE: TRAINING}, {"inference": INFERENCE}])
def test_a_form_about_the_training_says_how_to_label_it_where_none_is_known(
    form: Form, stages: dict[str, StageFigures]
) -> None:
    with pytest.raises(ModelCardError, match="stage=training, or say --unlabelled-stage training"):
        form(model(stages), TERMS)


@given(STAGED)
def test_the_rows_of_csv_and_json_add_up_to_the_model_exactly(stages: dict[str, StageFigures]) -> None:
    found = model(stages)
    rows = list(csv.DictReader(io.StringIO(csv_card(found, TERMS))))
    value = json.loads(json_card(found, TERMS))
    for column, amount in (("location_g", found.total.location_ug), ("embodied_g", found.total.embodied_ug)):
        assert sum(Fraction(row[column]) for row in rows) == Fraction(amount, GRAM)
        assert Fraction(value["total"][column]) == Fraction(amount, GRAM)
    assert sum_of(stages.values()) == found.total


def test_sci_has_two_scores_that_are_never_added() -> None:
    terms = CardTerms(
        START, consumer_units=parse_units("1.8e6 token"), provider_units=parse_units("3e12 training token")
    )
    consumer, provider = sci_scores(model(), terms)
    assert consumer.grams_per_unit == Fraction(9_000, 1_800_000)  # (8,000 g + 1,000 g) / 1.8 million
    assert provider.grams_per_unit == Fraction(640_000, 3 * 10**12)
    text = sci_card(model(), terms)
    assert "**0.005 g CO2e per token** (1,800,000 of them)." in text
    assert "**2.13333e-07 g CO2e per training token**" in text


def test_sci_without_units_has_sums_and_says_how_to_name_units() -> None:
    assert "9000 g CO2e. No functional unit is named, so there is no score: say `--consumer-units" in sci_card(
        model(), TERMS
    )


def test_sci_counts_pods_without_a_stage_in_neither_score_and_says_so() -> None:
    text = sci_card(model({"training": TRAINING, WITHOUT_STAGE: INFERENCE}), TERMS)
    assert "9000 g CO2e are of pods without a stage and in neither score" in text


@pytest.mark.parametrize(
    ("energy_uj", "text"),
    [(1_500 * KWH, "1.5"), (12_345_678 * KWH, "12346"), (KWH // 80, "0.0000125"), (0, "0"), (999_600 * KWH, "1000")],
)
def test_the_form_for_general_purpose_models_has_megawatt_hours_without_exponents(energy_uj: int, text: str) -> None:
    assert Fraction(mega_watt_hours(energy_uj)) == Fraction(text)
    assert "e" not in mega_watt_hours(energy_uj)


def test_every_form_with_energy_says_which_it_is_and_has_that_with_cooling_beside_it() -> None:
    gpai, sci, spdx = gpai_card(model(), TERMS), sci_card(model(), TERMS), spdx_card(model(), TERMS)
    assert "| Energy of the training, MWh (energy with cooling and power supply, by PUE) | 2.37 |" in gpai
    assert "| IT energy of it, MWh | 1.5 |" in gpai
    assert "| stage | IT energy, kWh | E: energy with cooling and power supply, by PUE, kWh |" in sci
    assert "| training | 1500 | 2370 |" in sci
    assert "training: 2370 kWh (energy with cooling and power supply, by PUE; IT energy alone 1500 kWh)" in spdx
    (row, _) = csv.DictReader(io.StringIO(csv_card(model(), TERMS)))
    total = json.loads(json_card(model(), TERMS))["total"]
    assert (row["energy_kwh"], row["facility_energy_kwh"]) == ("1500", "2370")
    assert (total["energy_kwh"], total["facility_energy_kwh"]) == ("1520", "2400")


@pytest.mark.parametrize("form", [gpai_card, sci_card, spdx_card, cyclonedx_card])
def test_the_boundary_leaves_out_what_nobody_measures(form: Form) -> None:
    assert "Not included: network equipment, storage outside the nodes" in form(model(), TERMS)


@pytest.mark.parametrize("form", [gpai_card, sci_card])
def test_a_name_with_marks_of_markdown_is_text(form: Form) -> None:
    text = form(model(name="<script>|[a](javascript:b)*c*"), TERMS)
    assert "\\<script\\>\\|\\[a\\]\\(javascript:b\\)\\*c\\*" in text


@pytest.mark.parametrize("form", FORMS)
def test_the_same_figures_give_the_same_text(form: Form) -> None:
    assert form(model(), TERMS) == form(model(), TERMS)
