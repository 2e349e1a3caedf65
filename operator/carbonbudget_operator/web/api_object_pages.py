"""Lists of `/api/v1/budgets` and `/api/v1/targets`, and the resource of one object, for the page in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from carbonbudget_core.jsons import JsonObject
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.web.gateway import Gateway, PageCaller
from carbonbudget_operator.web.page_questions import NotShown, Query, Questions

_MOST_PAGES: Final = 5
_Shown = TypeVar("_Shown")


async def all_objects(
    gateway: Gateway, caller: PageCaller, plural: str, rows_of: Callable[[JsonObject], list[_Shown]]
) -> tuple[list[_Shown], list[str]]:
    """The list's pages, up to a bound; what is beyond it is a note. `plural`: budgets or targets. Raises NotShown."""
    found: list[_Shown] = []
    query: Query = ()
    for _ in range(_MOST_PAGES):
        (answer,) = await Questions(gateway, caller).ask((f"/api/v1/{plural}", query))
        if isinstance(answer, NotShown):
            raise answer
        found += rows_of(answer)
        following = answer.get("next")
        if not isinstance(following, str) or not following:
            return found, []
        query = [("cursor", following)]
    return found, [f"There are more {plural} than the {len(found)} that are shown: select a namespace."]


async def object_with_history(gateway: Gateway, caller: PageCaller, path: str) -> tuple[JsonObject, JsonObject]:
    """One object and its history, which is empty where that is not shown. Raises NotShown."""
    answer, history = await Questions(gateway, caller).ask((path, ()), (f"{path}/history", ()))
    if isinstance(answer, NotShown):
        raise answer
    return answer, {} if isinstance(history, NotShown) else history


def object_path(plural: str, namespace: str, name: str) -> str:
    """The object's resource; an empty namespace for one of the cluster. Raises NotShown for impossible names."""
    if (namespace and not is_label(namespace)) or not is_subdomain(name):
        raise NotShown(404, f"There is no such {plural.removesuffix('s')}: Kubernetes has no such names.")
    return f"/api/v1/{plural}/{namespace}/{name}" if namespace else f"/api/v1/cluster{plural}/{name}"
