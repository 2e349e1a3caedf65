"""The CarbonTarget and ClusterCarbonTarget resources, v1alpha1."""

from __future__ import annotations

from pydantic import Field

from carbonbudget_operator.api.base_model import Model
from carbonbudget_operator.api.carbonbudget import ObjectMeta
from carbonbudget_operator.api.target_spec import CarbonTargetSpec, ClusterCarbonTargetSpec
from carbonbudget_operator.api.target_status import CarbonTargetStatus


class CarbonTarget(Model):
    """Emissions per unit of work of a namespace's pods, and the path on which they are to fall."""

    metadata: ObjectMeta
    spec: CarbonTargetSpec = Field(description="Which emissions per which unit, and the path down.")
    status: CarbonTargetStatus = Field(
        default=CarbonTargetStatus(), description="The state of the target; written by the controller."
    )


class ClusterCarbonTarget(Model):
    """Emissions per unit of work of pods in several namespaces, and the path on which they are to fall."""

    metadata: ObjectMeta
    spec: ClusterCarbonTargetSpec = Field(description="Which emissions per which unit, and the path down.")
    status: CarbonTargetStatus = Field(
        default=CarbonTargetStatus(), description="The state of the target; written by the controller."
    )


AnyTarget = CarbonTarget | ClusterCarbonTarget
