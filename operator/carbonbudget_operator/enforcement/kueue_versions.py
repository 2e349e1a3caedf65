"""Finds the version of Kueue's API to use: the one that the API server prefers, whichever one the setting names.

With Kueue 0.17, which stores v1beta2, the API server refuses a write by v1beta1 to an admitted Workload without a
priority class: a rule of Kueue's own CRD reads a field that the converted object lacks.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from carbonbudget_core.jsons import at, objects
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.kueue import GROUP
from carbonbudget_operator.kube.client import ImpossibleName, KubeClient, KubeError

NEWEST_FIRST: Final = ("v1", "v1beta2", "v1beta1")
"""The usable versions. What is used of a Workload is the same in v1beta1 and v1beta2; v1 does not exist yet."""


async def served_version(client: KubeClient) -> str:
    """Returns the first of `served_versions`; empty if there is none. Raises KubeError."""
    for version in await _listed_versions(client):
        if await serves_workloads(client, version):
            return version
    return ""


async def served_versions(client: KubeClient) -> list[str]:
    """Returns each usable version in which the cluster serves `workloads`. Raises KubeError.

    First the one that the API server prefers, then the others, newest first.
    """
    return [version for version in await _listed_versions(client) if await serves_workloads(client, version)]


async def _listed_versions(client: KubeClient) -> list[str]:
    """The usable versions of the group that the API server lists, the preferred one first. Raises KubeError.

    A release of Kueue can serve a version that it does not store or prefer yet, so the newest one is not always right.
    """
    try:
        group = await client.request("GET", ApiPath(GROUP, None))
    except KubeError as error:
        if error.status != HTTPStatus.NOT_FOUND or isinstance(error, ImpossibleName):
            raise
        return []
    listed = {version.get("version") for version in objects(group.get("versions"))}
    preferred = at(group, "preferredVersion").get("version")
    return sorted((version for version in NEWEST_FIRST if version in listed), key=lambda version: version != preferred)


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
