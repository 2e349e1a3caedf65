"""CustomResourceDefinitions, generated from the models.

pydantic's JSON schema becomes a structural schema: references resolved, titles and nulls dropped,
defaults kept (the API server fills them in), times as `date-time`.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from carbonbudget_operator.api import carbonbudget as api

Schema = dict[str, Any]  # JSON of any shape: it is the API server's own format
_KEPT: Final = (
    "type", "format", "description", "enum", "default", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "maxProperties", "required", "x-kubernetes-validations",
)  # fmt: skip
_COLUMNS: Final = (
    ("Limit", "string", ".spec.limit"),
    ("Used", "string", ".status.used"),
    ("Percent", "integer", ".status.percentUsed"),
    ("State", "string", ".status.state"),
    ("Action", "string", ".status.action"),
    ("Resets", "string", ".status.period.end"),
    ("Age", "date", ".metadata.creationTimestamp"),
)
# Maps of labels need a bound too, or the API server must expect that CEL walks millions of entries.
_MAX_LABELS: Final = 64
_MAX_LABEL_VALUE: Final = 63


def carbonbudget_crd() -> Schema:
    """The CarbonBudget CRD as an object ready for YAML."""
    spec = structural_schema(api.CarbonBudgetSpec) | api.SPEC_RULES
    status = structural_schema(api.CarbonBudgetStatus)
    description = api.CarbonBudget.model_fields
    schema = {
        "type": "object",
        "description": (api.CarbonBudget.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec | {"description": description["spec"].description},
            "status": status | {"description": description["status"].description},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{api.PLURAL}.{api.GROUP}",
            # A CRD that goes takes every budget with it: an uninstall leaves it.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": api.KIND,
                "listKind": f"{api.KIND}List",
                "plural": api.PLURAL,
                "singular": api.KIND.lower(),
                "shortNames": ["cb"],
            },
            "versions": [
                {
                    "name": api.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS
                    ],
                }
            ],
        },
    }


def structural_schema(model: type[BaseModel]) -> Schema:
    """A model's schema as the API server takes it."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: Schema, definitions: Schema) -> Schema:
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return _convert(target, definitions) | _kept(schema)
    if "anyOf" in schema:  # optional: the API server knows absent, not null
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        return _convert(options[0], definitions) | _kept(schema)
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]], "type": "string"}
    converted = _kept(schema)
    if schema.get("type") == "integer":
        converted["format"] = "int64"
    if "properties" in schema:
        converted["properties"] = {name: _convert(part, definitions) for name, part in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict):
        value = _convert(schema["additionalProperties"], definitions)
        converted["additionalProperties"] = value | {"maxLength": _MAX_LABEL_VALUE}
        converted["maxProperties"] = _MAX_LABELS
    if "items" in schema:
        items = _convert(schema["items"], definitions)
        if items.get("type") == "string" and "enum" not in items:
            items.setdefault("maxLength", _MAX_LABEL_VALUE)
        converted["items"] = items
    return converted


def _kept(schema: Schema) -> Schema:
    return {key: schema[key] for key in _KEPT if key in schema and not (key == "default" and schema[key] is None)}
