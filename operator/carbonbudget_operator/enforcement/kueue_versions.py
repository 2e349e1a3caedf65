"""Finds the version of Kueue's API to use: the newest that the cluster serves, whichever one the setting names.

With Kueue 0.17, which stores v1beta2, the API server refuses a write by v1beta1 to an admitted Workload without a
priority class: a rule of Kueue's own CRD reads a field that the converted object lacks.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.kueue import GROUP
from carbonbudget_operator.kube.client import KubeClient, KubeError

NEWEST_FIRST: Final = ("v1", "v1beta2", "v1beta1")
"""What is used of a Workload is the same in v1beta1 and v1beta2; v1 does not exist yet."""


async def served_version(client: KubeClient) -> str:
    """The newest version that the cluster serves; empty where there is no Kueue. Raises KubeError."""
    for version in NEWEST_FIRST:
        try:
            await client.request("GET", ApiPath(GROUP, version))
        except KubeError as error:
            if error.status != 404:
                raise
        else:
            return version
    return ""
