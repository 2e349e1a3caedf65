"""Which Jobs are suspended and resumed: the rules one by one, then their laws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.enforcement.worlds import HOUR, NOW, Body, a_budget, a_job, job_body, merged

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job import Job, parse_job
from carbonbudget_operator.enforcement.patches import patch_of
from carbonbudget_operator.enforcement.suspension import (
    Action,
    Announce,
    EnforcementDecision,
    Keep,
    Plan,
    Resume,
    Suspend,
    Unmark,
    Withdraw,
    decide_suspensions,
    jitter,
)

EXEMPT = frozenset({"kube-system", "carbonbudget-system"})
OPTED_IN = {"carbonbudget.dev/suspendable": "true"}
MARKED = OPTED_IN | {"carbonbudget.dev/suspended": "true"}
BY = {"carbonbudget.dev/suspended-by": "team-a/monthly"}


def decided(
    budgets: Iterable[EnforcedBudget],
    jobs: Iterable[Job],
    now: int = NOW,
    jitter_s: int = 300,
    enforced: bool = True,
    **more: Any,
) -> EnforcementDecision:
    return decide_suspensions(
        budgets, jobs, more.get("namespaces", {}), now, jitter_s, enforced, EXEMPT, more.get("here_since", 0)
    )


def actions(*args: Any, **more: Any) -> list[type[Action]]:
    return [type(action) for action in decided(*args, **more).actions]


def suspended_job(**more: Any) -> Job:
    return a_job(**({"labels": MARKED, "annotations": BY, "suspend": True} | more))


REACHED = a_budget(suspend_from=NOW - 60)
BLOCKING = a_budget("weekly", status={"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}})
SUSPENDING_ONLY = a_budget(suspend_from=NOW - 60, spec={"enforce": {"kinds": ["Pod"]}})
OVER = {"kind": "Job", "name": "train", "emissions": "6kg", "percent": 120}


def per_workload(*top: Body, **more: Any) -> EnforcedBudget:
    return a_budget(suspend_from=NOW - 60, spec={"per": "Workload"}, status={"topWorkloads": list(top)}, **more)


def test_a_job_that_opted_in_is_suspended_once_grace_is_over() -> None:
    assert actions([REACHED], [a_job()]) == [Suspend]


def test_while_grace_runs_the_job_is_told_once_and_the_loop_wakes_at_its_end() -> None:
    soon = a_budget(suspend_from=NOW + 600)
    decision = decided([soon], [a_job()])
    assert [(type(a), a.at) for a in decision.actions if isinstance(a, Announce)] == [(Announce, NOW + 600)]
    assert decision.wake_at == NOW + 600
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW + 600)})
    assert actions([soon], [told]) == []


def test_an_announcement_is_taken_back_when_the_budget_lets_go() -> None:
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW + 600)})
    assert actions([a_budget()], [told]) == [Withdraw]


def test_a_block_alone_suspends_nobody() -> None:
    blocking = a_budget(status={"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}})
    assert actions([blocking], [a_job()]) == []


def test_a_budget_whose_until_has_passed_suspends_nobody() -> None:
    assert actions([a_budget(suspend_from=NOW - 60, until=NOW)], [a_job()]) == []


def test_a_status_of_a_former_spec_suspends_nobody_and_resumes_nobody() -> None:
    raised = a_budget(suspend_from=NOW - 60, generation=2)
    assert actions([raised], [a_job(), suspended_job(name="held")]) == []


def test_the_selector_goes_by_the_pod_templates_labels() -> None:
    chosen = a_budget(suspend_from=NOW - 60, spec={"selector": {"matchLabels": {"project": "a"}}})
    assert actions([chosen], [a_job(template={"project": "b"}), a_job(template={})]) == []
    assert actions([chosen], [a_job(template={"project": "a"})]) == [Suspend]


def test_a_budget_of_another_namespace_does_not_touch_it() -> None:
    assert actions([a_budget(namespace="team-b", suspend_from=NOW - 60)], [a_job()]) == []


def test_a_job_that_is_exempt_or_in_a_namespace_that_is_not_judged_goes_on() -> None:
    everywhere = a_budget(namespace="", suspend_from=NOW - 60)
    exempt = a_job(labels=OPTED_IN | {"carbonbudget.dev/exempt": "true"})
    assert actions([everywhere], [exempt, a_job(namespace="kube-system")]) == []
    assert actions([everywhere], [a_job()], namespaces={"team-a": {"carbonbudget.dev/enforcement": "off"}}) == []


def test_a_job_that_kueue_manages_is_left_to_it() -> None:
    by_label = a_job(labels=OPTED_IN | {"kueue.x-k8s.io/queue-name": "q"})
    fields = {"manager": "kueue", "fieldsV1": {"f:spec": {"f:suspend": {}}}}
    by_hand = a_job(metadata={"managedFields": [fields]})
    elsewhere = a_job(spec={"managedBy": "kueue.x-k8s.io/multikueue"})
    assert actions([REACHED], [by_label, by_hand, elsewhere]) == []


def test_a_job_that_came_under_kueue_while_suspended_keeps_its_suspension_and_loses_our_marks() -> None:
    assert actions([], [suspended_job(labels=MARKED | {"kueue.x-k8s.io/queue-name": "q"})]) == [Unmark]


def test_a_cluster_budget_goes_by_the_namespaces_labels_and_by_its_status_while_they_are_unknown() -> None:
    selector = {"namespaceSelector": {"matchLabels": {"tier": "research"}}}
    cluster = a_budget("all", "", suspend_from=NOW - 60, spec=selector, status={"namespaces": ["team-a"]})
    assert actions([cluster], [a_job(), a_job("other", "team-b")], namespaces={}) == [Suspend]
    known = {"team-a": {}, "team-b": {"tier": "research"}}
    assert [a.job.name for a in decided([cluster], [a_job(), a_job("other", "team-b")], namespaces=known).actions] == [
        "other"
    ]


@pytest.mark.parametrize(("excluded", "suspends"), [("kube-system", True), ("team-a", False)])
def test_a_namespaces_name_is_known_before_its_labels_are(excluded: str, suspends: bool) -> None:
    but = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [excluded]}
    cluster = a_budget(
        "all", "", suspend_from=NOW - 60, spec={"namespaceSelector": {"matchExpressions": [but]}},
        status={"namespaces": ["team-a"]} if not suspends else {},
    )  # fmt: skip
    assert actions([cluster], [a_job()], namespaces={}) == ([Suspend] if suspends else [])


@pytest.mark.parametrize("labels", [64, 65])
def test_a_job_whose_label_may_be_among_those_that_are_not_kept_is_left_alone(labels: int) -> None:
    without = {"matchExpressions": [{"key": "project", "operator": "DoesNotExist"}]}
    budget = a_budget(suspend_from=NOW - 60, spec={"selector": without})
    many = a_job(template={f"a{number:02}": "x" for number in range(labels)})
    assert actions([budget], [many]) == ([Suspend] if labels == 64 else [])
    by_another = a_budget(suspend_from=NOW - 60, spec={"selector": {"matchLabels": {"a00": "x"}}})
    assert actions([by_another], [many]) == [Suspend]


def test_per_workload_only_a_job_over_its_own_limit_is_announced_and_suspended() -> None:
    least = {"kind": "Job", "name": "small", "emissions": "1kg", "percent": 99}
    budget = per_workload(OVER, least)
    decision = decided([budget], [a_job(), a_job("small"), a_job("unlisted")])
    assert [(type(a), a.job.name) for a in decision.actions] == [(Announce, "train")]
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW)})
    assert actions([budget], [told]) == [Suspend]


def test_per_workload_each_job_has_grace_of_its_own() -> None:
    (announced,) = decided([per_workload(OVER)], [a_job()]).actions
    assert isinstance(announced, Announce)
    assert announced.at == NOW + 1800  # the budget's own suspendFrom has long passed


def test_an_announcement_that_somebody_moved_into_the_future_is_moved_back() -> None:
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW + 10 * HOUR)})
    (announced,) = decided([per_workload(OVER)], [told]).actions
    assert isinstance(announced, Announce)
    assert announced.at == NOW + 1800


def test_per_workload_a_cronjobs_jobs_count_for_it() -> None:
    top = {"kind": "CronJob", "name": "nightly", "emissions": "6kg", "percent": 120}
    told = {"carbonbudget.dev/suspend-at": format_time(NOW)}
    child = a_job("nightly-123", owner=("CronJob", "nightly"), annotations=told)
    assert actions([per_workload(top)], [child]) == [Suspend]


def test_a_suspended_job_that_fell_out_of_a_full_top_list_stays_suspended() -> None:
    others = [{"kind": "Job", "name": f"j{n}", "emissions": "9kg", "percent": 180} for n in range(100)]
    assert actions([per_workload(*others)], [suspended_job()]) == []
    assert actions([per_workload(*others[:99])], [suspended_job()]) == [Plan]


def test_what_we_suspended_is_resumed_when_its_budget_lets_go_or_is_gone() -> None:
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


def test_plans_that_passed_while_nobody_was_there_are_spread_anew() -> None:
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


def test_a_block_of_others_than_this_job_holds_up_no_resumption() -> None:
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


def test_a_reverted_job_loses_our_marks_when_the_budget_lets_go() -> None:
    decision = decided([], [suspended_job(suspend=False)])
    assert [type(a) for a in decision.actions] == [Unmark]
    assert decision.conflicts == {}


def resumed_status(at: int) -> Body:
    return {"conditions": [{"type": "Suspended", "status": "False", "lastTransitionTime": format_time(at)}]}


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


# ---- laws

times = st.integers(NOW - HOUR, NOW + HOUR)
namespaces_ = st.sampled_from(["team-a", "team-b", "kube-system"])
top = st.lists(
    st.builds(
        lambda name, percent: {
            "kind": "Job",
            "name": name,
            "emissions": "1kg",
            "percent": percent,
            "namespace": "team-a",
        },
        st.sampled_from(["j0", "j1", "j2"]),
        st.integers(0, 200),
    ),
    max_size=3,
)


@st.composite
def budgets_(draw: st.DrawFn, name: str) -> EnforcedBudget:
    more: Body = {"generation": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        more |= {"suspend_from": draw(times), "until": draw(times)}
    elif draw(st.booleans()):
        more["status"] = {"enforcement": {"action": "Block", "until": format_time(draw(times))}}
    kinds = draw(st.sampled_from([["Job", "Pod"], ["Pod"]]))
    spec: Body = {"per": draw(st.sampled_from(["Selection", "Workload"])), "enforce": {"kinds": kinds}}
    if draw(st.booleans()):
        spec["selector"] = {"matchLabels": {"project": "a"}}
    status = {"topWorkloads": draw(top)} | more.pop("status", {})
    return a_budget(name, draw(st.sampled_from(["", "team-a"])), spec=spec, status=status, **more)


@st.composite
def bodies(draw: st.DrawFn, name: str) -> Body:
    labels = {
        key: "true"
        for key in ("carbonbudget.dev/suspendable", "carbonbudget.dev/suspended", "carbonbudget.dev/exempt")
        if draw(st.booleans())
    } | ({"kueue.x-k8s.io/queue-name": "q"} if draw(st.integers(0, 4)) == 0 else {})
    annotations = {
        f"carbonbudget.dev/{key}": format_time(draw(times))
        for key in ("suspend-at", "resume-at", "resumed-at")
        if draw(st.booleans())
    }
    status = resumed_status(draw(times)) if draw(st.booleans()) else {}
    return job_body(
        name,
        draw(namespaces_),
        labels=labels,
        annotations=annotations | ({"carbonbudget.dev/suspended-by": "team-a/b0"} if draw(st.booleans()) else {}),
        suspend=draw(st.booleans()),
        status=status,
        template={"project": draw(st.sampled_from(["a", "b"]))},
    )


worlds = st.tuples(
    st.tuples(*(budgets_(f"b{n}") for n in range(2))), st.tuples(*(bodies(f"j{n}") for n in range(3))), st.booleans()
)
jitters = st.integers(0, 600)


@given(worlds, jitters)
def test_nobody_is_suspended_who_did_not_opt_in_or_is_not_ours_to_touch_or_too_early(world: Any, jitter_s: int) -> None:
    budgets, raw, enforced = world
    for action in decided(budgets, map(parse_job, raw), jitter_s=jitter_s, enforced=enforced).actions:
        if isinstance(action, Suspend):
            job, budget = action.job, action.budget
            assert enforced
            assert job.opted_in
            assert (job.exempt, job.managed, job.marked, job.suspended) == (False, False, False, False)
            assert job.namespace != "kube-system"
            assert budget.status_is_current
            assert budget.suspend_from is not None
            assert budget.suspend_from <= NOW < budget.acts_until
            assert budget.selects(job, None)
            assert not budget.per_workload or budget.over(job)


@given(worlds, jitters)
def test_only_what_we_suspended_and_no_budget_refuses_is_resumed(world: Any, jitter_s: int) -> None:
    budgets, raw, enforced = world
    for action in decided(budgets, map(parse_job, raw), jitter_s=jitter_s, enforced=enforced).actions:
        if isinstance(action, Resume | Plan):
            assert action.job.marked
            assert action.job.suspended
            assert not action.job.managed
            assert "carbonbudget.dev/suspended-by" in action.job.annotations
            if enforced and not action.job.exempt and action.job.namespace != "kube-system":
                assert not any(b.blocks_jobs(NOW) and b.selects(action.job, None) for b in budgets)


@given(worlds, jitters)
def test_deciding_again_after_acting_does_nothing_more(world: Any, jitter_s: int) -> None:
    budgets, raw, enforced = world
    state = {body["metadata"]["uid"]: body for body in raw}
    for _ in range(2):  # a Withdraw and what follows from it may come one after the other
        decision = decided(budgets, map(parse_job, state.values()), jitter_s=jitter_s, enforced=enforced)
        assert len({action.job.uid for action in decision.actions}) == len(decision.actions)
        for action in decision.actions:
            state[action.job.uid] = merged(state[action.job.uid], patch_of(action, NOW)[0])
    assert decided(budgets, map(parse_job, state.values()), jitter_s=jitter_s, enforced=enforced).actions == []


@given(bodies("j0"))
def test_suspending_and_resuming_leaves_a_job_as_it_was(body: Body) -> None:
    body["metadata"]["labels"].pop("carbonbudget.dev/suspended", None)
    body["spec"]["suspend"] = False
    before = {k: v for k, v in body["metadata"]["annotations"].items() if k == "other"}
    budget = a_budget(suspend_from=NOW - 60)
    after = merged(body, patch_of(Suspend(parse_job(body), budget), NOW)[0])
    assert parse_job(after).marked
    assert parse_job(after).suspended
    after = merged(after, patch_of(Resume(parse_job(after)), NOW)[0])
    assert after["spec"] == body["spec"]
    assert after["metadata"]["labels"] == body["metadata"]["labels"]
    assert after["metadata"]["annotations"] == before | {"carbonbudget.dev/resumed-at": format_time(NOW)}


@given(st.text(), jitters)
def test_jitter_stays_within_its_bound_and_is_the_same_for_a_job_each_time(uid: str, within_s: int) -> None:
    assert 0 <= jitter(uid, within_s) <= within_s
    assert jitter(uid, within_s) == jitter(uid, within_s)


def test_jitter_spreads() -> None:
    spread = [jitter(f"uid-{n}", 299) for n in range(3000)]
    assert max(spread.count(second) for second in range(300)) < 40  # 10 on average
