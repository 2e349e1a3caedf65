"""The gate of a pipeline: exact at its limit, and never a pass by figures that may still rise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.pipeline_gate import (
    STALE_TARGET_SECONDS,
    Emitted,
    GateVerdict,
    TargetStanding,
    gate_run,
    gate_target,
    gate_version,
)

AMOUNT = st.integers(0, 10**18)


def new(micrograms: int, final: bool = True) -> Emitted:
    return Emitted("training of chat 1.3", micrograms, final)


def old(micrograms: int, final: bool = True) -> Emitted:
    return Emitted("training of chat 1.2", micrograms, final)


@given(AMOUNT, AMOUNT, st.booleans())
def test_a_run_fails_where_it_emitted_more_and_passes_by_final_figures_alone(
    used_ug: int, limit_ug: int, final: bool
) -> None:
    verdict = gate_run(Emitted("run exp", used_ug, final), limit_ug).verdict
    if used_ug > limit_ug:
        assert verdict is GateVerdict.FAILED
    else:
        assert verdict is (GateVerdict.PASSED if final else GateVerdict.WARNED)


@given(st.integers(1, 10**18), st.integers(-100, 1_000))
def test_a_version_may_emit_exactly_what_the_increase_allows_and_no_microgram_more(old_ug: int, percent: int) -> None:
    limit_ug = old_ug * (100 + percent) // 100
    assert gate_version(new(limit_ug), old(old_ug), Fraction(percent)).verdict is GateVerdict.PASSED
    assert gate_version(new(limit_ug + 1), old(old_ug), Fraction(percent)).verdict is GateVerdict.FAILED


def test_a_sentence_has_both_figures_and_what_is_allowed() -> None:
    sentence = gate_run(Emitted("run exp", 1_255_000, True), 1_250_000).sentence
    assert sentence == "run exp emitted 1.255g, more than 1.25g"
    said = gate_version(new(1_100_000_000), old(1_000_000_000), Fraction(5)).sentence
    assert said == "training of chat 1.3 emitted 1.1kg, 10 % more than training of chat 1.2; +5 % is allowed"
    said = gate_version(new(900_000_000), old(1_000_000_000), Fraction(-20)).sentence
    assert said.endswith("10 % less than training of chat 1.2; -20 % is allowed")


def test_a_version_that_emitted_nothing_is_no_measure() -> None:
    assert gate_version(new(1), old(0), Fraction(10)).verdict is GateVerdict.UNANSWERABLE


def test_provisional_figures_of_either_version_are_no_pass() -> None:
    for first, second in ((False, True), (True, False)):
        result = gate_version(new(1, first), old(2, second), Fraction(0))
        assert result.verdict is GateVerdict.WARNED
        assert "provisional and may rise" in result.sentence


def test_a_version_fails_by_a_final_measure_alone() -> None:
    result = gate_version(new(2), old(1, final=False), Fraction(0))
    assert result.verdict is GateVerdict.UNANSWERABLE
    assert result.sentence.endswith("training of chat 1.2 is provisional and may rise: ask again when it is final")


def test_a_failure_by_provisional_figures_says_so() -> None:
    for result in (gate_run(Emitted("run exp", 2, False), 1), gate_version(new(2, False), old(1), Fraction(0))):
        assert result.verdict is GateVerdict.FAILED
        assert result.sentence.endswith("; the figure is provisional, and its share of overhead can still fall")


CHAT = TargetStanding("target team-a/chat", "OnTrack", "", "tokens", 1_000_000, 42_500_000, 45_000_000, True, 3600)


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("OnTrack", GateVerdict.PASSED),
        ("Achieved", GateVerdict.PASSED),
        ("Behind", GateVerdict.WARNED),
        ("Violated", GateVerdict.FAILED),
        ("NoData", GateVerdict.UNANSWERABLE),
        ("", GateVerdict.UNANSWERABLE),
        ("Later", GateVerdict.UNANSWERABLE),
    ],
)
def test_a_target_passes_on_track_warns_behind_and_fails_when_it_is_violated(state: str, verdict: GateVerdict) -> None:
    assert gate_target(replace(CHAT, state=state)).verdict is verdict


def test_the_sentence_of_a_target_has_its_figure_and_what_its_path_asks_for() -> None:
    result = gate_target(CHAT)
    assert result.sentence == "target team-a/chat is OnTrack: 42.5g per 1,000,000 tokens, and 45g are expected by now"
    assert (result.emitted_ug, result.limit_ug) == (42_500_000, 45_000_000)
    single = replace(CHAT, unit="inference", per=1, expected_ug=None)
    assert gate_target(single).sentence == "target team-a/chat is OnTrack: 42.5g per inference"


@pytest.mark.parametrize("unit", ["token", "output tokens", "queries"])
def test_the_name_of_a_unit_is_shown_as_its_author_wrote_it(unit: str) -> None:
    assert f": 42.5g per 1,000,000 {unit}, and" in gate_target(replace(CHAT, unit=unit)).sentence


@pytest.mark.parametrize("state", ["OnTrack", "Violated"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"is_current": False}, "was changed and is not evaluated yet"),
        ({"age_seconds": STALE_TARGET_SECONDS + 1}, "has had no new figure for 24 h"),
        ({"age_seconds": None}, "has had no new figure: see"),
        ({"current_ug": None}, "has no figure: its units or its baseline are not known"),
    ],
)
def test_an_old_status_or_one_without_a_figure_is_no_answer(state: str, change: dict[str, object], said: str) -> None:
    result = gate_target(replace(CHAT, state=state, **change))  # type: ignore[arg-type] # of several types
    assert result.verdict is GateVerdict.UNANSWERABLE
    assert said in result.sentence


def test_a_figure_that_is_a_day_old_is_still_one() -> None:
    assert gate_target(replace(CHAT, age_seconds=STALE_TARGET_SECONDS)).verdict is GateVerdict.PASSED


def test_a_figure_that_is_not_known_is_none_and_not_zero() -> None:
    result = gate_target(replace(CHAT, state="NoData", current_ug=None, expected_ug=None))
    assert (result.emitted_ug, result.limit_ug) == (None, None)


def test_a_target_of_another_method_has_a_figure_that_is_not_compared() -> None:
    said = "carbon target chat: NoData, the method changed since the baseline was frozen"
    found = gate_target(replace(CHAT, state="NoData", message=said))
    assert found.verdict is GateVerdict.UNANSWERABLE
    assert found.sentence == f"target team-a/chat is not compared with its path: {said}"


def test_a_target_whose_spec_cannot_be_evaluated_says_why_and_not_to_ask_again() -> None:
    said = "spec.namespaceSelector selects no namespace: change it, or label a namespace"
    found = gate_target(replace(CHAT, state="NoData", message=said, is_current=False, is_refused=True))
    assert found.verdict is GateVerdict.UNANSWERABLE
    assert found.sentence == f"target team-a/chat cannot be evaluated: {said}"
