"""The gate of a pipeline: exact at its limit, and never a pass by figures that may still rise."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.pipeline_gate import Emitted, GateVerdict, gate_run, gate_version

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
