"""Whether a budget covers a namespace and labels: the table, and what must hold for all selectors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.budgets.coverage_cases import CASES, NO, NOT_KNOWN, OWN, YES, Case
from tests.budgets.oracle import possible, selected
from tests.conftest import ROOT

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.budgets.coverage import (
    Covers,
    Scope,
    among,
    asked_labels,
    enforced_namespaces,
    has_exempt_prefix,
    selects,
    selects_namespace,
    still_counting,
)
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

KEYS, VALUES = ("a", "b", "example.com/c"), ("1", "2", "3", "")
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
terms = st.one_of(
    st.fixed_dictionaries({
        "key": st.sampled_from(KEYS),
        "operator": st.sampled_from(["In", "NotIn"]),
        "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
    }),
    st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)  # fmt: skip
selectors = st.none() | st.fixed_dictionaries(
    {}, optional={"matchLabels": labels, "matchExpressions": st.lists(terms, max_size=4)}
)


def model(selector: dict[str, Any] | None) -> LabelSelector | None:
    return None if selector is None else LabelSelector.model_validate(selector)


def files_with(text: str) -> set[str]:
    """Modules of the operator that have it, but for the migrations, which never change."""
    root = ROOT / "operator" / "carbonbudget_operator"
    found = (path.relative_to(root) for path in root.rglob("*.py") if text in path.read_text(encoding="utf-8"))
    return {str(path) for path in found if "migrations" not in path.parts}


def test_the_rule_and_the_sign_for_every_namespace_stand_in_one_place_each() -> None:
    # The first has the sign for any value of a label, the second and the third that for any end of a text, the fourth
    # that of NO_PROXY, the fifth pydantic's for any field of a model.
    others = {
        "ledger/selected_labels.py", "opencost/request_parameters.py", "budgets/coverage.py",
        "kube/environment_proxy.py", "api/base_model.py",
    }  # fmt: skip
    assert files_with('"*"') == {"special_namespaces.py", *others}
    # cli/formatted_values.py writes selectors as kubectl does, and asks nothing.
    assert files_with('"DoesNotExist"') - {"cli/formatted_values.py"} == {"budgets/coverage.py", "api/selector.py"}


def test_no_case_of_the_table_stands_twice() -> None:
    assert [says for says, times in Counter(map(str, CASES)).items() if times > 1] == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_case_is_answered_as_the_table_says(case: Case) -> None:
    scope = case.budget.scope()
    assert scope.covers(case.namespace, case.where, case.labels, case.whole) is case.covers
    if case.before is not None:
        assert scope.covers(case.namespace, case.where, case.before) is case.was_covered
    enforced = selects_namespace(enforced_namespaces(frozenset(), ENFORCEMENT_LABEL), case.namespace, case.where)
    assert (enforced is not NO) == case.enforced
    assert scope.refuses_new_work == (case.budget.per != "Workload")


@given(selectors, labels)
def test_with_all_labels_known_it_is_what_kubernetes_selects(selector: dict[str, Any] | None, pod: Any) -> None:
    assert selects(model(selector), pod) is (YES if selected(selector, pod) else NO)


@given(selectors, labels)
def test_with_labels_cut_yes_and_no_hold_whatever_was_cut(selector: dict[str, Any] | None, known: Any) -> None:
    answers = {selected(selector, pod) for pod in possible(known, frozenset(KEYS), frozenset(VALUES))}
    answer = selects(model(selector), known, whole=False)
    assert answer is NOT_KNOWN or answers == {answer is YES}


@given(st.lists(terms, max_size=3, unique_by=lambda term: str(term["key"])), labels)
def test_with_labels_cut_and_each_label_asked_for_once_not_known_means_that_it_depends(terms: Any, known: Any) -> None:
    selector = {"matchExpressions": terms}
    answers = {selected(selector, pod) for pod in possible(known, frozenset(KEYS), frozenset(VALUES))}
    expected = {frozenset({True}): YES, frozenset({False}): NO}.get(frozenset(answers), NOT_KNOWN)
    assert selects(model(selector), known, whole=False) is expected


@given(selectors, labels)
def test_the_labels_that_are_asked_for_decide_alone(selector: dict[str, Any] | None, pod: dict[str, str]) -> None:
    """What the ledger keeps of a pod's labels: these keys, and of a value that is none of these that it is another."""
    asked: dict[str, set[str]] = {}
    for key, values in asked_labels(model(selector)):
        asked.setdefault(key, set()).update(values)
    kept = {key: value if value in asked[key] else "__other__" for key, value in pod.items() if key in asked}
    assert selects(model(selector), kept) is selects(model(selector), pod)


@given(selectors, selectors, st.none() | labels, labels, st.booleans(), st.booleans())
def test_a_budget_covers_what_both_of_its_selectors_select(
    own: Any, wide: Any, where: dict[str, str] | None, pod: dict[str, str], whole: bool, cluster: bool
) -> None:
    scope = Scope("" if cluster else OWN, model(own), model(wide) if cluster else None)
    parts = {selects_namespace(scope.namespace_selector, OWN, where), selects(scope.selector, pod, whole)}
    expected = NO if NO in parts else NOT_KNOWN if NOT_KNOWN in parts else YES
    assert scope.covers(OWN, where, pod, whole) is expected
    assert scope.covers("team-b", where, pod, whole) is (expected if cluster else NO)


@given(selectors, st.dictionaries(st.sampled_from(["n1", "n2", "n3"]), labels))
def test_the_namespaces_that_it_names_are_those_that_it_holds_in(wide: Any, there: dict[str, dict[str, str]]) -> None:
    scope = Scope("", None, model(wide))
    names = scope.names(there)
    assert names == (
        (EVERY_NAMESPACE,) if wide is None else tuple(n for n in sorted(there) if selected(wide, there[n]))
    )
    assert all(among(names, name) == (scope.holds_in(name, where) is YES) for name, where in there.items())
    assert scope.names(None) == (None if wide is not None else names)


def test_a_namespaces_own_budget_names_it_whether_it_is_known_or_not() -> None:
    assert Scope(OWN).names(None) == Scope(OWN).names({}) == (OWN,)


def test_every_namespace_is_all_but_the_rows_of_no_pod_and_who_names_such_a_row_gets_it() -> None:
    assert among([EVERY_NAMESPACE], "team-a")
    assert among(["team-a"], "team-a")
    assert not among(["team-a"], "team-b")
    assert not among([EVERY_NAMESPACE], "__idle__")
    assert among(["__idle__"], "__idle__")
    assert not among([], "team-a")


def test_a_namespace_that_counted_goes_on_counting_and_an_edit_ends_that_for_those_that_exist() -> None:
    assert still_counting(["a"], ["a", "gone", "left"], {"a", "left"}, edited=False) == ("a", "gone", "left")
    assert still_counting(["a"], ["a", "gone", "left"], {"a", "left"}, edited=True) == ("a", "gone")
    assert still_counting([], [], {"a"}, edited=False) == ()


@pytest.mark.parametrize(
    ("name", "where", "answer"),
    [
        ("kube-system", {}, NO),
        ("kube-system", None, NO),
        ("team-a", {}, YES),
        ("team-a", {ENFORCEMENT_LABEL: "off"}, NO),
        ("team-a", {ENFORCEMENT_LABEL: "Off"}, YES),
        ("team-a", None, NOT_KNOWN),
    ],
)
def test_namespaces_that_are_left_out_are_known_by_name_and_by_label(
    name: str, where: dict[str, str] | None, answer: Covers
) -> None:
    assert selects_namespace(enforced_namespaces(frozenset({"kube-system"}), ENFORCEMENT_LABEL), name, where) is answer


def test_an_exempt_name_that_ends_with_a_star_is_the_beginning_of_names() -> None:
    exempt = frozenset({"kube-*", "openshift-*", "lab"})
    beginning = [
        name
        for name in ("kube-system", "kube-", "openshift-x", "openshift", "lab", "lab-2", "my-kube-x")
        if has_exempt_prefix(exempt, name)
    ]
    assert beginning == ["kube-system", "kube-", "openshift-x"]
    assert not has_exempt_prefix(frozenset({"lab"}), "lab-2")
