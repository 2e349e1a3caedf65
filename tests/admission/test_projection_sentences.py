"""What `carbonbudget check` is told besides the verdict: what is expected and what is left, or why not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.admission.given import NOW, Bench, a_budget, a_review, an_object

from carbonbudget_operator.admission.admission_decision import MAX_LENGTH, Mode
from carbonbudget_operator.admission.app import answer
from carbonbudget_operator.admission.check_command_figures import FIGURES
from carbonbudget_operator.api.wire_names import CHECK_MANAGER
from carbonbudget_operator.budgets.expected_emissions import NoExpectation

WITHIN: dict[str, Any] = {"state": "WithinBudget", "percent": 10, "used_g": 100}
STATED = {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": "2h"}}
CHECK: dict[str, Any] = {"dryRun": True, "options": {"fieldManager": CHECK_MANAGER}}


def told(bench: Bench, kind: str = "Job", **spec: Any) -> list[str]:
    return list(bench.answers(a_review(kind, an_object(kind, **spec), **CHECK)).figures)


def test_work_that_fits_is_told_with_what_is_expected_and_what_is_left() -> None:
    bench = Bench(a_budget(**WITHIN)).knows(core_hour_ug=10**6)
    assert told(bench, metadata=STATED) == [
        f"{FIGURES}carbon budget tight: expected 2g, left 900g of 1kg CO2e "
        "(by the requests of Job train; location-based)"
    ]


def test_each_budget_that_selects_it_is_told_with_its_own_accounting_and_at_most_five_are() -> None:
    budgets = [a_budget(f"b{n}", **WITHIN, accounting="MarketBased") for n in range(7)]
    other = a_budget("other", **WITHIN, selector={"matchLabels": {"a": "b"}})
    found = told(Bench(*budgets, other).knows(core_hour_ug=10**6), metadata=STATED)
    assert len(found) == 5
    assert all("expected 1g, left 900g" in one and "market-based" in one for one in found)
    assert not any("other" in one for one in found)


def test_a_runs_own_limit_is_told_as_what_is_allowed() -> None:
    found = told(Bench(a_budget(**WITHIN, per="Workload")).knows(core_hour_ug=10**6), metadata=STATED)
    assert "expected 2g, allowed 1kg for each workload" in found[0]


@pytest.mark.parametrize(
    ("kind", "known", "spec", "why"),
    [
        ("Job", {}, {}, NoExpectation.NO_DURATION),
        ("Job", None, {"metadata": STATED}, NoExpectation.NO_TABLE),
        ("Job", {"as_of": NOW - 90_000}, {"metadata": STATED}, NoExpectation.NO_TABLE),
        ("DaemonSet", {}, {}, NoExpectation.PODS_UNKNOWN),
        ("Job", {}, {"metadata": STATED, "pod": {"containers": [{"name": "c"}]}}, NoExpectation.NO_REQUESTS),
        ("Deployment", {}, {"replicas": 0}, NoExpectation.NO_PODS),
    ],
)
def test_where_nothing_can_be_expected_it_says_why_and_what_is_left(
    kind: str, known: dict[str, Any] | None, spec: dict[str, Any], why: NoExpectation
) -> None:
    bench = Bench(a_budget(**WITHIN))
    (sentence,) = told(bench if known is None else bench.knows(**known), kind, **spec)
    assert "left 900g of 1kg CO2e, location-based" in sentence
    assert sentence.endswith(f"nothing is expected of {kind} train: {why}"[-100:])
    assert len(sentence) <= MAX_LENGTH


def test_what_is_left_of_a_budget_without_data_is_not_known() -> None:
    (sentence,) = told(Bench(a_budget(state="Unknown", percent=0)).knows(core_hour_ug=10**6), metadata=STATED)
    assert "expected 2g" in sentence
    assert "not known what is left of 1kg CO2e" in sentence


def test_labels_on_the_job_that_its_pods_lack_are_told_where_a_budget_selects_by_them() -> None:
    chosen = {"matchLabels": {"project": "chatbot"}}
    bench = Bench(a_budget("chat", **WITHIN, selector=chosen), a_budget("all", **WITHIN)).knows()
    labels = {"metadata": STATED | {"labels": {"project": "chatbot"}}}
    told_of_pods, of_job = told(bench, **labels)
    assert "carbon budget all: expected" in told_of_pods
    assert of_job == (
        f"{FIGURES}carbon budget chat does not select Job train: it goes by the labels of the pod template "
        "(spec.template.metadata.labels), and only the Job's own labels match"
    )
    assert len(told(bench, labels={"project": "chatbot"}, **labels)) == 2
    assert not any("does not select" in one for one in told(bench, labels={"project": "chatbot"}, **labels))
    assert not any("does not select" in one for one in told(bench, metadata=STATED))
    ended = Bench(a_budget("chat", **WITHIN, selector=chosen, ends=NOW - 1)).knows()
    assert not any("does not select" in one for one in told(ended, **labels))


def test_without_a_budget_that_holds_it_says_so() -> None:
    assert "no carbon budget that counts now selects Job train" in told(Bench())[0]
    assert "no carbon budget that counts now selects Job train" in told(Bench(a_budget(ends=NOW - 1)))[0]
    exempt: dict[str, Any] = {"metadata": STATED | {"labels": {"carbonbudget.dev/exempt": "true"}}}
    assert "is exempt" in told(Bench(a_budget()), **exempt)[0]


@pytest.mark.parametrize("request_", [{}, {"dryRun": True}, {"options": {"fieldManager": CHECK_MANAGER}}])
def test_nobody_else_is_told_and_a_yes_warns_of_nothing(request_: dict[str, Any]) -> None:
    bench = Bench(a_budget(**WITHIN)).knows(core_hour_ug=10**6)
    decision = bench.answers(a_review("Job", an_object(metadata=STATED), **request_))
    assert (decision.figures, decision.warnings, decision.outcome) == ((), [], "allowed")


def test_figures_travel_as_warnings_and_count_as_none() -> None:
    bench = Bench(a_budget(**WITHIN)).knows(core_hour_ug=10**6)
    decision = bench.answers(a_review("Job", an_object(metadata=STATED), **CHECK))
    assert decision.outcome == "allowed"
    assert answer("u", decision)["response"]["warnings"] == decision.figures  # type: ignore[index] # an AdmissionReview


@pytest.mark.parametrize("mode", ["Warn", "Enforce"])
def test_what_a_warning_or_a_refusal_says_already_is_not_said_twice(mode: Mode) -> None:
    block = [{"at": 100, "action": "Block", "basis": "Projected"}]
    bench = Bench(a_budget(**WITHIN, thresholds=block), mode=mode).knows(core_hour_ug=650 * 10**6)
    decision = bench.answers(a_review("Job", an_object(metadata=STATED), **CHECK))
    assert not decision.figures
    assert "expected 1.3kg, left 900g" in (decision.refusal or decision.warnings[0])
