"""Targets by `/api/v1/targets`: for a page in the cluster, which forwards its reader's rights."""

from __future__ import annotations

from carbonbudget_operator.web.api_object_pages import all_objects, object_path, object_with_history
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.target_reader import FoundTargets
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_from_answer import shown_target_detail, shown_target_rows


class ApiTargetReader:
    """A TargetReader."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def all(self, caller: PageCaller) -> FoundTargets:
        """The list's pages, up to a bound; what is beyond it is a note."""
        return FoundTargets(*await all_objects(self._gateway, caller, "targets", shown_target_rows))

    async def one(self, caller: PageCaller, namespace: str, name: str) -> PageTarget:
        """The target with its history."""
        path = object_path("targets", namespace, name)
        return shown_target_detail(*await object_with_history(self._gateway, caller, path))
