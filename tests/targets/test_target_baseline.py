"""When a baseline is frozen, what a restatement changes, and what its hash is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from tests.targets.figures import START, baseline, some_sums, stated, sums

from carbonbudget_operator.targets.target_baseline import (
    PARTIAL_AFTER_S,
    baseline_hash,
    measured_baseline,
    not_yet_frozen,
    restated_rate,
)
from carbonbudget_operator.targets.unit_sums import UnitSums


def why_not(
    of: UnitSums, through: int = START, waited_s: int = 0, minimum_units: int = 0, missing: str = ""
) -> str:  # fmt: skip
    return not_yet_frozen(of, START, through, waited_s, minimum_units * 10**6, missing)


def test_a_whole_span_that_is_over_is_frozen() -> None:
    assert why_not(sums(100, 1000)) == ""


def test_a_span_in_the_future_is_waited_for() -> None:
    assert why_not(sums(100, 1000), through=START - 1) == "the baseline's span is not over"


def test_a_span_with_missing_hours_is_frozen_only_after_two_days_of_asking_again() -> None:
    partial = sums(100, 1000, hours=24, known=20)
    said = why_not(partial, missing="Prometheus does not answer")
    assert said == "units of 4 of the 24 hours of the baseline are missing: Prometheus does not answer"
    assert why_not(partial, waited_s=PARTIAL_AFTER_S) == ""


def test_with_less_than_half_of_the_hours_it_is_never_frozen() -> None:
    assert "units of 11 of the 24 hours" in why_not(sums(100, 1000, hours=24, known=11), waited_s=10**9)
    assert why_not(sums(100, 1000, hours=24, known=12), waited_s=10**9) == ""


@pytest.mark.parametrize(
    ("of", "minimum", "sentence"),
    [
        (sums(100, 0), 0, "no units were counted in the baseline's span: choose another span"),
        (sums(100, 9), 10, "9 units were counted in the baseline's span, fewer than minimumUnits"),
        (sums(0, 10), 0, "nothing was emitted in the baseline's span"),
    ],
)
def test_a_span_without_what_a_rate_needs_is_refused_with_a_sentence(of: UnitSums, minimum: int, sentence: str) -> None:
    assert sentence in why_not(of, minimum_units=minimum)


def test_other_factors_restate_the_baseline() -> None:
    assert restated_rate(sums(100, 1000), sums(90, 1000), 1000) == 90_000_000


def test_the_same_figure_is_no_restatement_and_neither_are_other_units() -> None:
    assert restated_rate(sums(100, 1000), sums(100, 1000), 1000) is None
    assert restated_rate(sums(100, 1000), sums(90, 999), 1000) is None  # hours that came or went: not the factors
    assert restated_rate(sums(100, 0), sums(90, 0), 1000) is None


def test_energy_is_valued_with_the_grid_of_the_baseline_and_embodied_emissions_stay() -> None:
    of = baseline(grams=110, embodied=10, joules=1000)  # 0.1 g a joule
    assert of.at_its_grid(sums(30, 1, embodied=5, joules=500)) == 55_000_000


def test_a_baseline_without_energy_has_no_grid_but_for_a_window_without_energy() -> None:
    of = baseline(grams=10, embodied=10, joules=0)
    assert of.at_its_grid(sums(30, 1, embodied=5, joules=500)) is None
    assert of.at_its_grid(sums(5, 1, embodied=5, joules=0)) == 5_000_000


def test_a_stated_baseline_has_no_grid_of_its_own() -> None:
    assert stated(100).at_its_grid(sums(30, 1, embodied=5)) == 30_000_000


@given(some_sums(least_units=1))
def test_the_baseline_at_its_own_grid_is_what_it_emitted(span: UnitSums) -> None:
    if span.energy_uj or not span.operational_ug:
        assert measured_baseline(span, 1, 0).at_its_grid(span) == span.emissions_ug


def test_the_hash_is_of_what_the_baseline_depends_on_and_never_changes() -> None:
    source, span = {"preset": "vLLMOutputTokens"}, {"start": 1, "end": 2}
    first = baseline_hash("counted", 1000, source, span)
    assert first == "4784bf16d62387a5"
    others = [
        baseline_hash("other", 1000, source, span),
        baseline_hash("counted", 1, source, span),
        baseline_hash("counted", 1000, {"client": "x"}, span),
        baseline_hash("counted", 1000, source, {"value": "42g"}),
    ]
    assert len({first, *others}) == 5
