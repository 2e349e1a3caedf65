"""The budgets of the cluster, as /api/v1/budgets lists them."""

from __future__ import annotations

from carbonbudget_operator.api.wire_names import RESOURCES
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.server.public.budget_rows import budget_row
from carbonbudget_operator.server.public.listed_objects import ListedObjects


class ListedBudgets(ListedObjects):
    """Lists budgets of both kinds."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(client, RESOURCES, budget_row)
