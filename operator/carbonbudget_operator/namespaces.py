"""The labels of all namespaces, from a watch of their metadata.

Controller and webhook match namespaceSelectors of budgets with them.
"""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_core.jsons import at
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.coverage import Covers, Selector, selects_namespace
from carbonbudget_operator.kube.client import KubeClient

NAMESPACES = ApiPath("", "v1", "namespaces")


class Namespaces:
    """The namespaces. `listed` is false until all of them are read, because a part must not be used as the whole."""

    def __init__(self) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self.listed = False

    def matching(self, selector: Selector) -> set[str]:
        """Names of the namespaces that the selector selects now."""
        return {
            name for name, labels in self._labels.items() if selects_namespace(selector, name, labels) is Covers.YES
        }

    def labels(self) -> Mapping[str, Mapping[str, str]] | None:
        """The labels of each namespace; None until all namespaces are read."""
        return self._labels if self.listed else None

    def exist(self, name: str) -> bool:
        """Whether a namespace of this name exists now."""
        return name in self._labels

    async def follow(self, client: KubeClient) -> None:
        """Watch until cancelled. Namespaces missing from a new list are removed: their deletion was missed."""
        seen: set[str] = set()
        async for event, body in client.watch(NAMESPACES, metadata_only=True):
            if event == "LISTING":
                seen.clear()
            elif body is None:
                self._labels = {name: labels for name, labels in self._labels.items() if name in seen}
                self.listed = True
            else:
                name = self.seen(event, body)
                seen.add(name)

    def seen(self, event: str, body: Mapping[str, object]) -> str:
        """Apply one change. Returns the name of the namespace."""
        metadata = at(body, "metadata")
        name = str(metadata.get("name", ""))
        if event == "DELETED":
            self._labels.pop(name, None)
        else:
            self._labels[name] = {key: str(value) for key, value in at(metadata, "labels").items()}
        return name
