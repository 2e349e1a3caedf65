"""Growth of what exists: refused only while a budget that names the kind blocks.

The dates of the objects do not matter to the webhook, which has a clock: a Deployment of forty days is checked as
one of yesterday. (A real API server sets creationTimestamp itself, so that an old object can only be had here.)
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.given import APPS, HOUR, NOW, Bench, a_budget, a_review, instant

from carbonbudget_operator.admission.watch_cache import WatchCache
from carbonbudget_operator.admission.workload_cache import ScalableWorkload
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

X = {"project": "x"}
ALL = ["Job", "Pod", "DaemonSet", *APPS, "TrainJob"]
OURS = {"labels": {"carbonbudget.dev/suspended": "true"}}


def blocking(**more: Any) -> Bench:
    return Bench(a_budget(**{"until": NOW + HOUR, "enforce": {"kinds": ALL}} | more))


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize("days", [1, 40])
def test_more_replicas_are_refused_however_old_the_workload_is(kind: str, days: int) -> None:
    born = {"name": "web", "creationTimestamp": instant(NOW - days * 86_400)}
    decision = blocking().changes(kind, {"replicas": 2}, {"replicas": 3}, metadata=born)
    assert f"({kind} web grows from 2 to 3 pods)" in decision.refusal


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 2), (0, 5), (2, 0)])
def test_fewer_or_as_many_or_from_zero_is_no_growth(kind: str, before: int, after: int) -> None:
    assert blocking().changes(kind, {"replicas": before}, {"replicas": after}).outcome == "allowed"


def test_a_rollout_is_no_growth() -> None:
    before = {"replicas": 2, "pod": {"containers": [{"name": "c", "image": "web:1"}]}}
    after = {"replicas": 2, "pod": {"containers": [{"name": "c", "image": "web:2"}]}}
    assert blocking().changes("Deployment", before, after).outcome == "allowed"
    assert blocking().changes("Deployment", before, after | {"replicas": 3}).outcome == "refused"


def test_a_job_that_is_resumed_or_gets_more_pods_at_once_is_refused() -> None:
    assert "is resumed" in blocking().changes("Job", {"suspend": True}, {"suspend": False}).refusal
    assert "from parallelism 1 to 4" in blocking().changes("Job", {}, {"parallelism": 4}).refusal
    assert "from parallelism 0 to 1" in blocking().changes("Job", {"parallelism": 0}, {"parallelism": 1}).refusal
    assert blocking().changes("Job", {"suspend": False}, {"suspend": True}).outcome == "allowed"
    assert blocking().changes("Job", {"parallelism": 4}, {"parallelism": 2}).outcome == "allowed"


def test_a_job_that_we_suspended_may_be_resumed_by_its_own_controller_or_gitops() -> None:
    """It is told as a conflict of the budget, and not fought."""
    assert blocking().changes("Job", {"suspend": True, "metadata": OURS}, {"suspend": False}).refusal == ""
    assert blocking().changes("Job", {"suspend": True}, {"suspend": False, "metadata": OURS}).refusal != ""


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("marks", [OURS, {}])
def test_a_job_that_we_suspended_gets_no_more_pods_at_once_while_it_waits_nor_as_it_is_resumed(
    stays: bool, marks: dict[str, Any]
) -> None:
    before = {"suspend": True, "metadata": OURS, "completions": 9}
    after = {"suspend": stays, "parallelism": 4, "metadata": marks, "completions": 9}
    assert "from parallelism 1 to 4" in blocking().changes("Job", before, after).refusal


def test_a_job_that_its_owner_suspended_may_get_more_and_is_checked_when_it_is_resumed() -> None:
    assert blocking().changes("Job", {"suspend": True}, {"suspend": True, "parallelism": 4}).refusal == ""
    assert "is resumed" in blocking().changes("Job", {"suspend": True, "parallelism": 4}, {"parallelism": 4}).refusal


def test_a_job_grows_by_the_pods_that_its_completions_leave_room_for() -> None:
    indexed = {"parallelism": 4, "completions": 2}
    assert "from parallelism 2 to 4" in blocking().changes("Job", indexed, indexed | {"completions": 4}).refusal
    assert blocking().changes("Job", {"completions": 1}, {"completions": 1, "parallelism": 9}).refusal == ""


def test_a_pod_that_loses_its_last_gate_starts_and_its_own_label_does_not_exempt_it() -> None:
    one, two = [{"name": "a"}], [{"name": "a"}, {"name": "b"}]
    exempt = {"metadata": {"labels": {"carbonbudget.dev/exempt": "true"}}}
    sentence = "(Pod train loses its last scheduling gate)"
    assert sentence in blocking().changes("Pod", {"schedulingGates": two}, {}).refusal
    assert sentence in blocking().changes("Pod", {"schedulingGates": one} | exempt, exempt).refusal
    assert blocking().changes("Pod", {"schedulingGates": two}, {"schedulingGates": one}).refusal == ""
    assert blocking().changes("Pod", {}, {}).refusal == ""


def affinity(*zones: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": list(zones)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"nodeSelector": {"a": "1"}}, {}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "2"}}),
        ({}, {"tolerations": [{"operator": "Exists"}]}),
        (affinity("a"), affinity("a", "b")),
        (affinity("a"), {}),
    ],
)
def test_a_daemon_set_that_may_run_on_more_nodes_grows_and_its_rollout_or_the_way_back_does_not(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    rolled_out = {"containers": [{"name": "c", "image": "web:2"}]}
    said = blocking().changes("DaemonSet", {"pod": before}, {"pod": after | rolled_out}).refusal
    assert "(DaemonSet train may run on more nodes)" in said
    assert blocking().changes("DaemonSet", {"pod": before}, {"pod": before | rolled_out}).refusal == ""


def test_a_daemon_set_that_is_narrowed_does_not_grow() -> None:
    narrow = {"nodeSelector": {"a": "1"}} | affinity("a")
    assert blocking().changes("DaemonSet", {}, {"pod": narrow}).refusal == ""


def test_a_replication_controller_that_selects_others_lets_its_pods_go_and_makes_new_ones() -> None:
    before, after = {"replicas": 2, "selector": {"app": "a"}}, {"replicas": 2, "selector": {"app": "b"}}
    assert "selects other pods" in blocking().changes("ReplicationController", before, after).refusal
    empty = {"replicas": 0}
    assert blocking().changes("ReplicationController", before | empty, after | empty).refusal == ""


def test_a_stateful_set_that_names_its_pods_anew_makes_new_ones_beside_those_that_left_it() -> None:
    before = {"replicas": 1}
    decision = blocking().changes("StatefulSet", before, before | {"ordinals": {"start": 5}})
    assert "names its pods anew" in decision.refusal
    assert blocking().changes("StatefulSet", {"replicas": 0}, {"ordinals": {"start": 5}}).outcome == "allowed"


@pytest.mark.parametrize(
    ("grace", "strategy", "outcome"),
    [(600, "RollingUpdate", "allowed"), (601, "RollingUpdate", "refused"), (601, "Recreate", "allowed")],
)
def test_a_rollout_whose_former_pods_may_run_on_for_long_is_growth(grace: int, strategy: str, outcome: str) -> None:
    """Deployments alone go on before the former pods have ended, and those that recreate do not."""
    pod = {"terminationGracePeriodSeconds": grace, "containers": [{"name": "c", "image": "web:1"}]}
    before = {"replicas": 1, "strategy": {"type": strategy}, "pod": pod}
    after = before | {"pod": pod | {"containers": [{"name": "c", "image": "web:2"}]}}
    decision = blocking().changes("Deployment", before, after)
    assert decision.outcome == outcome
    assert ("run its former pods on for up to 601 s" in decision.refusal) == (outcome == "refused")
    assert blocking().changes("Deployment", before, before).outcome == "allowed"


def test_a_configured_kind_grows_by_its_own_path() -> None:
    assert "grows from 2 to 4 pods" in blocking().changes("TrainJob", {"count": 2}, {"count": 4}).refusal
    assert blocking().changes("TrainJob", {"count": 4}, {"count": 2}).outcome == "allowed"


def test_growth_is_checked_only_where_the_budget_names_the_kind() -> None:
    unnamed = blocking(enforce=None)
    assert unnamed.changes("Deployment", {"replicas": 2}, {"replicas": 3}).outcome == "allowed"
    assert unnamed.changes("Job", {"suspend": True}, {"suspend": False}).outcome == "refused"


def test_growth_under_a_budget_that_only_warns_is_warned_of() -> None:
    decision = Bench(a_budget(enforce={"kinds": ALL})).changes("Deployment", {"replicas": 2}, {"replicas": 3})
    assert (decision.outcome, list(decision.warnings)) == ("warned", ["carbon budget tight: used up"])


def test_the_label_on_the_workload_exempts_its_growth() -> None:
    exempt = {"name": "web", "labels": {"carbonbudget.dev/exempt": "true"}}
    assert blocking().changes("Deployment", {"replicas": 2}, {"replicas": 3}, metadata=exempt).outcome == "allowed"


def a_scale(before: int, after: int, selector: str = "") -> dict[str, Any]:
    """As kubectl scale and an autoscaler send it: no labels, only the workload's selector."""

    def scale(replicas: int) -> dict[str, Any]:
        spec = {"replicas": replicas} if replicas else {}  # the API server leaves a 0 out
        return {"metadata": {"name": "web", "uid": "7"}, "spec": spec, "status": {"selector": selector}}

    return a_review("Deployment", scale(after), scale(before), subresource="scale")


def known(bench: Bench, labels: dict[str, str], exempt: bool = False) -> None:
    """What the watch would have brought."""
    workload_kind = bench.workloads.kinds["Deployment"]
    kept = WatchCache[ScalableWorkload]("Deployment", lambda _: ScalableWorkload(labels, exempt))
    kept.put("ADDED", {"metadata": {"namespace": "team-a", "name": "web"}})
    bench.workloads._watched[workload_kind, "team-a"] = (kept, None)  # type: ignore[assignment] # no task


def test_a_scale_up_is_refused_and_is_told_of_the_workload() -> None:
    decision = blocking().answers(a_scale(2, 3))
    assert "(Deployment web grows from 2 to 3 pods)" in decision.refusal
    assert (decision.about.kind, decision.about.uid) == ("Deployment", "7")


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 3), (3, 0), (3, 1)])
def test_a_scale_down_or_from_zero_is_not(before: int, after: int) -> None:
    assert blocking().answers(a_scale(before, after)).outcome == "allowed"


def test_a_scale_is_checked_by_the_workloads_selector_where_that_settles_it() -> None:
    bench = blocking(selector={"matchLabels": X})
    assert bench.answers(a_scale(1, 2, "project=x,app=web")).outcome == "refused"
    assert bench.answers(a_scale(1, 2, "project=y")).outcome == "allowed"
    assert bench.answers(a_scale(1, 2, "app=web")).outcome == "allowed"


def test_a_scale_is_checked_by_the_templates_labels_where_the_workload_is_known() -> None:
    bench = blocking(selector={"matchLabels": X})
    known(bench, X)
    assert bench.answers(a_scale(1, 2, "app=web")).outcome == "refused"
    known(bench, X, exempt=True)
    assert bench.answers(a_scale(1, 2, "project=x")).outcome == "allowed"
    known(bench, {"project": "y"})
    assert bench.answers(a_scale(1, 2, "app=web")).outcome == "allowed"


def test_only_workloads_that_a_blocking_budget_names_are_watched() -> None:
    assert Bench(a_budget(enforce={"kinds": ALL})).watched() == set()
    assert blocking(enforce={"kinds": ["Job"]}).watched() == set()
    assert blocking(enforce={"kinds": ["Deployment"]}).watched() == {("Deployment", "team-a")}
    wide = a_budget("w", namespace="", until=NOW + HOUR, enforce={"kinds": ["StatefulSet"]})
    assert Bench(wide).watched() == {("StatefulSet", EVERY_NAMESPACE)}
    some = a_budget(
        "w", namespace="", until=NOW + HOUR, enforce={"kinds": ["StatefulSet"]},
        namespaceSelector={"matchLabels": {"dept": "ml"}},
    )  # fmt: skip
    bench = Bench(some)
    for number in range(3):
        bench.namespace(f"n{number}", dept="ml")
    assert len(bench.watched()) == 3
    bench.namespace("n20", dept="ml")
    assert bench.watched() == {("StatefulSet", EVERY_NAMESPACE)}


counts = st.integers(0, 50)


@given(st.sampled_from([*APPS, "TrainJob"]), counts, counts)
def test_what_is_refused_is_always_more_than_before_and_never_from_zero(kind: str, before: int, after: int) -> None:
    key = "count" if kind == "TrainJob" else "replicas"
    decision = blocking().changes(kind, {key: before}, {key: after})
    assert (decision.outcome == "refused") == (0 < before < after)
