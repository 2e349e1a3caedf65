"""What the webhook keeps has a size that whoever writes the objects does not choose, and no block vanishes by it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.given import NOW, Bench, a_budget, a_review, an_object

from carbonbudget_operator.admission import workload_cache
from carbonbudget_operator.admission.watch_cache import _MOST_OF_A_NAMESPACE, WatchCache
from carbonbudget_operator.admission.webhook_budget import bounded_webhook_budget, text_bytes, webhook_budget
from carbonbudget_operator.admission.workload_cache import ScalableWorkload
from carbonbudget_operator.budgets.coverage import Covers, selects

FAR = NOW + 10**9
labels = st.dictionaries(st.sampled_from(["a", "b", "x" * 400]), st.sampled_from(["1", "2", "y" * 99]), max_size=3)
terms = st.fixed_dictionaries({
    "key": st.sampled_from(["a", "b"]),
    "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    "values": st.lists(st.sampled_from(["1", "2", "y" * 99]), max_size=3),
})  # fmt: skip
pods = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2", "3"]))


@given(labels, st.lists(terms, max_size=3), pods)
def test_what_is_left_out_of_a_selector_changes_nothing_for_any_pod_that_can_exist(
    match: dict[str, str], expressions: list[dict[str, Any]], pod: dict[str, str]
) -> None:
    body = a_budget(selector={"matchLabels": match, "matchExpressions": expressions})
    kept, whole = bounded_webhook_budget(body, cluster=False), webhook_budget(body, cluster=False)
    selected = kept is not None and selects(kept.scope.selector, pod) is Covers.YES
    assert selected == (selects(whole.scope.selector, pod) is Covers.YES)


@pytest.mark.parametrize("where", ["selector", "namespaceSelector"])
def test_a_budget_with_a_label_key_of_a_megabyte_is_not_kept_since_it_selects_nothing(where: str) -> None:
    body = a_budget(namespace="", **{where: {"matchLabels": {"x" * 1_300_000: "y"}}})
    assert bounded_webhook_budget(body, cluster=True) is None


def test_a_budget_of_more_labels_than_are_kept_blocks_more_and_never_less() -> None:
    many = {f"l{n}": "x" for n in range(10_000)}
    bench = Bench(a_budget(ends=FAR, until=FAR, selector={"matchLabels": many}))
    [kept] = bench.budgets.own.all()
    assert text_bytes(kept) < 16_384
    assert bench.creates("Job", many).outcome == "refused"
    assert bench.creates("Job", {"l0": "x"}).outcome == "allowed"


def test_a_namespace_fills_its_own_share_and_no_other() -> None:
    bench = Bench()
    for number in range(5_000):
        bench.budgets.own.put("ADDED", a_budget(f"b{number}", namespace="full"))
    bench.budgets.own.put("ADDED", a_budget("b", namespace="other"))
    kept = bench.budgets.own.of("full").values()
    assert sum(map(text_bytes, kept)) <= _MOST_OF_A_NAMESPACE
    assert len(kept) > 500
    assert len(bench.budgets.own.of("other")) == 1
    assert bench.budgets.own.crowded == {"full"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["ADDED", "DELETED"]), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 9))
    )
)
def test_what_it_holds_is_counted_right_over_any_changes(changes: list[tuple[str, str, int, int]]) -> None:
    kept = WatchCache[int]("x", lambda body: int(str(body["n"])), size=lambda value: value)
    for kind, namespace, name, value in changes:
        kept.put(kind, {"metadata": {"namespace": namespace, "name": str(name)}, "n": value})
    for namespace in "ab":
        values = kept.of(namespace).values()
        assert kept._bytes.get(namespace, 0) == sum(values) + 200 * len(values)


# --- workloads whose labels are not kept -----------------------------------------------------------------------------


def scaled(bench: Bench, found: dict[str, Any] | None, selector: str = "app=web") -> str:
    """How a Scale from 1 to 2 of a Deployment is answered that the webhook has seen as `found`."""
    workload_kind = bench.workloads.kinds["Deployment"]
    kept = WatchCache[ScalableWorkload]("Deployment", lambda body: workload_cache._scalable(workload_kind, body))
    if found is not None:
        kept.put("ADDED", found)
    bench.workloads._watched[workload_kind, "team-a"] = (kept, None)  # type: ignore[assignment] # its task
    old, new = (
        {"metadata": {"name": "web"}, "spec": {"replicas": n}, "status": {"selector": selector}} for n in (1, 2)
    )
    return bench.answers(a_review("Deployment", new, old, subresource="scale")).outcome


def a_deployment(pods: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return an_object("Deployment", pods, metadata={"name": "web", "namespace": "team-a"} | metadata)


@pytest.mark.parametrize("key", ["project", "app"])
def test_labels_that_are_too_many_to_keep_take_no_workload_out_of_a_budget(key: str) -> None:
    def bench() -> Bench:
        kinds = {"kinds": ["Deployment"]}
        return Bench(a_budget(ends=FAR, until=FAR, enforce=kinds, selector={"matchLabels": {key: "x"}}))

    padded = a_deployment({key: "x"} | {f"l{n}": "y" * 60 for n in range(1_000)})
    unread = {"metadata": padded["metadata"]}
    settled = "allowed" if key == "app" else "refused"  # the Scale's own selector says app=web
    assert scaled(bench(), a_deployment({key: "x"})) == "refused"
    assert scaled(bench(), a_deployment({key: "z"})) == "allowed"
    assert scaled(bench(), None) == "allowed"  # made a moment ago
    assert scaled(bench(), padded) == settled
    assert scaled(bench(), unread) == settled


def test_an_exempt_workload_stays_exempt_when_its_template_is_not_read() -> None:
    bench = Bench(a_budget(ends=FAR, until=FAR, enforce={"kinds": ["Deployment"]}))
    exempt = a_deployment({}, labels={"carbonbudget.dev/exempt": "true"})
    assert scaled(bench, {"metadata": exempt["metadata"]}) == "allowed"
    assert scaled(bench, {"metadata": a_deployment({})["metadata"]}) == "refused"


def test_a_workload_of_a_namespace_that_has_more_than_are_kept_is_taken_as_selected() -> None:
    bench = Bench(
        a_budget(ends=FAR, until=FAR, enforce={"kinds": ["Deployment"]}, selector={"matchLabels": {"project": "x"}})
    )
    assert scaled(bench, None) == "allowed"
    [(kept, _)] = bench.workloads._watched.values()
    kept.crowded.add("team-a")
    old, new = ({"metadata": {"name": "w"}, "spec": {"replicas": n}, "status": {"selector": "a=b"}} for n in (1, 2))
    assert bench.answers(a_review("Deployment", new, old, subresource="scale")).outcome == "refused"
    assert bench.workloads.crowded() == 1
