"""The Kubernetes label selector: model, CEL rules and text. Which labels it selects: `budgets.coverage.selects`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.base_model import rules
from carbonbudget_operator.api.field_rules import Rule

# Kubernetes' own bounds: a prefix of 253, a slash, a name of 63.
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
MAX_LABEL_KEY: Final = 317
_MAX_PREFIX: Final = 253
_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN_PART: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"  # Kubernetes bounds the whole domain, not its parts
_KEY: Final = f"^({_DOMAIN_PART}([.]{_DOMAIN_PART})*/)?{_NAME}$"
_VALUE: Final = f"^({_NAME})?$"


def _is_key(key: str) -> str:
    """A CEL expression: whether a label can have this key."""
    return f"size({key}) <= {MAX_LABEL_KEY} && {key}.indexOf('/') <= {_MAX_PREFIX} && {key}.matches('{_KEY}')"


# The rules are on the fields that they are about: an edit of another field of a stored budget that breaks them is let
# in (Kubernetes compares each field with the stored one).
_KEY_MESSAGE: Final = (
    "no label can have this key: write a name of at most 63 letters, digits, '-', '_' and '.', for example team, with "
    "or without a domain before it, for example example.com/team"
)
_VALUE_MESSAGE: Final = (
    "no label can have this value: write at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both "
    "ends, or nothing"
)


class LabelSelectorRequirement(BaseModel):
    """One expression: the label `key` is in `values`, not in them, exists, or does not."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(
        min_length=1,
        max_length=MAX_LABEL_KEY,
        description="The label's key, for example team or example.com/team.",
        json_schema_extra=rules((_is_key("self"), _KEY_MESSAGE)),
    )
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="In and NotIn compare the label's value with values, and NotIn holds without the label too; Exists "
        "and DoesNotExist ask whether it is there."
    )
    values: list[str] = Field(
        default=[],
        max_length=64,
        description="The label's values for In and NotIn, 1 to 64. Left out: with Exists and DoesNotExist.",
        json_schema_extra=rules((f"self.all(v, v.matches('{_VALUE}'))", _VALUE_MESSAGE)),
    )


class LabelSelector(BaseModel):
    """Which objects: every entry of both lists must hold; an empty selector is every object."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    match_labels: dict[str, str] = Field(
        default={},
        alias="matchLabels",
        description="Labels that must all be there, with just these values. Left out: any labels.",
        json_schema_extra=rules(
            (f"self.all(k, {_is_key('k')})", _KEY_MESSAGE),
            (f"self.all(k, self[k].matches('{_VALUE}'))", _VALUE_MESSAGE),
        ),
    )
    match_expressions: list[LabelSelectorRequirement] = Field(
        default=[],
        alias="matchExpressions",
        max_length=32,
        description="Expressions that must all hold, at most 32. Left out: none.",
    )


def selector_text(selector: LabelSelector | None) -> str:
    """As `kubectl` writes selectors; empty for one that selects everything."""
    if selector is None:
        return ""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for one in selector.match_expressions:
        values = f" ({', '.join(one.values)})"
        words = {"In": f"{one.key} in{values}", "NotIn": f"{one.key} notin{values}", "Exists": one.key}
        parts.append(words.get(one.operator, f"!{one.key}"))
    return ",".join(parts)


def selector_rules(name: str) -> tuple[Rule, ...]:
    """Rules of a spec for its label selector in field `name`."""
    return (
        (
            f"!has(self.{name}) || !has(self.{name}.matchExpressions) || "
            f"self.{name}.matchExpressions.all(e, "
            "(e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
            f"{name}.matchExpressions: In and NotIn need values, Exists and DoesNotExist take none",
        ),
    )
