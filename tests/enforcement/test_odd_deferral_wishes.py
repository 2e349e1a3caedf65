"""Deferred Jobs whose owner wrote something odd, and clocks that are wrong."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from tests.enforcement.deferred_worlds import FORECAST, HELD, START, STARTED, T0, deferred, forecast, wish
from tests.enforcement.test_deferral_decisions import actions, planned, record
from tests.enforcement.worlds import HOUR, NOW

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.deferral_actions import ChooseStart, DeclineDeferral, StartJob
from carbonbudget_operator.enforcement.deferral_patches import patch_of_deferral
from carbonbudget_operator.enforcement.deferral_state import latest_start


@pytest.mark.parametrize("past_s", [1, HOUR, 365 * 24 * HOUR])
def test_a_deadline_that_is_over_starts_the_job_now_with_a_warning(past_s: int) -> None:
    (action,) = actions(deferred(annotations=wish(NOW - past_s)))
    assert isinstance(action, ChooseStart)
    assert action.start == NOW
    _, event = patch_of_deferral(action, NOW)
    assert event is not None
    assert event.type == "Warning"
    assert f"it can no longer end by {format_time(NOW - past_s)}" in event.message


@pytest.mark.parametrize(
    "text",
    [
        "{:%Y-%m-%dT%H:%M:%S+05:45}",
        "{:%Y-%m-%dT%H:%M:%S.123456789+0545}",
        "{:%Y-%m-%dT%H:%M+05:45}",
        " {:%Y-%m-%d %H:%M:%S+05:45} ",
    ],
)
def test_a_deadline_is_read_in_every_zone(text: str) -> None:
    """Nepal's 5:45 h; with fractions, without seconds or colon, and with the blank that RFC 3339 allows for the T."""
    by = dt.datetime.fromtimestamp(NOW + 12 * HOUR, dt.timezone(dt.timedelta(hours=5, minutes=45)))
    assert latest_start(deferred(annotations=wish(text.format(by)))) == NOW + 12 * HOUR - HOUR - (
        by.second if "S" not in text else 0
    )


@pytest.mark.parametrize("zone", ["", "+24:00", "-99:99", "CET", "Europe/Berlin", "[Europe/Berlin]", "+1", "z z"])
def test_a_deadline_without_a_zone_that_can_be_read_is_named_and_the_job_left_alone(zone: str) -> None:
    (action,) = actions(deferred(annotations=wish(f"2026-12-01T08:00:00{zone}")))
    assert isinstance(action, DeclineDeferral)
    assert "which is no instant" in action.sentence


@pytest.mark.parametrize("ahead_s", [-HOUR, 90, 30 * HOUR])
def test_a_clock_that_is_set_wrongly_or_corrected_neither_loses_a_job_nor_starts_it_too_soon(ahead_s: int) -> None:
    """The API server stamped the Job by a clock `ahead_s` of ours, or ours was set back after the choice."""
    created: dict[str, Any] = {"metadata": {"creationTimestamp": format_time(NOW + ahead_s)}}
    (action,) = actions(deferred(**created))
    assert action.start == T0 + 3 * HOUR
    (action,) = actions(deferred(**created), now=max(NOW, NOW + ahead_s) + 600, forecast=None)
    assert action.choice is None  # its patience for a first forecast ends too
    chosen_ahead = planned(T0 + 5 * HOUR, marks=record(NOW + ahead_s), **created)
    later = forecast(made_at=NOW + HOUR)
    (action,) = actions(chosen_ahead, now=NOW + HOUR, forecast=later) or [None]
    assert action is None or action.start == T0 + 3 * HOUR
    assert actions(chosen_ahead, now=T0 + 5 * HOUR) == [StartJob(chosen_ahead)]


def test_two_jobs_of_a_tenant_with_wrong_annotations_keep_no_third_one_from_its_start() -> None:
    broken = deferred("broken", uid="b", annotations=wish("soon"), marks={START: "x" * 400, FORECAST: "{"})
    other = deferred("other", uid="o", annotations=wish(duration="-1h"), marks={STARTED: "", HELD: "\u202e"})
    made = actions(broken, other, deferred("good", uid="g"))
    assert [type(action) for action in made if action.job.name == "good"] == [ChooseStart]
    assert [action.job.name for action in made if isinstance(action, DeclineDeferral)] == ["broken"]
