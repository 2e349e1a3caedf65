"""Laws of suspension and resumption, for any budgets and Jobs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.enforcement.suspension_jobs import (
    decided,
    resumed_status,
)
from tests.enforcement.worlds import HOUR, NOW, Body, a_budget, job_body, merged

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import parse_job
from carbonbudget_operator.enforcement.suspension_actions import Plan, Resume, Suspend
from carbonbudget_operator.enforcement.suspension_decisions import jitter
from carbonbudget_operator.enforcement.suspension_patches import patch_of_suspension

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
            state[action.job.uid] = merged(state[action.job.uid], patch_of_suspension(action, NOW)[0])
    assert decided(budgets, map(parse_job, state.values()), jitter_s=jitter_s, enforced=enforced).actions == []


@given(bodies("j0"))
def test_suspending_and_resuming_leaves_a_job_as_it_was(body: Body) -> None:
    body["metadata"]["labels"].pop("carbonbudget.dev/suspended", None)
    body["spec"]["suspend"] = False
    before = {k: v for k, v in body["metadata"]["annotations"].items() if k == "other"}
    budget = a_budget(suspend_from=NOW - 60)
    after = merged(body, patch_of_suspension(Suspend(parse_job(body), budget), NOW)[0])
    assert parse_job(after).marked
    assert parse_job(after).suspended
    after = merged(after, patch_of_suspension(Resume(parse_job(after)), NOW)[0])
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
