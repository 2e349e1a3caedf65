"""A change that rounds to nothing has no sign, wherever one is printed."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.answers import report_comparison
from carbonbudget_operator.answers.report_comparison import summary
from carbonbudget_operator.targets.target_verdict import change_percent, fall_percent
from carbonbudget_operator.web.views.answer_figures import change_text

KEY = report_comparison._FIGURES[0][0]
_UG = st.integers(1, 10**15)


def bare_zero(text: str) -> bool:
    """Whether it is a zero with a sign."""
    return text.startswith(("-", "+")) and not text.strip("+-0.,% ()")


@given(_UG, _UG)
def test_no_change_of_targets_page_and_reports_is_a_zero_with_a_sign(now: int, before: int) -> None:
    assert not bare_zero(change_percent(Fraction(now), Fraction(before)))
    assert not bare_zero(change_text(now, before))
    for line in summary({"total": {KEY: before}}, {"total": {KEY: now}}):
        if "(" in line and "%" in line:
            assert not bare_zero(line.rpartition("(")[2])


@pytest.mark.parametrize(("now", "shown"), [("999999", "(0.00 %)"), ("1000001", "(0.00 %)"), ("990000", "(-1.00 %)")])
def test_a_report_that_differs_by_next_to_nothing_says_so_without_a_sign(now: str, shown: str) -> None:
    (line,) = summary({"total": {KEY: "1000000"}}, {"total": {KEY: now}})
    assert line.endswith(shown)


@given(st.fractions(0, 100))
def test_what_a_path_asks_for_is_a_fall_or_zero(reduction: Fraction) -> None:
    shown = fall_percent(reduction)
    assert not bare_zero(shown)
    assert (shown == "0.0") == (reduction * 10 < 1)
