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
        if isinstance(default, str) and default:
            assert f"Default: {default}." in field["description"], path


@pytest.mark.parametrize("part", ["spec", "status"])
def test_nothing_is_called_empty_that_is_left_out(part: str) -> None:
    assert [path for _, path, field, _ in fields(part) if "Empty:" in field["description"]] == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_what_a_cluster_wide_budget_says_of_namespaces_is_not_what_a_namespaces_own_says(part: str) -> None:
    said = {path: field["description"] for kind, path, field, _ in fields(part) if kind == "ClusterCarbonBudget"}
    assert [path for path, text in said.items() if "of the namespace." in text or "its namespace." in text] == []


def test_limits_of_numbers_and_lists_are_told() -> None:
    for _, path, field, _ in fields("spec"):
        bounds = [field[key] for key in ("maximum", "maxItems") if key in field]
        assert [bound for bound in bounds if str(bound) not in field["description"]] == [], path
