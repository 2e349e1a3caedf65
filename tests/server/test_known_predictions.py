"""Which posts of progress are answered with the newest prediction, and which have a new one made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.server.known_predictions import KnownPredictions

NOW = 1_764_000_000
POINT = ProgressPoint("epoch", 50, 200, NOW * 1000)
FAR_MS = (NOW + 86_400) * 1000


def an_answer(ends_at_ms: int = FAR_MS) -> bytes:
    return json.dumps({"prediction": {"energy_uj": 7, "ends_at_ms": ends_at_ms}}).encode()


def kept(point: ProgressPoint = POINT, answer: bytes = an_answer()) -> KnownPredictions:
    known = KnownPredictions()
    known.put("pod-1", point, NOW, answer)
    return known


def later(**more: object) -> ProgressPoint:
    return replace(POINT, done=51, at_ms=POINT.at_ms + 60_000, **more)  # type: ignore[arg-type]


def test_the_next_progress_of_the_run_is_answered_with_the_same_bytes() -> None:
    assert kept().find("pod-1", later(), NOW + 60) == an_answer()


@pytest.mark.parametrize(
    "point",
    [
        replace(later(), total=201), replace(later(), unit="batch"), replace(later(), done=49),
        replace(later(), done=200), replace(later(), at_ms=POINT.at_ms - 1),
    ],
)  # fmt: skip
def test_another_run_a_step_back_and_the_last_step_have_a_new_one_made(point: ProgressPoint) -> None:
    assert kept().find("pod-1", point, NOW + 1) is None


def test_no_other_pod_is_answered_with_it() -> None:
    assert kept().find("pod-2", later(), NOW + 1) is None


@pytest.mark.parametrize("done", range(5))
def test_the_first_five_steps_have_one_made_each(done: int) -> None:
    assert kept(replace(POINT, done=done)).find("pod-1", later(), NOW + 1) is None


def test_that_too_little_is_known_is_not_remembered() -> None:
    assert kept(answer=b'{"prediction": null}').find("pod-1", later(), NOW + 1) is None


@given(st.integers(-10_000, 10**7), st.integers(-10, 400))
def test_it_holds_for_a_tenth_of_the_time_that_is_left_and_five_minutes_at_most(left_s: int, age_s: int) -> None:
    known = kept(answer=an_answer((NOW + left_s) * 1000))
    holds = 0 <= age_s < min(300, left_s / 10) and left_s >= 10
    if age_s == left_s // 10:  # parts of a second
        holds = False
    assert (known.find("pod-1", later(), NOW + age_s) is not None) == holds


def test_a_new_answer_replaces_the_former_one_even_if_it_is_not_remembered() -> None:
    known = kept()
    known.put("pod-1", later(), NOW + 60, b'{"prediction": null}')
    assert known.find("pod-1", later(), NOW + 61) is None


def test_the_pods_are_bounded_and_the_oldest_goes() -> None:
    known = KnownPredictions(most=3)
    for number in range(10):
        known.put(f"pod-{number}", POINT, NOW, an_answer())
        assert len(known._known) <= 3
    assert [number for number in range(10) if known.find(f"pod-{number}", later(), NOW + 1)] == [7, 8, 9]
