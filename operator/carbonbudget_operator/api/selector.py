"""The Kubernetes label selector as a model. Which labels it selects: `budgets.coverage.selects`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

# Kubernetes' own bounds: a prefix of 253, a slash, a name of 63.
MAX_LABEL_KEY: Final = 317
_LABEL_KEY: Final = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"


class LabelSelectorRequirement(BaseModel):
    """One expression: the label `key` is in `values`, not in them, exists, or does not."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(
        min_length=1,
        max_length=MAX_LABEL_KEY,
        description="The label's key, for example team or example.com/team.",
        # For the API server alone: an object of before the rule is still read.
        json_schema_extra={"pattern": _LABEL_KEY},
    )
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="In and NotIn compare the label's value with values, and NotIn holds without the label too; Exists "
        "and DoesNotExist ask whether it is there."
    )
    values: list[str] = Field(
        default=[],
        max_length=64,
        description="The label's values for In and NotIn, 1 to 64. Left out: with Exists and DoesNotExist.",
    )


class LabelSelector(BaseModel):
    """Which objects: every entry of both lists must hold; an empty selector is every object."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    match_labels: dict[str, str] = Field(
        default={},
        alias="matchLabels",
        description="Labels that must all be there, with just these values. Left out: any labels.",
    )
    match_expressions: list[LabelSelectorRequirement] = Field(
        default=[],
        alias="matchExpressions",
        max_length=32,
        description="Expressions that must all hold, at most 32. Left out: none.",
    )
