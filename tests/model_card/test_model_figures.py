"""Figures of a model by stage: they add up, whatever labels its pods have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.model_card.card_terms import parse_units
from carbonbudget_operator.model_card.model_figures import (
    WITHOUT_STAGE,
    ModelCardError,
    StageFigures,
    by_stage,
    figures_of,
    sum_of,
)
from carbonbudget_operator.run_labels import STAGES

AMOUNT = st.integers(0, 10**24)
FIGURES = st.builds(StageFigures, AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT)


@given(st.dictionaries(st.sampled_from(STAGES), FIGURES), FIGURES, st.sampled_from([*STAGES, WITHOUT_STAGE]))
def test_stages_and_the_rest_add_up_to_the_model_whatever_the_rest_counts_as(
    parts: dict[str, StageFigures], rest: StageFigures, unlabelled_as: str
) -> None:
    whole = sum_of(parts.values()) + rest
    stages = by_stage(whole, parts, unlabelled_as)
    assert sum_of(stages.values()) == whole
    assert [name for name in (*STAGES, WITHOUT_STAGE) if name in stages] == list(stages)
    for name in set(parts) - {unlabelled_as}:
        assert stages.get(name, StageFigures()) == parts[name]


def test_stages_without_figures_are_left_out() -> None:
    assert by_stage(StageFigures(5), {"training": StageFigures(5), "data": StageFigures()}, WITHOUT_STAGE) == {
        "training": StageFigures(5)
    }


def test_figures_that_changed_while_they_were_read_make_no_card() -> None:
    with pytest.raises(ModelCardError, match="ask once more"):
        by_stage(StageFigures(4), {"training": StageFigures(5)}, WITHOUT_STAGE)


@given(AMOUNT, st.integers(0, 100))
def test_the_measured_share_of_an_answer_is_that_of_the_figures(energy_uj: int, percent: int) -> None:
    answer = {
        "energy_uj": str(energy_uj),
        "location_ug": 1,
        "market_ug": 2,
        "embodied_ug": 3,
        "facility_energy_uj": 2 * energy_uj,
    }
    found = figures_of(answer | {"measured_percent": percent})
    assert (found.energy_uj, found.location_ug, found.market_ug, found.embodied_ug) == (energy_uj, 1, 2, 3)
    assert found.facility_uj == 2 * energy_uj
    if energy_uj >= 1_000:
        assert found.measured_percent == percent


@pytest.mark.parametrize(
    "text", ["token", "0 token", "-1 token", "1.2e6", "nan token", "1 a\nb", "1e999 x", "1 " + "x" * 61]
)
def test_units_that_are_no_number_and_name_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ModelCardError, match=r"as in '1\.2e6 token'"):
        parse_units(text)


def test_units_are_exact() -> None:
    units = parse_units("1.2e6 output token")
    assert units is not None
    assert (units.count, units.name) == (1_200_000, "output token")
