"""Targets by `/api/v1/targets`: for a page in the cluster, which forwards its reader's rights."""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.page_questions import NotShown, Questions
from carbonbudget_operator.web.target_reader import FoundTargets
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_from_answer import shown_target_detail, shown_target_rows

_TARGETS: Final = "/api/v1/targets"
_MOST_PAGES: Final = 5


class ApiTargetReader:
    """A TargetReader."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def all(self, caller: PageCaller) -> FoundTargets:
        """The list's pages, up to a bound; what is beyond it is a note."""
        found: list[PageTarget] = []
        query: list[tuple[str, str]] = []
        for _ in range(_MOST_PAGES):
            (answer,) = await Questions(self._gateway, caller).ask((_TARGETS, query))
            if isinstance(answer, NotShown):
                raise answer
            found += shown_target_rows(answer)
            following = answer.get("next")
            if not isinstance(following, str) or not following:
                return FoundTargets(found)
            query = [("cursor", following)]
        return FoundTargets(
            found, [f"There are more targets than the {len(found)} that are shown: select a namespace."]
        )

    async def one(self, caller: PageCaller, namespace: str, name: str) -> PageTarget:
        """The target with its history."""
        path = target_path(namespace, name)
        answer, history = await Questions(self._gateway, caller).ask((path, ()), (f"{path}/history", ()))
        if isinstance(answer, NotShown):
            raise answer
        return shown_target_detail(answer, {} if isinstance(history, NotShown) else history)


def target_path(namespace: str, name: str) -> str:
    """The target's resource; an empty namespace for a ClusterCarbonTarget. Raises NotShown for impossible names."""
    if (namespace and not is_label(namespace)) or not is_subdomain(name):
        raise NotShown(404, "There is no such target: Kubernetes has no such names.")
    return f"{_TARGETS}/{namespace}/{name}" if namespace else f"/api/v1/clustertargets/{name}"
