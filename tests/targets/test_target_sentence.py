"""The sentence about a target."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

from tests.targets.figures import BY, EFFICIENCY, LINEAR, START, TERMS, baseline, sums

from carbonbudget_operator.targets.target_sentence import TargetSubject, describe_target, without_time
from carbonbudget_operator.targets.target_verdict import judge_target

HALF = (START + BY) // 2
SUBJECT = TargetSubject("chatbot", "token", 1000, ZoneInfo("UTC"), 20, BY)


def test_it_says_the_figure_the_change_what_is_expected_and_by_when() -> None:
    of = baseline()
    made = judge_target(TERMS, LINEAR, of, sums(93, 1000), HALF)
    assert describe_target(SUBJECT, made, of.rate_ug, HALF) == (
        "carbon target chatbot: Behind, 93g CO2e per 1,000 token (-7.0 %), expected 90g (-10.0 %), -20 % by 2027-01-09"
        "; location-based, as of 2026-11-20"
    )


def test_a_figure_just_above_the_path_is_not_shown_as_equal() -> None:
    of = baseline()
    window = replace(sums(90, 1000), emissions_ug=90_000_100)
    assert "90.0001g" in describe_target(SUBJECT, judge_target(TERMS, LINEAR, of, window, HALF), of.rate_ug, HALF)


def test_efficiency_is_named() -> None:
    of = baseline()
    made = judge_target(EFFICIENCY, LINEAR, of, sums(85, 1000), HALF)
    said = describe_target(replace(SUBJECT, efficiency=True, per=1, cluster=True, market=True), made, of.rate_ug, HALF)
    assert said.startswith(
        "cluster carbon target chatbot: OnTrack, 85g CO2e per token at the baseline's grid (-15.0 %)"
    )
    assert "market-based" in said


def test_without_data_it_says_why_and_the_figure_that_there_is() -> None:
    made = judge_target(TERMS, LINEAR, None, sums(90, 1000), HALF, no_baseline="the baseline's span is not over")
    assert describe_target(SUBJECT, made, None, 0) == (
        "carbon target chatbot: NoData, the baseline's span is not over; last window 90g CO2e per 1,000 token; "
        "location-based"
    )


def test_why_units_are_missing_is_not_cut_where_there_is_room_for_it() -> None:
    why = "Prometheus has samples of 0 of that hour's 60 minutes: it was away, or has forgotten the hour"
    made = judge_target(TERMS, LINEAR, baseline(), replace(sums(0, 0), known_hours=0), HALF, missing=why)
    assert why in describe_target(SUBJECT, made, None, HALF)


def test_it_fits_a_line_and_shows_no_control_characters() -> None:
    made = judge_target(TERMS, LINEAR, None, sums(90, 0), HALF, missing="\x1b[2J" * 200, no_baseline="x" * 999)
    said = describe_target(replace(SUBJECT, name="n" * 253, unit="\u202e" * 32), made, None, HALF)
    assert len(said) <= 256
    assert said.isprintable()


def test_its_instant_alone_is_no_change() -> None:
    of = baseline()
    made = judge_target(TERMS, LINEAR, of, sums(93, 1000), HALF)
    first, then = (describe_target(SUBJECT, made, of.rate_ug, at) for at in (HALF, HALF + 7200))
    assert first != then
    assert without_time(first) == without_time(then)
