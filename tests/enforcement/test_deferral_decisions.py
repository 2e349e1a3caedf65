"""Which deferred Jobs get a start, wait, are held and are started."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.enforcement.deferred_worlds import (
    DEFER,
    FORECAST,
    HELD,
    START,
    STARTED,
    T0,
    deferred,
    forecast,
    terms,
    wish,
)
from tests.enforcement.worlds import HOUR, NOW, a_budget, finished

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.cleaner_hours.start_choice import choose_start
from carbonbudget_operator.enforcement.deferral_actions import (
    ChooseStart,
    DeclineDeferral,
    DeferralAction,
    DeferredJobSummary,
    HoldStart,
    LeaveJob,
    SpreadStart,
    StartJob,
)
from carbonbudget_operator.enforcement.deferral_decisions import decide_deferrals, starts_first
from carbonbudget_operator.enforcement.deferral_patches import patch_of_deferral
from carbonbudget_operator.enforcement.deferral_state import is_deferred, latest_start
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job

BLOCKING = a_budget(status={"enforcement": {"action": "Block", "until": format_time(NOW + 24 * HOUR)}})
HOSTILE = ["", "soon", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-12-01", "-1", "1" * 400]


def actions(*jobs: Job, budgets: tuple[EnforcedBudget, ...] = (), namespaces: Any = None, **more: Any) -> list[Any]:
    return decide_deferrals(jobs, budgets, namespaces or {}, terms(**more)).actions


MANY_LABELS = {f"l{n}": "x" for n in range(70)}


def record(at: int) -> dict[str, str]:
    return {FORECAST: json.dumps({"forecastOf": format_time(at), "chosenAt": format_time(at)})}


def planned(start: int, **more: Any) -> Job:
    marks = {START: format_time(start)} | record(NOW) | more.pop("marks", {})
    return deferred(marks=marks, **more)


def test_a_job_gets_the_cleanest_start_before_its_deadline() -> None:
    (action,) = actions(deferred())
    assert isinstance(action, ChooseStart)
    assert (action.start, action.deadline) == (T0 + 3 * HOUR, NOW + 12 * HOUR)
    patch, event = patch_of_deferral(action, NOW)
    assert patch is not None
    marks = patch["metadata"]["annotations"]  # type: ignore[index] # JSON
    assert marks[START] == format_time(T0 + 3 * HOUR)
    assert json.loads(marks[FORECAST]) == {
        "forecastOf": format_time(NOW), "zones": "DE", "chosenAt": format_time(NOW), "percentLess": 75,
    }  # fmt: skip
    assert "spec" not in patch
    assert event is not None
    assert event.reason == "StartDeferred"


def test_a_job_waits_until_its_start_and_is_started_once() -> None:
    job = planned(T0)
    assert actions(job, now=T0 - 1) == []
    (action,) = actions(job, now=T0)
    assert action == StartJob(job)
    patch, _ = patch_of_deferral(action, T0)
    assert patch is not None
    assert patch["spec"] == {"suspend": False}
    assert actions(planned(T0, marks={STARTED: format_time(T0)}), now=T0 + 60) == []  # its owner suspended it again


def test_a_job_that_its_owner_started_and_suspended_again_is_not_started() -> None:
    running = planned(T0, suspend=False, metadata={"generation": 2})
    (action,) = actions(running, now=NOW + 60)
    assert action == LeaveJob(running)
    patch, event = patch_of_deferral(action, NOW + 60)
    assert patch is not None
    assert event is None
    assert "spec" not in patch
    marks = patch["metadata"]["annotations"]  # type: ignore[index] # JSON
    assert marks == {START: None, FORECAST: None, HELD: None}
    left = deferred(metadata={"generation": 3})
    (said,) = actions(left, now=T0)
    assert isinstance(said, DeclineDeferral)
    assert not is_deferred(left)


@pytest.mark.parametrize(
    "more",
    [
        {"labels": {}},
        {"labels": DEFER | {"carbonbudget.dev/suspended": "true"}},
        {"suspend": False, "metadata": {"generation": 2}, "labels": DEFER | {"kueue.x-k8s.io/queue-name": "q"}},
        {"status": finished(NOW, NOW - HOUR)},
    ],
    ids=["no label", "suspended by a budget", "started by Kueue", "finished"],
)
def test_no_job_is_touched_that_does_not_wait_for_its_start(more: dict[str, Any]) -> None:
    assert actions(planned(NOW - HOUR, **more)) == []
    assert not is_deferred(planned(NOW - HOUR, **more))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"labels": DEFER | {"kueue.x-k8s.io/queue-name": "q"}}, "Kueue decides when it runs"),
        (
            {"suspend": False},
            "it was not created with spec.suspend: true, so its start is not deferred: it runs already",
        ),
        ({"metadata": {"generation": 2}}, "it was not created with spec.suspend: true"),
        ({"annotations": {}}, "its annotation carbonbudget.dev/finish-by is missing: write e.g. 2026-12-01T08:00:00Z"),
        ({"annotations": wish(duration="")}, "its annotation carbonbudget.dev/expected-duration is missing"),
        ({"annotations": wish(duration="0s")}, 'is "0s", which is zero: write e.g. 2h30m; until then it stays'),
        ({"annotations": wish(duration="2 h")}, 'is "2 h", which is no duration: write e.g. 2h30m; until then it'),
        *(({"annotations": wish(text)}, "its annotation carbonbudget.dev/finish-by is") for text in HOSTILE),
    ],
)
def test_a_job_that_cannot_be_deferred_is_left_alone_with_an_event(more: dict[str, Any], sentence: str) -> None:
    (action,) = actions(deferred(**more))
    assert isinstance(action, DeclineDeferral)
    patch, event = patch_of_deferral(action, NOW)
    assert patch is None
    assert event is not None
    assert sentence in event.message
    assert event.reason == "NotDeferred"


@pytest.mark.parametrize("key", [START, FORECAST, STARTED, HELD])
@pytest.mark.parametrize("text", [*HOSTILE, "[" * 290, '{"chosenAt": 5, "expected": [], "percentLess": "x"}'])
def test_whatever_an_owner_writes_a_decision_is_made_and_can_be_carried_out(key: str, text: str) -> None:
    for job in (deferred(marks={key: text}), planned(NOW, marks={key: text})):
        for action in actions(job, deferred("other")):
            patch_of_deferral(action, NOW)


def test_a_deadline_that_is_too_near_starts_the_job_now_and_says_so() -> None:
    (action,) = actions(deferred(annotations=wish(NOW + 1800)))
    assert isinstance(action, ChooseStart)
    assert action.start == NOW
    _, event = patch_of_deferral(action, NOW)
    assert event is not None
    assert event.type == "Warning"
    assert "as it lasts 1h, it can no longer end by" in event.message


def test_a_block_wins_over_the_deadline_and_is_said_once() -> None:
    job = planned(NOW)
    (action,) = actions(job, budgets=(BLOCKING,))
    assert action == HoldStart(job, BLOCKING)
    held = planned(NOW, marks={HELD: "team-a/monthly"}, annotations=wish(NOW + 1800))
    decision = decide_deferrals([held], [BLOCKING], {}, terms())
    assert decision.actions == []
    assert decision.wake_at == NOW + 60
    assert decision.waiting == {"team-a": DeferredJobSummary(1, 0, 0)}  # no alert goes by its deadline
    assert actions(held) == [StartJob(held)]  # the block is over; jitter_s is 0


def test_labels_that_are_not_stored_let_no_job_past_a_block() -> None:
    """The policy sees all of them, and would refuse the Job's owner."""
    selective = a_budget(
        spec={"selector": {"matchLabels": {"team": "x"}}},
        status={"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}},
    )
    hidden = planned(NOW, template=MANY_LABELS | {"team": "x"})
    assert actions(hidden, budgets=(selective,)) == [HoldStart(hidden, selective)]
    other = planned(NOW, template={"team": "y"})
    assert actions(other, budgets=(selective,)) == [StartJob(other)]


@pytest.mark.parametrize(
    ("more", "terms_more", "namespaces"),
    [
        ({"labels": DEFER | {"carbonbudget.dev/exempt": "true"}}, {}, {}),
        ({}, {"enforced": False}, {}),
        ({}, {}, {"team-a": {"carbonbudget.dev/enforcement": "off"}}),
    ],
    ids=["exempt", "mode Warn", "namespace off"],
)
def test_where_budgets_do_not_act_none_holds_a_start(
    more: dict[str, Any], terms_more: dict[str, Any], namespaces: Any
) -> None:
    job = planned(NOW, **more)
    assert actions(job, budgets=(BLOCKING,), namespaces=namespaces, **terms_more) == [StartJob(job)]


def test_jobs_that_a_block_held_are_spread_once_it_is_over() -> None:
    jobs = [planned(NOW, marks={HELD: "team-a/monthly"}, uid=f"u{n}", name=f"j{n}") for n in range(200)]
    made = actions(*jobs, jitter_s=300)
    at = [action.at for action in made if isinstance(action, SpreadStart)]
    assert len(set(at)) > 100
    assert NOW < min(at) <= max(at) <= NOW + 300
    assert all(isinstance(action, StartJob) for action in made if not isinstance(action, SpreadStart))


def test_jobs_whose_start_was_missed_while_no_controller_was_here_are_spread() -> None:
    (action,) = actions(planned(NOW - HOUR), here_since=NOW, jitter_s=300)
    assert isinstance(action, SpreadStart)


def test_without_a_forecast_a_job_waits_ten_minutes_for_one_and_never_misses_its_deadline_for_that() -> None:
    assert actions(deferred(), forecast=None) == []
    (action,) = actions(deferred(), now=NOW + 600, forecast=None)
    assert (action.start, action.choice) == (NOW + 600, None)
    (action,) = actions(deferred(annotations=wish(NOW + HOUR + 60)), now=NOW + 60, forecast=None)
    assert action.start == NOW + 60


def test_a_start_is_chosen_again_once_an_hour_and_only_for_what_is_worth_it() -> None:
    job = planned(T0 + 5 * HOUR, marks=record(NOW))
    better = forecast(made_at=NOW + HOUR)
    assert actions(job, now=NOW + HOUR - 1, forecast=better) == []
    (action,) = actions(job, now=NOW + HOUR, forecast=better)
    assert (action.start, action.again) == (T0 + 3 * HOUR, True)
    little = forecast(*[400_000] * 4, 381_000, *[400_000] * 8, made_at=NOW + HOUR)
    assert actions(job, now=NOW + HOUR, forecast=little) == []


def test_an_owner_who_moves_the_deadline_gets_another_start_at_once() -> None:
    job = planned(T0 + 3 * HOUR, marks=record(NOW), annotations=wish(T0 + 2 * HOUR))
    (action,) = actions(job, now=NOW + 60)
    assert (action.start, action.again) == (T0, True)


def test_a_chosen_start_stands_where_its_owner_breaks_an_annotation_later() -> None:
    job = planned(T0 + 5 * HOUR, annotations=wish("soon"))
    assert actions(job, now=NOW + 2 * HOUR, forecast=forecast(made_at=NOW + 2 * HOUR)) == []
    assert actions(job, now=T0 + 5 * HOUR) == [StartJob(job)]


def test_a_job_that_another_controller_manages_by_now_is_not_started() -> None:
    assert actions(planned(NOW, labels=DEFER | {"kueue.x-k8s.io/queue-name": "q"})) == []


def test_where_the_latest_start_is_the_best_one_starts_are_spread_before_it() -> None:
    jobs = [deferred(annotations=wish(T0 + 4 * HOUR), uid=f"u{n}", name=f"j{n}") for n in range(100)]
    at = [action.start for action in actions(*jobs, jitter_s=300)]
    assert len(set(at)) > 50
    assert T0 + 3 * HOUR - 300 <= min(at) <= max(at) <= T0 + 3 * HOUR


def test_where_deferral_is_switched_off_waiting_jobs_are_started_and_new_ones_left_alone() -> None:
    job = planned(T0 + 3 * HOUR)
    (action,) = actions(job, enabled=False, jitter_s=300)
    assert isinstance(action, SpreadStart)
    assert action.at <= NOW + 300
    (action,) = actions(deferred(), enabled=False)
    assert "enforcement.deferral" in action.sentence


def test_one_namespace_with_many_jobs_delays_no_other() -> None:
    many = [deferred(f"j{n}", uid=f"u{n}") for n in range(1000)]
    decision = decide_deferrals([*many, deferred("one", "team-b", uid="b")], [], {}, terms())
    assert len(decision.actions) == 200
    assert any(action.job.namespace == "team-b" for action in decision.actions)
    assert decision.wake_at == NOW + 1


def test_starts_come_first_and_each_namespace_in_turn() -> None:
    many = [StartJob(planned(NOW, name=f"j{n}", uid=f"u{n}")) for n in range(5)]
    other, hold = StartJob(planned(NOW, namespace="team-b")), HoldStart(planned(NOW), BLOCKING)
    assert starts_first([hold, *many, other]) == [many[0], other, *many[1:], hold]


@given(
    mg=st.lists(st.integers(0, 900_000), min_size=1, max_size=30),
    slack_s=st.integers(-3 * HOUR, 40 * HOUR),
    length_s=st.integers(1, 10 * HOUR),
    jitter_s=st.integers(0, 3600),
    uid=st.uuids(),
)
def test_a_spread_start_stays_between_now_and_the_latest_start_and_near_the_best_one(
    mg: list[int], slack_s: int, length_s: int, jitter_s: int, uid: object
) -> None:
    job = deferred(annotations=wish(NOW + length_s + slack_s, f"{length_s}s"), uid=str(uid))
    known = forecast(*mg)
    (action,) = actions(job, jitter_s=jitter_s, forecast=known)
    best = choose_start(known.hours, length_s, NOW, NOW + length_s + slack_s).start
    assert latest_start(job) == NOW + slack_s
    assert NOW <= action.start <= max(NOW + slack_s, NOW + (min(jitter_s, 60) if slack_s < 0 else 0))
    assert abs(action.start - best) <= jitter_s


@given(
    steps=st.lists(st.tuples(st.integers(1, 3 * HOUR), st.booleans(), st.booleans()), max_size=12),
    slack_s=st.integers(0, 20 * HOUR),
    jitter_s=st.sampled_from((0, 300)),
    mg=st.lists(st.integers(0, 900_000), min_size=30, max_size=30),
)
def test_a_job_is_started_once_never_under_a_block_and_never_late_but_for_one(
    steps: list[tuple[int, bool, bool]], slack_s: int, jitter_s: int, mg: list[int]
) -> None:
    """The controller looks whenever it asked to, and at other times, with and without a forecast and a block."""
    marks: dict[str, str] = {}
    suspended, now, started_at, was_blocked = True, NOW, 0, False
    waits = [*steps, *[(0, False, True)] * 60]
    for wait_s, is_blocked, is_known in waits:
        job = deferred(
            annotations=wish(NOW + HOUR + slack_s), marks=marks, suspend=suspended,
            metadata={"creationTimestamp": format_time(NOW), "generation": 1 if suspended else 2},
        )  # fmt: skip
        more = {"jitter_s": jitter_s, "forecast": forecast(*mg, made_at=now) if is_known else None}
        decision = decide_deferrals([job], [BLOCKING] if is_blocked else [], {}, terms(now, **more))
        made: list[DeferralAction] = decision.actions
        assert len(made) <= 1
        for action in made:
            patch, _ = patch_of_deferral(action, now)
            assert patch is not None
            for key, value in patch["metadata"]["annotations"].items():  # type: ignore[index] # JSON
                marks = {k: v for k, v in (marks | {key: value}).items() if v is not None}
            if isinstance(action, StartJob):
                assert not is_blocked
                assert not started_at
                suspended, started_at = False, now
        was_blocked |= is_blocked and bool(decision.waiting) and now >= NOW + slack_s - 600
        if started_at or made:  # the watch shows at once what was written
            continue
        now = decision.wake_at if decision.wake_at and not wait_s else min(now + wait_s, decision.wake_at or now + 60)
    assert started_at
    assert started_at <= NOW + slack_s or was_blocked
