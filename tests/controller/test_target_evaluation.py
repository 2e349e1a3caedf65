"""One evaluation of a target, of whatever the server answers; and the hash of what a baseline depends on."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.objects import merge, namespaces
from tests.controller.target_bench import DAY, HOUR, SPEC, at

from carbonbudget_operator.api.carbontarget import CarbonTarget
from carbonbudget_operator.api.target_query_bodies import TargetAnswer, TargetSpanAnswer
from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.prepared_target import InvalidTarget, PreparedTarget, prepare_target
from carbonbudget_operator.controller.target_evaluation import TargetEvaluation, evaluate_target
from carbonbudget_operator.controller.target_queries import AskedSpans, frozen_in, spans_to_ask
from carbonbudget_operator.controller.target_status_json import is_visible_change_of_target
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.targets.target_verdict import TargetState

THROUGH = at("2026-11-17")
_UG = st.integers(0, 2**80)


def a_body(kind: str = "CarbonTarget", **change: object) -> dict[str, Any]:
    metadata = {"name": "chatbot", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-01T12:00:00Z"}
    if kind == "CarbonTarget":
        metadata["namespace"] = "team-a"
    return {"metadata": metadata, "spec": copy.deepcopy(SPEC) | change}


def prepared(body: dict[str, Any]) -> PreparedTarget:
    resource = TARGET if "namespace" in body["metadata"] else CLUSTER_TARGET
    return prepare_target(StoredTarget(resource, copy.deepcopy(body)), namespaces(team_a={}), 0)


def spans(asked: AskedSpans) -> list[Period]:
    return [asked.current, *([asked.baseline] if asked.baseline else []), *asked.windows]


def evaluated(body: dict[str, Any], answers: list[TargetSpanAnswer] | None, through: int = THROUGH) -> TargetEvaluation:
    """One evaluation; with None 100 g for 1000 units in each hour."""
    one = prepared(body)
    frozen = frozen_in(one, None)
    asked = spans_to_ask(one, frozen, through, restates=True)
    answer = TargetAnswer(id=one.key, spans=answers or [plain(span) for span in spans(asked)])
    return evaluate_target(one, frozen, asked, asked.answers(answer), through, through + 60)


def plain(span: Period, grams: int = 100) -> TargetSpanAnswer:
    hours = (span.end - span.start) // HOUR
    return TargetSpanAnswer(
        start=span.start, end=span.end, emissions_ug=grams * 10**6 * hours, energy_uj=10**8 * hours,
        units_micro=10**9 * hours, hours=hours, known_hours=hours,
    )  # fmt: skip


@st.composite
def any_answer(draw: st.DrawFn, span: Period) -> TargetSpanAnswer:
    hours = draw(st.integers(0, (span.end - span.start) // HOUR))
    return TargetSpanAnswer(
        start=span.start,
        end=span.end,
        emissions_ug=draw(_UG),
        embodied_ug=draw(_UG),
        energy_uj=draw(_UG),
        units_micro=draw(st.one_of(st.just(0), _UG)),
        hours=hours,
        known_hours=draw(st.integers(0, hours)),
        measured_percent=draw(st.integers(0, 100)),
        coverage_percent=draw(st.integers(0, 100)),
        missing=draw(st.text(max_size=20)),
        all_emissions_ug=draw(st.one_of(st.none(), _UG)),
        known_percent=draw(st.one_of(st.none(), st.integers(0, 100))),
        left_out=draw(st.lists(st.just("team-b"), max_size=5)),
        left_out_count=draw(st.integers(0, 1000)),
    )


def numbers(value: object) -> list[int]:
    """Every number in a status."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int) else []


@given(st.data(), st.sampled_from(["Total", "Efficiency"]), st.booleans())
def test_whatever_the_server_answers_the_status_can_be_written_and_read_again(
    data: st.DataObject, basis: str, is_frozen: bool
) -> None:
    body = a_body(basis=basis)
    if is_frozen:
        merge(body, {"status": evaluated(body, None).status})
    one = prepared(body)
    asked = spans_to_ask(one, frozen_in(one, None), THROUGH, restates=True)
    made = evaluated(body, [data.draw(any_answer(span)) for span in spans(asked)])
    text = json.dumps(made.status, allow_nan=False)  # a number that JSON does not have is an error
    assert all(abs(number) < 2**63 for number in numbers(json.loads(text)))
    merge(body, {"status": json.loads(text)})
    assert CarbonTarget.model_validate(body).status.state == made.state
    assert made.state is TargetState.NO_DATA or made.frozen is not None


@given(st.data())
def test_the_same_answers_again_are_no_visible_change(data: st.DataObject) -> None:
    body = a_body()
    merge(body, {"status": evaluated(body, None).status})
    one = prepared(body)
    asked = spans_to_ask(one, frozen_in(one, None), THROUGH, restates=True)
    answers = [data.draw(any_answer(span)) for span in spans(asked)]
    merge(body, {"status": json.loads(json.dumps(evaluated(body, answers).status))})
    again = {(one.start, one.end): one for one in answers}
    asked = spans_to_ask(prepared(body), frozen_in(prepared(body), None), THROUGH, restates=True)
    status = evaluated(body, [again[(span.start, span.end)] for span in spans(asked)]).status
    assert not is_visible_change_of_target(body, status)


def test_a_target_that_is_judged_has_every_column() -> None:
    body = a_body()
    merge(body, {"status": evaluated(body, None).status})
    status = evaluated(body, None).status
    assert [status[key] is not None for key in ("current", "expectedNow", "baseline", "state", "history")] == [True] * 5


# The hashes are stored in statuses: another one would compute every baseline again and forfeit credits.
HASHES: list[tuple[dict[str, Any], str]] = [
    (a_body(), "c314cffd27272b1a"),
    (a_body("ClusterCarbonTarget"), "74190538336d89b3"),
    (a_body(baseline={"value": "42g"}), "16c5e43f482c07b2"),
    (
        a_body(
            selector={"matchLabels": {"app": "chatbot"}},
            unit={"name": "r", "source": {"counter": {"metric": "m", "matchLabels": {"b": "1", "a": "2"}}}},
        ),
        "237421affa7f93a8",
    ),
]


@pytest.mark.parametrize(("body", "digits"), HASHES, ids=["span", "cluster", "value", "counter"])
def test_the_hash_of_a_spec_never_changes(body: dict[str, Any], digits: str) -> None:
    assert prepared(body).hash == digits


@pytest.mark.parametrize(
    "change",
    [
        {"target": {"reduction": 30, "by": "2027-12-02T00:00:00Z"}},
        {"tolerance": 1},
        {"window": "Month"},
        {"minimumUnits": 5},
        {"timeZone": "Europe/Paris"},
        {"basis": "Efficiency"},
        {"unit": SPEC["unit"] | {"name": "another word"}},
        {"include": ["Embodied", "Overhead", "Idle", "Dynamic"]},
        {"selector": {}},
        {"baseline": {"start": "2026-11-01T02:00:00+02:00", "end": "2026-11-02T00:00:00Z"}},
    ],
    ids=str,
)
def test_an_edit_that_changes_no_baseline_keeps_its_hash(change: dict[str, Any]) -> None:
    assert prepared(a_body(**change)).hash == prepared(a_body()).hash


@pytest.mark.parametrize(
    "change",
    [
        {"unit": SPEC["unit"] | {"per": 1}},
        {"unit": SPEC["unit"] | {"source": {"client": "token"}}},
        {"include": ["Dynamic"]},
        {"accounting": "MarketBased"},
        {"selector": {"matchLabels": {"app": "x"}}},
        {"baseline": {"value": "42g"}},
        {"baseline": {"start": "2026-11-01T01:00:00Z", "end": "2026-11-02T00:00:00Z"}},
    ],
    ids=str,
)
def test_an_edit_of_what_is_measured_changes_it(change: dict[str, Any]) -> None:
    assert prepared(a_body(**change)).hash != prepared(a_body()).hash


def test_a_baseline_of_another_namespace_selector_is_another() -> None:
    chosen = a_body(
        "ClusterCarbonTarget", namespaceSelector={"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}
    )
    assert prepared(chosen).hash != prepared(a_body("ClusterCarbonTarget")).hash


def test_a_baseline_in_a_status_that_nobody_can_read_is_computed_again() -> None:
    body = a_body()
    status = json.loads(json.dumps(evaluated(body, None).status))
    for units in ("", "many", "0", "-5"):
        status["baseline"]["measured"]["units"] = units
        assert frozen_in(prepared(body | {"status": status}), None) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"timeZone": "Mars/Phobos"}, "is no time zone"),
        ({"baseline": {}}, "spec.baseline has neither start and end nor value"),
        ({"baseline": {"value": "5 kilos"}}, "must be a number with a unit"),
        ({"baseline": {"start": "2026-11-01T00:30:00Z", "end": "2026-11-02T00:00:00Z"}}, "full hours of UTC"),
        ({"baseline": {"start": "2026-11-03T00:00:00Z", "end": "2026-11-02T00:00:00Z"}}, "end after start"),
        ({"target": {"reduction": 20}}, "spec.target.by: Field required"),
        ({"unit": {"name": "x", "source": {"preset": "vLLMSmiles"}}}, "unit.source.preset"),
    ],
)
def test_a_spec_from_before_a_rule_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidTarget, match=sentence):
        prepared(a_body(**change))


def test_a_span_that_the_server_did_not_answer_is_an_error_and_no_zero() -> None:
    one = prepared(a_body())
    asked = spans_to_ask(one, None, THROUGH, restates=False)
    with pytest.raises(ValueError, match="not of the spans that were asked for"):
        asked.answers(TargetAnswer(id=one.key, spans=[plain(asked.current)]))


def test_a_question_has_at_most_fourteen_spans() -> None:
    body = a_body()
    merge(body, {"status": evaluated(body, None).status})
    one = prepared(body)
    asked = spans_to_ask(one, frozen_in(one, None), THROUGH + 400 * DAY, restates=True)
    assert len(asked.query(one).spans) == 14
