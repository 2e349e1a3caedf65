"""The CRDs as whoever runs `kubectl explain` reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from carbonbudget_operator.api.crd import Schema, crds


def fields(part: str) -> Iterator[tuple[str, str, Schema, bool]]:
    """Kind, path, schema and whether it is required, of every field of spec or status."""

    def inner(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
        for name, field in schema.get("properties", {}).items():
            yield f"{path}.{name}", field, name in schema.get("required", ())
            yield from inner(field.get("items", field), f"{path}.{name}")

    for crd in crds():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
        for path, field, required in inner(schema, part):
            yield crd["spec"]["names"]["kind"], path, field, required


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_explained_in_a_sentence(part: str) -> None:
    assert [path for _, path, field, _ in fields(part) if not field.get("description", "").endswith(".")] == []


def test_whatever_may_be_left_out_of_a_spec_says_what_that_means() -> None:
    def told(field: Schema) -> bool:
        return "Left out: " in field["description"] or "Default: " in field["description"]

    assert [path for _, path, field, required in fields("spec") if not required and not told(field)] == []


def test_a_default_that_the_api_server_fills_in_is_the_one_that_is_explained() -> None:
    for _, path, field, _ in fields("spec"):
        default = field.get("default")
        if isinstance(default, str):
            assert f"Default: {default}." in field["description"], path


@pytest.mark.parametrize("part", ["spec", "status"])
def test_nothing_is_called_empty_that_is_left_out(part: str) -> None:
    assert [path for _, path, field, _ in fields(part) if "Empty:" in field["description"]] == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_an_explanation_stands_alone(part: str) -> None:
    """`kubectl explain` shows one field: a text that leans on the one before it explains nothing there."""
    leaning = ("The same", "Its ", "It ", "All this", "Of ", "That ", "Then ")
    found = [path for _, path, field, _ in fields(part) if field["description"].startswith(leaning)]
    assert found == []
    elsewhere = ("another field", " says it.", " say it.")
    assert [
        path for _, path, field, _ in fields(part) if any(words in field["description"] for words in elsewhere)
    ] == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_what_holds_for_all_namespaces_is_not_explained_by_one(part: str) -> None:
    said = {path: field["description"] for kind, path, field, _ in fields(part) if kind.startswith("Cluster")}
    assert [path for path, text in said.items() if "of the namespace." in text or "its namespace." in text] == []


def test_the_conditions_of_each_kind_are_its_own() -> None:
    said = {kind: field["description"] for kind, path, field, _ in fields("status") if path == "status.conditions"}
    assert {kind for kind, text in said.items() if "WithinBudget" in text} == {"CarbonBudget", "ClusterCarbonBudget"}
    assert {kind for kind, text in said.items() if "OnTrack" in text} == {"CarbonTarget", "ClusterCarbonTarget"}


@pytest.mark.parametrize("kind", ["CarbonBudget", "ClusterCarbonBudget", "CarbonTarget", "ClusterCarbonTarget"])
def test_a_condition_is_one_of_kubernetes(kind: str) -> None:
    """metav1.Condition: https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/apis/meta/v1/types.go"""
    listed = next(field for its, path, field, _ in fields("status") if (its, path) == (kind, "status.conditions"))
    assert (listed["x-kubernetes-list-type"], listed["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    item = listed["items"]
    assert set(item["required"]) == {"type", "status", "reason", "message", "lastTransitionTime"}
    bounds = {
        name: {key: part[key] for key in part if key != "description"} for name, part in item["properties"].items()
    }
    assert bounds["status"] == {"type": "string", "enum": ["True", "False", "Unknown"]}
    assert bounds["message"] == {"type": "string", "maxLength": 32768}
    assert (bounds["reason"]["minLength"], bounds["reason"]["maxLength"], bounds["type"]["maxLength"]) == (1, 1024, 316)
    assert bounds["lastTransitionTime"] == {"type": "string", "format": "date-time"}


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_list_says_how_managers_share_it(part: str) -> None:
    """A map's keys are required or have a default; else the API server refuses the CRD."""
    for _, path, field, _ in fields(part):
        if field["type"] != "array":
            continue
        kind, item = field["x-kubernetes-list-type"], field["items"]
        assert kind in ("atomic", "set", "map"), path
        for key in field.get("x-kubernetes-list-map-keys", ()):
            assert key in item["required"] or "default" in item["properties"][key], (path, key)
        if kind == "set":
            assert item["type"] == "string", path


@pytest.mark.parametrize("part", ["spec", "status"])
def test_the_api_server_fills_in_nothing_empty(part: str) -> None:
    assert [path for _, path, field, _ in fields(part) if field.get("default") in ("", [], {})] == []


def test_limits_of_numbers_and_lists_are_told() -> None:
    for _, path, field, _ in fields("spec"):
        bounds = [field[key] for key in ("maximum", "maxItems") if key in field]
        assert [bound for bound in bounds if str(bound) not in field["description"]] == [], path
