"""Which suspended Jobs are resumed or stay suspended, and which resumptions by others are reported."""

from __future__ import annotations

from tests.enforcement.suspension_jobs import (
    BLOCKING,
    BY,
    MARKED,
    OVER,
    REACHED,
    SUSPENDING_ONLY,
    actions,
    decided,
    resumed_status,
    suspended_job,
)
from tests.enforcement.worlds import HOUR, NOW, a_budget, a_job

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.suspension_actions import Keep, Plan, Resume, Suspend, Unmark
from carbonbudget_operator.enforcement.suspension_decisions import jitter


def test_what_we_suspended_is_resumed_when_its_budget_no_longer_suspends_it_or_is_deleted() -> None:
    for budgets in ([], [a_budget()], [a_budget(suspend_from=NOW - 60, until=NOW)]):
        assert actions(budgets, [suspended_job()], jitter_s=0) == [Resume]


def test_a_resumption_is_planned_within_the_jitter_and_carried_out_then() -> None:
    decision = decided([], [suspended_job()])
    (plan,) = decision.actions
    assert isinstance(plan, Plan)
    assert plan.at == NOW + jitter("uid-train", 300) == decision.wake_at
    planned = suspended_job(annotations=BY | {"carbonbudget.dev/resume-at": format_time(plan.at)})
    assert actions([], [planned], now=plan.at - 1) == []
    assert actions([], [planned], now=plan.at) == [Resume]


def test_a_planned_resumption_is_dropped_when_the_budget_suspends_again() -> None:
    planned = suspended_job(annotations=BY | {"carbonbudget.dev/resume-at": format_time(NOW + 100)})
    assert actions([REACHED], [planned]) == [Keep]


def test_a_plan_that_is_not_ours_is_made_anew() -> None:
    for odd in (format_time(NOW + 10 * HOUR), "tomorrow", "2026-01-01"):
        planned = suspended_job(annotations=BY | {"carbonbudget.dev/resume-at": odd})
        assert actions([], [planned]) == [Plan]


def test_plans_whose_time_passed_while_no_controller_ran_are_made_again() -> None:
    planned = suspended_job(annotations=BY | {"carbonbudget.dev/resume-at": format_time(NOW - 60)})
    assert actions([], [planned], here_since=NOW - 59) == [Plan]
    assert actions([], [planned], here_since=NOW - 60) == [Resume]  # its write failed: it is due


def test_another_suspending_budget_keeps_it_suspended_and_is_named() -> None:
    (kept,) = decided([a_budget("weekly", suspend_from=NOW - 60)], [suspended_job()]).actions
    assert isinstance(kept, Keep)
    assert kept.budget.display_name == "team-a/weekly"


def test_a_mode_other_than_enforce_resumes_everybody_and_suspends_nobody() -> None:
    assert actions([REACHED], [a_job("free"), suspended_job()], enforced=False, jitter_s=0) == [Resume]


def test_a_job_that_opts_out_while_suspended_is_resumed_unless_its_budget_would_refuse_it_as_new() -> None:
    out = suspended_job(labels={"carbonbudget.dev/suspended": "true"})
    assert actions([REACHED], [out], jitter_s=0) == []
    assert actions([SUSPENDING_ONLY], [out], jitter_s=0) == [Resume]


def test_a_label_that_is_not_ours_is_taken_off_and_starts_nothing() -> None:
    """Anybody who may create Jobs can write the label; who wrote it is not for us to resume."""
    for labels in ({"carbonbudget.dev/suspended": "true"}, MARKED):
        for budgets in ([], [REACHED], [BLOCKING]):
            assert actions(budgets, [a_job(labels=labels, suspend=True)], jitter_s=0) == [Unmark]


def test_nothing_is_resumed_while_a_budget_that_selects_it_blocks_jobs() -> None:
    (kept,) = decided([BLOCKING], [suspended_job()], jitter_s=0).actions
    assert isinstance(kept, Keep)
    assert kept.budget.display_name == "team-a/weekly"  # what it waits for now
    waiting = suspended_job(annotations={"carbonbudget.dev/suspended-by": "team-a/weekly"})
    assert actions([BLOCKING], [waiting], jitter_s=0) == []
    assert actions([a_budget(suspend_from=NOW + 60)], [suspended_job()], jitter_s=0) == []  # grace: Suspend blocks too
    planned = suspended_job(annotations=BY | {"carbonbudget.dev/resume-at": format_time(NOW)})
    assert actions([BLOCKING], [planned]) == [Keep]


def test_a_block_of_other_kinds_delays_no_resumption() -> None:
    block = {"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}}
    elsewhere = a_budget(namespace="team-b", status=block)
    of_pods = a_budget(status=block, spec={"enforce": {"kinds": ["Pod"]}})
    unselected = a_budget(status=block, spec={"selector": {"matchLabels": {"project": "b"}}})
    over = a_budget(status={"enforcement": {"action": "Block", "until": format_time(NOW)}})
    each = a_budget(status=block, spec={"per": "Workload"})
    for budget in (elsewhere, of_pods, unselected, over, each):
        assert actions([budget], [suspended_job()], jitter_s=0) == [Resume]
    assert actions([BLOCKING], [suspended_job()], jitter_s=0, enforced=False) == [Resume]
    exempt = suspended_job(labels=MARKED | {"carbonbudget.dev/exempt": "true"})
    assert actions([BLOCKING], [exempt], jitter_s=0) == [Resume]


def test_a_suspension_of_somebody_else_is_left_alone() -> None:
    assert actions([], [a_job(suspend=True)]) == []
    assert actions([REACHED], [a_job(suspend=True)]) == []


def test_a_job_that_somebody_resumed_is_reported_by_field_manager_and_not_fought() -> None:
    fields = [{"manager": name, "fieldsV1": {"f:spec": {"f:suspend": {}}}} for name in ("carbonbudget", "argocd")]
    reverted = suspended_job(suspend=False, metadata={"managedFields": fields})
    decision = decided([REACHED], [reverted])
    assert decision.actions == []
    assert decision.conflicts == {
        "team-a/monthly": "suspended Jobs were resumed and are left running: team-a/train by argocd"
    }


def test_many_reverted_jobs_make_one_sentence_of_bounded_length() -> None:
    jobs = [suspended_job(name=f"j{n}", suspend=False) for n in range(5)]
    (sentence,) = decided([REACHED], jobs).conflicts.values()
    assert sentence.endswith(
        "team-a/j0 by an unknown field manager, team-a/j1 by an unknown field manager, "
        "team-a/j2 by an unknown field manager and 2 more"
    )


def test_a_reverted_job_loses_our_marks_when_the_budget_no_longer_suspends_it() -> None:
    decision = decided([], [suspended_job(suspend=False)])
    assert [type(a) for a in decision.actions] == [Unmark]
    assert decision.conflicts == {}


def test_a_job_whose_marks_were_replaced_away_is_not_suspended_again() -> None:
    decision = decided([REACHED], [a_job(status=resumed_status(NOW - 30))])
    assert decision.actions == []
    assert list(decision.conflicts) == ["team-a/monthly"]


def test_a_job_resumed_before_this_suspension_or_by_us_is_suspended() -> None:
    assert actions([REACHED], [a_job(status=resumed_status(NOW - HOUR))]) == [Suspend]
    ours = {"carbonbudget.dev/resumed-at": format_time(NOW - 31)}
    assert actions([REACHED], [a_job(status=resumed_status(NOW - 30), annotations=ours)]) == [Suspend]


def test_per_workload_a_job_that_its_owner_started_before_its_own_time_is_suspended_at_that_time() -> None:
    """The budget's suspendFrom is of another Job, which reached its limit an hour earlier."""
    budget = a_budget(suspend_from=NOW - HOUR, spec={"per": "Workload"}, status={"topWorkloads": [OVER]})
    told = {"carbonbudget.dev/suspend-at": format_time(NOW)}
    started = a_job(status=resumed_status(NOW - 1900), annotations=told)
    decision = decided([budget], [started])
    assert [type(a) for a in decision.actions] == [Suspend]
    assert decision.conflicts == {}
