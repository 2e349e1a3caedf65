"""The targets of the cluster, as /api/v1/targets lists them."""

from __future__ import annotations

from carbonbudget_operator.api.wire_names import TARGETS
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.server.public.listed_objects import ListedObjects
from carbonbudget_operator.server.public.target_rows import target_row


class ListedTargets(ListedObjects):
    """Lists targets of both kinds."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(client, TARGETS, target_row)
