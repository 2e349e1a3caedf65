"""Which Jobs are announced and suspended, and which are left alone."""

from __future__ import annotations

import pytest
from tests.enforcement.suspension_jobs import (
    MARKED,
    OPTED_IN,
    OVER,
    REACHED,
    actions,
    decided,
    per_workload,
    suspended_job,
)
from tests.enforcement.worlds import HOUR, NOW, a_budget, a_job

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.enforcement.suspension_actions import Announce, Plan, Suspend, Unmark, Withdraw


def test_a_job_that_opted_in_is_suspended_once_grace_is_over() -> None:
    assert actions([REACHED], [a_job()]) == [Suspend]


def test_during_the_grace_the_job_is_announced_once_and_the_next_decision_is_at_its_end() -> None:
    soon = a_budget(suspend_from=NOW + 600)
    decision = decided([soon], [a_job()])
    assert [(type(a), a.at) for a in decision.actions if isinstance(a, Announce)] == [(Announce, NOW + 600)]
    assert decision.wake_at == NOW + 600
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW + 600)})
    assert actions([soon], [told]) == []


def test_an_announcement_is_withdrawn_when_the_budget_no_longer_suspends() -> None:
    told = a_job(annotations={"carbonbudget.dev/suspend-at": format_time(NOW + 600)})
    assert actions([a_budget()], [told]) == [Withdraw]


def test_a_block_alone_suspends_nobody() -> None:
    blocking = a_budget(status={"enforcement": {"action": "Block", "until": format_time(NOW + HOUR)}})
    assert actions([blocking], [a_job()]) == []


def test_a_budget_whose_until_has_passed_suspends_nobody() -> None:
    assert actions([a_budget(suspend_from=NOW - 60, until=NOW)], [a_job()]) == []


def test_a_status_of_an_earlier_spec_suspends_and_resumes_no_job() -> None:
    raised = a_budget(suspend_from=NOW - 60, generation=2)
    assert actions([raised], [a_job(), suspended_job(name="held")]) == []


def test_the_selector_goes_by_the_pod_templates_labels() -> None:
    chosen = a_budget(suspend_from=NOW - 60, spec={"selector": {"matchLabels": {"project": "a"}}})
    assert actions([chosen], [a_job(template={"project": "b"}), a_job(template={})]) == []
    assert actions([chosen], [a_job(template={"project": "a"})]) == [Suspend]


def test_a_budget_of_another_namespace_does_not_touch_it() -> None:
    assert actions([a_budget(namespace="team-b", suspend_from=NOW - 60)], [a_job()]) == []


def test_a_job_that_is_exempt_or_in_an_exempt_namespace_goes_on() -> None:
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
def test_a_job_whose_label_may_be_among_those_that_are_not_stored_is_left_alone(labels: int) -> None:
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
