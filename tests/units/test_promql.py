"""Queries: what a tenant writes stays inside its quotes, and the namespace is always one of ours."""

from __future__ import annotations

import re
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.api.target_spec import ClusterUnitSource, PresetName, UnitCounter
from carbonbudget_operator.units.counter_expression import CounterExpression, InvalidCounter, expression_of
from carbonbudget_operator.units.presets import PRESETS
from carbonbudget_operator.units.promql import counter_query, quoted, scraped_query

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
_MEANS = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}\Z", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text('"\\{}[],=\n\x00#', max_size=20)


def read_back(query: str) -> tuple[str, list[tuple[str, str]], str]:
    """A reader of `name{label="value",...}[range]` by Prometheus' own rules of strings. Anything else is an error."""
    begin = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", query)
    assert begin is not None, query
    at, found = begin.end(), []
    while True:
        label = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="').match(query, at)
        assert label is not None, query[at:]
        at = label.end()
        value = ""
        while query[at] != '"':
            assert query[at] not in "\n", "a line break ends a string early"
            if query[at] == "\\":
                escape = _ESCAPE.match(query, at)
                assert escape is not None
                value += chr(int(escape[1], 16)) if escape[1] else _MEANS[escape[2]]
                at = escape.end()
            else:
                value += query[at]
                at += 1
        found.append((label[1], value))
        at += 1
        if query[at] == "}":
            return begin[1], found, query[at + 1 :]
        assert query[at] == ","
        at += 1


def counter(metric: str, labels: dict[str, str]) -> CounterExpression:
    return expression_of(ClusterUnitSource(counter=UnitCounter(metric=metric, match_labels=labels)))


@given(names, st.dictionaries(names, texts, max_size=5), texts.filter(bool))
def test_no_value_leaves_its_quotes(metric: str, labels: dict[str, str], namespace: str) -> None:
    reserved = [name for name in labels if name in ("namespace", "pod") or name.startswith(("__", "exported_"))]
    if reserved:
        with pytest.raises(InvalidCounter):
            counter(metric, labels)
        return
    query = counter_query(counter(metric, labels), namespace, 3600, "namespace", "pod")
    assert read_back(query) == (metric, [("namespace", namespace), *sorted(labels.items())], "[7200s]")


@given(st.text(max_size=30))
def test_a_name_of_another_form_is_refused(metric: str) -> None:
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", metric):
        assert counter(metric, {}).metric == metric
        return
    with pytest.raises(InvalidCounter, match="no name of a metric"):
        expression_of(ClusterUnitSource.model_construct(counter=UnitCounter.model_construct(metric=metric)))


@pytest.mark.parametrize(
    "label",
    ["namespace", "pod", "exported_namespace", "exported_pod", "__name__", "__address__", "kube_ns", "kube_pod"],
)
def test_labels_that_say_whose_series_are_read_are_refused(label: str) -> None:
    source = ClusterUnitSource(counter=UnitCounter(metric="requests_total", match_labels={label: "x"}))
    with pytest.raises(InvalidCounter, match=f"cannot have {label}"):
        expression_of(source, ("kube_ns", "kube_pod"))
    made = CounterExpression("requests_total", ((label, "x"),))
    with pytest.raises(InvalidCounter, match=f"cannot have {label}"):
        counter_query(made, "team-a", 3600, "kube_ns", "kube_pod")


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        ("m\n", {}), ("m" * 129, {}), ("m", {"a\n": "x"}), ("m", {"a-b": "x"}), ("m", {"": "x"}),
        ("m", {"a": "x" * 1025}), ("m", {"a": "\ud800"}), ("m", {f"l{n}": "x" for n in range(17)}),
    ],
)  # fmt: skip
def test_what_cannot_be_a_counter_is_refused_with_a_sentence(metric: str, labels: dict[str, str]) -> None:
    source = ClusterUnitSource.model_construct(counter=UnitCounter.model_construct(metric=metric, match_labels=labels))
    with pytest.raises(InvalidCounter) as refused:
        expression_of(source)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_counter_without_a_namespace_and_a_query_with_one_are_refused() -> None:
    with pytest.raises(InvalidCounter, match="all tenants"):
        counter_query(CounterExpression("m"), "", 3600, "namespace", "pod")
    with pytest.raises(InvalidCounter, match="ClusterCarbonTargets alone"):
        counter_query(CounterExpression(query="up"), "team-a", 3600, "namespace", "pod")
    assert counter_query(CounterExpression(query="sum(up)"), "", 3600, "namespace", "pod") == "sum(up)"


def test_a_source_without_a_counter_and_an_unknown_preset_are_refused() -> None:
    with pytest.raises(InvalidCounter, match="no counter is given"):
        expression_of(ClusterUnitSource(client="token"))
    with pytest.raises(InvalidCounter, match="no preset"):
        expression_of(ClusterUnitSource.model_construct(preset=cast(PresetName, "nothing")))


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_each_preset_of_the_api_has_a_counter_that_can_be_asked_for(preset: PresetName) -> None:
    made = expression_of(ClusterUnitSource(preset=preset))
    metric, matchers, _ = read_back(counter_query(made, "team-a", 3600, "namespace", "pod"))
    assert (metric, dict(matchers)) == (PRESETS[preset].metric, {"namespace": "team-a", **dict(PRESETS[preset].labels)})


def test_there_is_no_preset_that_the_api_does_not_have() -> None:
    assert set(PRESETS) == set(get_args(PresetName))


@given(names, st.dictionaries(names, texts, max_size=5))
def test_an_expression_is_read_back_as_it_was_written(metric: str, labels: dict[str, str]) -> None:
    made = CounterExpression(metric, tuple(sorted(labels.items())))
    assert CounterExpression.from_json(made.to_json()) == made
    other = CounterExpression(query=metric)
    assert CounterExpression.from_json(other.to_json()) == other
    assert made.digest != other.digest


def test_the_order_of_labels_makes_no_other_counter() -> None:
    assert counter("m", {"a": "1", "b": "2"}).digest == counter("m", {"b": "2", "a": "1"}).digest


def test_strings_are_escaped_as_go_reads_them() -> None:
    assert quoted('a"b\\c\nd\x00é') == '"a\\"b\\\\c\\nd\\x00é"'
    assert scraped_query("count(up)") == "count_over_time((count(up))[3600s:60s])"
