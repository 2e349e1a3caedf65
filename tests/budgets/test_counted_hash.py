"""The counted hash: the same for the same meaning, another for another, and for ever as it is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.objects import NOW, a_body, a_cluster_body, namespaces, stored

from carbonbudget_operator.controller.prepared_budget import prepare_budget


def hash_of(cluster: bool = False, **spec: Any) -> str:
    body = a_cluster_body(**spec) if cluster else a_body(**spec)
    return prepare_budget(stored(body), NOW, namespaces()).budget_limit.counted_hash


def test_the_hash_is_the_same_in_every_version_and_process() -> None:
    """Statuses hold it. If this fails, each budget starts again from its newest reading at the upgrade."""
    selector = {"matchLabels": {"b": "1", "a": ""}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}
    assert hash_of() == "4813930a8405ed06"
    assert hash_of(cluster=True, selector=selector, namespaceSelector={}, per="Workload") == "de3215f87a9f0ca8"


@pytest.mark.parametrize(
    "spec",
    [
        {"limit": "1g"},
        {"contact": "#ml"},
        {"thresholds": [{"at": 10, "action": "Suspend"}]},
        {"enforce": {"kinds": ["Deployment"], "grace": "0s"}},
        {"onMissingData": "Unknown"},
        {"selector": {}},
        {"selector": {"matchLabels": {}, "matchExpressions": []}},
        {"per": "Selection", "accounting": "LocationBased", "timeZone": "UTC"},
        {"include": ["Overhead", "Idle", "Dynamic", "Idle"]},
    ],
)
def test_what_does_not_change_the_count_does_not_change_the_hash(spec: dict[str, Any]) -> None:
    assert hash_of(**spec) == hash_of()
    assert hash_of(True, **spec) == hash_of(True)


def test_what_changes_the_count_changes_the_hash() -> None:
    expression = {"key": "a", "operator": "In", "values": ["b", "c"]}
    different: list[dict[str, Any]] = [
        {},
        {"per": "Workload"},
        {"accounting": "MarketBased"},
        {"include": ["Dynamic"]},
        {"selector": {"matchLabels": {"a": "b"}}},
        {"selector": {"matchLabels": {"a": "c"}}},
        {"selector": {"matchLabels": {"a": "b", "c": ""}}},
        {"selector": {"matchExpressions": [expression]}},
        {"selector": {"matchExpressions": [expression | {"operator": "NotIn"}]}},
        {"selector": {"matchExpressions": [expression, {"key": "d", "operator": "Exists"}]}},
    ]
    wide = [{"namespaceSelector": {}}, {"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    hashes = [hash_of(**spec) for spec in different] + [hash_of(True, **spec) for spec in (*different, *wide)]
    assert len(set(hashes)) == len(hashes)


WORDS = st.text("ab", min_size=1, max_size=2)
EXPRESSIONS = st.lists(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        WORDS, st.sampled_from(["In", "NotIn"]), st.lists(WORDS, min_size=1, max_size=4),
    ),
    max_size=4,
)  # fmt: skip


@given(st.dictionaries(WORDS, WORDS, max_size=4), EXPRESSIONS, st.randoms())
def test_neither_the_order_nor_the_form_of_a_selector_matters(
    labels: dict[str, str], expressions: list[dict[str, Any]], shuffle: random.Random
) -> None:
    written = hash_of(selector={"matchLabels": labels, "matchExpressions": expressions})
    moved = [one | {"values": shuffle.sample(one["values"], len(one["values"]))} for one in expressions]
    moved += [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    shuffle.shuffle(moved)
    assert hash_of(selector={"matchExpressions": moved}) == written
