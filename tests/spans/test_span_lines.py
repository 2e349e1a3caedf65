"""What a pod sends is read line by line: what is wrong is refused alone, with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.spans.worlds import NOON

from carbonbudget_operator.spans.span_bodies import (
    MAX_COUNT_MS,
    MAX_SPAN_MS,
    MAX_SPANS,
    ImportedSpans,
    PostedProgress,
    PostedSpans,
)
from carbonbudget_operator.spans.span_lines import read_spans, read_units
from carbonbudget_operator.spans.span_record import Span

BORN, NOW = NOON - 40 * 86_400_000, NOON
GOOD: dict[str, Any] = {"id": "a1", "name": "epoch", "step": 3, "start_ms": NOON - 60_000, "end_ms": NOON}


def read(**changes: object) -> tuple[list[Span], list[tuple[str, str]]]:
    spans, refused = read_spans([{**GOOD, **changes}], NOW, BORN)
    return spans, [(line.id, line.reason) for line in refused]


def test_a_good_line_becomes_a_span() -> None:
    assert read(cpu_us=[5, 9], gpu_uj=[0, 7], later_field="ignored") == (
        [Span("a1", "epoch", 3, NOON - 60_000, NOON, (5, 9), (0, 7))],
        [],
    )
    assert read(step=None)[0][0].step is None


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"end_ms": NOON - 60_001}, "ends before it starts"),
        ({"end_ms": NOON + 60_001}, "in the future"),
        ({"start_ms": NOON - MAX_SPAN_MS - 1}, "longer than 31 days"),
        ({"start_ms": BORN - 10, "end_ms": BORN - 1}, "before the pod started"),
        ({"name": "a\x1b[31m"}, "printable"),
        ({"name": "a\u202eb"}, "printable"),
        ({"name": ""}, "name: string should have at least 1"),
        ({"name": "n" * 121}, "at most 120"),
        ({"step": -1}, "step: "),
        ({"step": True}, "step: "),
        ({"start_ms": 1.5}, "start_ms: "),
        ({"start_ms": "1"}, "start_ms: "),
        ({"start_ms": -1}, "start_ms: "),
        ({"end_ms": 2**63}, "end_ms: "),
        ({"cpu_us": [1]}, "cpu_us"),
        ({"cpu_us": [1, 2, 3]}, "cpu_us"),
        ({"cpu_us": [-1, 2]}, "cpu_us.0: "),
        ({"gpu_uj": [0, 2**61]}, "gpu_uj.1: "),
    ],
)
def test_a_bad_line_is_refused_with_its_id_and_one_sentence(changes: dict[str, object], part: str) -> None:
    spans, refused = read(**changes)
    assert spans == []
    [(span_id, reason)] = refused
    assert span_id == "a1"
    assert part in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    "line", [None, 7, [], "x", {}, {**GOOD, "id": "a b"}, {**GOOD, "id": "i" * 65}, {**GOOD, "id": 5}]
)
def test_a_line_without_an_id_that_can_be_shown_is_named_by_its_number(line: object) -> None:
    spans, [refused] = read_spans([GOOD, line], NOW, BORN)
    assert len(spans) == 1
    assert refused.id == ""
    assert refused.reason.startswith("line 2: ")


def test_one_bad_line_costs_none_of_the_others() -> None:
    lines = [{**GOOD, "id": "a"}, {**GOOD, "id": "b", "end_ms": 0}, {**GOOD, "id": "c"}]
    spans, refused = read_spans(lines, NOW, BORN)
    assert ([its.id for its in spans], [line.id for line in refused]) == (["a", "c"], ["b"])


def test_the_same_id_again_is_the_same_span_and_the_first_stays() -> None:
    spans, refused = read_spans([GOOD, {**GOOD, "name": "other"}], NOW, BORN)
    assert [its.name for its in spans] == ["epoch"]
    assert refused == []


def test_a_span_is_cut_to_the_life_of_the_pod() -> None:
    [cut], refused = read_spans([{**GOOD, "start_ms": NOON - 90_000}], NOW, NOON - 50_000, NOON - 20_000)
    assert (cut.start_ms, cut.end_ms, refused) == (NOON - 50_000, NOON - 20_000, [])
    _, [late] = read_spans([GOOD], NOW, BORN, NOON - 70_000)
    assert "after the pod ended" in late.reason


def test_counts_are_read_by_the_same_rules() -> None:
    unit = {"id": "u1", "name": "inferences", "count": 1000, "start_ms": NOON - 60_000, "end_ms": NOON}
    units, refused = read_units([unit, {**unit, "id": "u2", "count": -1}], NOW, BORN)
    assert ([its.count for its in units], [line.id for line in refused]) == ([1000], ["u2"])


def test_a_count_is_cut_to_the_life_of_the_pod() -> None:
    unit = {"id": "u1", "name": "inferences", "count": 1000, "start_ms": NOON - 30 * MAX_COUNT_MS, "end_ms": NOON}
    [cut], refused = read_units([unit], NOW, NOON - 50_000, NOON - 20_000)
    assert (cut.start_ms, cut.end_ms, cut.count, refused) == (NOON - 50_000, NOON - 20_000, 1000, [])


def test_a_count_over_more_than_a_day_of_the_pods_life_is_refused() -> None:
    unit = {"id": "u1", "name": "inferences", "count": 1000, "start_ms": NOON - MAX_COUNT_MS, "end_ms": NOON}
    units, refused = read_units([unit, {**unit, "id": "u2", "start_ms": NOON - MAX_COUNT_MS - 1}], NOW, BORN)
    assert ([its.id for its in units], [line.id for line in refused]) == (["u1"], ["u2"])
    assert "more than 24 hours; count more often" in refused[0].reason


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (PostedSpans, {"spans": [{}] * (MAX_SPANS + 1)}),
        (PostedSpans, {"other": 1}),
        (PostedSpans, {"run": "", "spans": []}),
        (PostedSpans, {"run": "r" * 251, "spans": []}),
        (ImportedSpans, {"namespace": "n" * 64, "pod_uid": "u", "spans": []}),
        (PostedProgress, {"done": 1, "total": 0, "at_ms": NOON}),
    ],
)
def test_a_body_of_another_shape_is_refused_as_a_whole(body: type[PostedSpans], content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        body.model_validate(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "cpu_us"]), inner, max_size=6),
    max_leaves=12,
)


@given(st.lists(json_values | st.fixed_dictionaries(dict.fromkeys(GOOD, json_values)), max_size=5))
def test_any_json_is_read_or_refused_and_never_raises(lines: list[object]) -> None:
    spans, refused = read_spans(lines, NOW, BORN)
    assert len(spans) + len(refused) <= len(lines)
    assert all(line.reason and line.reason.isprintable() and len(line.reason) < 300 for line in refused)
    assert all(BORN <= its.start_ms <= its.end_ms <= NOW + 60_000 for its in spans)
