"""Body of GET /v1/projection: what the webhook needs to say what a new workload will emit.

The webhook fetches it each minute and asks nobody while a request waits.
"""

from __future__ import annotations

from pydantic import BaseModel, Field


class CapacityRate(BaseModel):
    """What reserved capacity emits on one kind of node, PUE, idle and overhead included."""

    instance_type: str = Field(description="Of the nodes' label; empty: over all nodes of the cluster")
    core_hour_location_ug: int = Field(ge=0, description="CO2e of one requested core in an hour, location-based")
    core_hour_market_ug: int = Field(ge=0)
    core_hour_embodied_ug: int = Field(ge=0)
    gpu_hour_location_ug: int = Field(ge=0, description="CO2e of one requested GPU in an hour; 0 without GPUs")
    gpu_hour_market_ug: int = Field(ge=0)
    gpu_hour_embodied_ug: int = Field(ge=0)
    modelled: bool = Field(description="Whether no node has reported yet, so that bundled figures stand in")


class FormerRuns(BaseModel):
    """What a workload's pods emitted lately; `workload` is KIND/NAME, a Job's CronJob where it has one."""

    namespace: str
    workload: str
    pods: int = Field(gt=0, description="How many pods it is the mean of")
    pod_location_ug: int = Field(ge=0, description="CO2e of a pod's whole life, mean")
    pod_market_ug: int = Field(ge=0)
    pod_embodied_ug: int = Field(ge=0)
    pod_seconds: int = Field(ge=0, description="How long a pod ran, mean")


class ProjectionAnswer(BaseModel):
    """The table. `as_of` is the UTC second it was made at."""

    as_of: int
    rates: list[CapacityRate]
    runs: list[FormerRuns] = Field(max_length=50_000)
