"""Finds the version of Kueue's API to use: the newest that the cluster serves, whichever one the setting names.

With Kueue 0.17, which stores v1beta2, the API server refuses a write by v1beta1 to an admitted Workload without a
priority class: a rule of Kueue's own CRD reads a field that the converted object lacks.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from carbonbudget_core.jsons import objects
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.kueue import GROUP
from carbonbudget_operator.kube.client import ImpossibleName, KubeClient, KubeError

NEWEST_FIRST: Final = ("v1", "v1beta2", "v1beta1")
"""What is used of a Workload is the same in v1beta1 and v1beta2; v1 does not exist yet."""


async def served_version(client: KubeClient) -> str:
    """Returns the newest version in which the cluster serves `workloads`; empty if there is none. Raises KubeError."""
    for version in NEWEST_FIRST:
        if await serves_workloads(client, version):
            return version
    return ""


async def served_versions(client: KubeClient) -> list[str]:
    """Returns each usable version in which the cluster serves `workloads`, newest first. Raises KubeError."""
    return [version for version in NEWEST_FIRST if await serves_workloads(client, version)]


async def serves_workloads(client: KubeClient, version: str) -> bool:
    """Whether the cluster serves `workloads` in this version. Raises KubeError, but no 404."""
    try:
        found = await client.request("GET", ApiPath(GROUP, version))
    except KubeError as error:
        if error.status != HTTPStatus.NOT_FOUND or isinstance(error, ImpossibleName):
            raise
        return False
    # Another kind of the group can have a newer version than Workload has.
    return any(resource.get("name") == "workloads" for resource in objects(found.get("resources")))
