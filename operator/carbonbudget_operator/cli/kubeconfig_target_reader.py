"""Targets of `kubectl carbon ui`: the objects themselves, by the user's kubeconfig.

They need the role view alone, and are there while the operator is down. They are shown by way of the rows that the
server's API would have of them.
"""

from __future__ import annotations

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET, Resource
from carbonbudget_operator.cli.kubeconfig_object_lists import ObjectLists, not_understood
from carbonbudget_operator.server.public.target_api_rows import former_windows, parse_target, target_detail, target_row
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.target_reader import FoundTargets
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_from_answer import shown_target_detail, shown_target_row


class KubeconfigTargetReader:
    """A TargetReader."""

    def __init__(self, lists: ObjectLists) -> None:
        self._lists = lists

    async def all(self, caller: PageCaller) -> FoundTargets:
        """The targets of all namespaces, else of one; and the cluster's, which may be hidden from a team."""
        found, notes = await self._lists.both(TARGET, CLUSTER_TARGET, _listed, optional=True)
        return FoundTargets(found, notes)

    async def one(self, caller: PageCaller, namespace: str, name: str) -> PageTarget:
        """With its history, from its own status."""
        resource = TARGET if namespace else CLUSTER_TARGET
        async with self._lists.reading(resource, namespace, name) as client:
            item = await client.request("GET", resource.path(namespace, name))
        if parse_target(resource, item) is None:
            raise not_understood(resource, name)
        return shown_target_detail(target_detail(resource, item), {"rows": former_windows(resource, item)})


def _listed(resource: Resource, item: JsonObject) -> PageTarget | None:
    return None if parse_target(resource, item) is None else shown_target_row(target_row(resource, item))
