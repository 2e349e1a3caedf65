"""CustomResourceDefinitions, generated from the models.

pydantic's JSON schema becomes a structural schema: references resolved, titles and nulls dropped, times as `date-time`,
lists with their list type. The API server fills defaults in, so those with a meaning are kept, and empty ones are not:
a tool that compares an object with its manifest would find `contact: ""` in the object alone.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from carbonbudget_operator.api import wire_names
from carbonbudget_operator.api.budget_spec import CLUSTER_SPEC_RULES, SPEC_RULES
from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.carbontarget import CarbonTarget, ClusterCarbonTarget
from carbonbudget_operator.api.carbontransfer import TRANSFER_SPEC_RULES, CarbonTransfer
from carbonbudget_operator.api.target_spec import CLUSTER_TARGET_SPEC_RULES, TARGET_SPEC_RULES

Schema = dict[str, Any]  # JSON of any shape: it is the API server's own format
_KEPT: Final = (
    "type", "format", "description", "enum", "default", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "maxProperties", "required", "x-kubernetes-validations",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
)  # fmt: skip
Columns = tuple[tuple[str, str, str], ...]  # name, type, JSON path
_BUDGET_COLUMNS: Final[Columns] = (
    ("Limit", "string", ".spec.limit"),
    ("Used", "string", ".status.used"),
    ("Percent", "integer", ".status.percentUsed"),
    ("State", "string", ".status.state"),
    ("Action", "string", ".status.action"),
    ("Ends", "string", ".status.period.end"),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_READY_COLUMN: Final = ("Ready", "string", ".status.conditions[?(@.type=='Ready')].reason")
_WIDE_BUDGET_COLUMNS: Final[Columns] = (  # with -o wide
    ("Effective", "string", ".status.effectiveLimit"),
    ("Forecast", "string", ".status.forecast"),
    ("Per", "string", ".spec.per"),
    ("Accounting", "string", ".spec.accounting"),
    _READY_COLUMN,
    ("As of", "string", ".status.dataThrough"),
)
_TARGET_COLUMNS: Final[Columns] = (
    ("Unit", "string", ".spec.unit.name"),
    ("Per", "integer", ".spec.unit.per"),
    ("Current", "string", ".status.current.perUnit"),
    ("Expected", "string", ".status.expectedNow.perUnit"),
    ("Baseline", "string", ".status.baseline.perUnit"),
    ("State", "string", ".status.state"),
    ("By", "string", ".spec.target.by"),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_WIDE_TARGET_COLUMNS: Final[Columns] = (
    ("Change", "string", ".status.change"),
    _READY_COLUMN,
    ("As of", "string", ".status.dataThrough"),
)
_TRANSFER_COLUMNS: Final[Columns] = (
    ("From", "string", ".spec.source"),
    ("To Namespace", "string", ".spec.to.namespace"),
    ("To", "string", ".spec.to.name"),
    ("Amount", "string", ".spec.amount"),
    ("State", "string", ".status.state"),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_WIDE_TRANSFER_COLUMNS: Final[Columns] = (
    ("Reason", "string", ".spec.reason"),
    ("Message", "string", ".status.message"),
)
_CATEGORY: Final = "carbon"  # `kubectl get carbon` lists all kinds
# Maps of labels need a bound too, or the API server must expect that CEL walks millions of entries.
_MAX_LABELS: Final = 64
_MAX_LABEL_VALUE: Final = 63


def crds() -> list[Schema]:
    """Our CRDs as objects ready for YAML."""
    budgets = _BUDGET_COLUMNS, _WIDE_BUDGET_COLUMNS
    targets = _TARGET_COLUMNS, _WIDE_TARGET_COLUMNS
    return [
        _crd(wire_names.BUDGET, CarbonBudget, SPEC_RULES, *budgets),
        _crd(wire_names.CLUSTER_BUDGET, ClusterCarbonBudget, CLUSTER_SPEC_RULES, *budgets),
        _crd(wire_names.TARGET, CarbonTarget, TARGET_SPEC_RULES, *targets),
        _crd(wire_names.CLUSTER_TARGET, ClusterCarbonTarget, CLUSTER_TARGET_SPEC_RULES, *targets),
        _crd(wire_names.TRANSFER, CarbonTransfer, TRANSFER_SPEC_RULES, _TRANSFER_COLUMNS, _WIDE_TRANSFER_COLUMNS),
    ]


def _crd(
    resource: wire_names.Resource, model: type[BaseModel], rules: Schema, columns: Columns, wide: Columns
) -> Schema:
    fields = model.model_fields
    spec, status = (structural_schema(_model_of(fields[name].annotation)) for name in ("spec", "status"))
    spec |= rules
    schema = {
        "type": "object",
        "description": (model.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec | {"description": fields["spec"].description},
            "status": status | {"description": fields["status"].description},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{wire_names.GROUP}",
            # A CRD that goes takes every budget with it: an uninstall leaves it.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": wire_names.GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [_CATEGORY],
            },
            "versions": [
                {
                    "name": wire_names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in columns
                    ]
                    + [{"name": name, "type": kind, "jsonPath": path, "priority": 1} for name, kind, path in wide],
                }
            ],
        },
    }


def _model_of(annotation: object) -> type[BaseModel]:
    assert isinstance(annotation, type)
    assert issubclass(annotation, BaseModel)
    return annotation


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
        converted["additionalProperties"] = value | {"maxLength": value.get("maxLength", _MAX_LABEL_VALUE)}
        converted.setdefault("maxProperties", _MAX_LABELS)
    if "items" in schema:
        items = _convert(schema["items"], definitions)
        if items.get("type") == "string" and "enum" not in items:
            items.setdefault("maxLength", _MAX_LABEL_VALUE)
        converted["items"] = items
        converted.setdefault("x-kubernetes-list-type", "atomic")  # what the API server takes a list for that has none
    return converted


def _kept(schema: Schema) -> Schema:
    return {
        key: schema[key]
        for key in _KEPT
        if key in schema and not (key == "default" and schema[key] in (None, "", [], {}))
    }
