"""Targets of `kubectl carbon ui`: the objects themselves, by the user's kubeconfig.

They need the role view alone, and are there while the operator is down.
"""

from __future__ import annotations

from pydantic import ValidationError

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.api.carbontarget import AnyTarget, CarbonTarget, ClusterCarbonTarget
from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET, Resource
from carbonbudget_operator.cli.kubeconfig_object_lists import ObjectLists, not_understood
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.page_target_from_object import shown_target_object
from carbonbudget_operator.web.target_reader import FoundTargets
from carbonbudget_operator.web.views.page_target import PageTarget


class KubeconfigTargetReader:
    """A TargetReader."""

    def __init__(self, lists: ObjectLists) -> None:
        self._lists = lists

    async def all(self, caller: PageCaller) -> FoundTargets:
        """The targets of all namespaces, else of one; and the cluster's, which may be hidden from a team."""
        read: tuple[list[AnyTarget], list[str]] = await self._lists.both(TARGET, CLUSTER_TARGET, _parsed, optional=True)
        found, notes = read
        return FoundTargets([shown_target_object(one) for one in found], notes)

    async def one(self, caller: PageCaller, namespace: str, name: str) -> PageTarget:
        """With its history, from its own status."""
        resource = TARGET if namespace else CLUSTER_TARGET
        async with self._lists.reading(resource, namespace, name) as client:
            item = await client.request("GET", resource.path(namespace, name))
        if (target := _parsed(resource, item)) is None:
            raise not_understood(resource, name)
        return shown_target_object(target)


def _parsed(resource: Resource, item: JsonObject) -> AnyTarget | None:
    model: type[CarbonTarget] | type[ClusterCarbonTarget] = CarbonTarget if resource is TARGET else ClusterCarbonTarget
    try:
        return model.model_validate(item)
    except ValidationError:
        return None
