"""The CarbonBudget and ClusterCarbonBudget resources, v1alpha1. CRDs and reference pages are generated from them."""

from __future__ import annotations

import datetime as dt

from pydantic import Field

from carbonbudget_operator.api.base_model import Model
from carbonbudget_operator.api.budget_spec import CarbonBudgetSpec, ClusterCarbonBudgetSpec
from carbonbudget_operator.api.budget_status import CarbonBudgetStatus


class ObjectMeta(Model):
    """What is needed of an object's metadata."""

    name: str
    namespace: str = ""  # empty for a ClusterCarbonBudget
    uid: str = ""
    generation: int = 1
    creation_timestamp: dt.datetime | None = None
    labels: dict[str, str] = Field(default={})


class CarbonBudget(Model):
    """A limit on the CO2e that pods of a namespace may emit in a period."""

    metadata: ObjectMeta
    spec: CarbonBudgetSpec = Field(description="What is allowed, over what time, for which pods.")
    status: CarbonBudgetStatus = Field(
        default=CarbonBudgetStatus(), description="The state of the budget; written by the controller."
    )


class ClusterCarbonBudget(Model):
    """A limit on the CO2e that pods of several namespaces may emit together, beside the namespaces' own budgets."""

    metadata: ObjectMeta
    spec: ClusterCarbonBudgetSpec = Field(description="What is allowed, over what time, for which namespaces and pods.")
    status: CarbonBudgetStatus = Field(
        default=CarbonBudgetStatus(), description="The state of the budget; written by the controller."
    )


AnyBudget = CarbonBudget | ClusterCarbonBudget


def budget_kind(budget: AnyBudget) -> str:
    """The kind of its resource: CarbonBudget or ClusterCarbonBudget."""
    return type(budget).__name__
