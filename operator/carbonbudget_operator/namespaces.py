"""Labels of all namespaces, by a watch of their metadata: what a namespaceSelector is matched with."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_core.jsons import at
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.coverage import Covers, Selector, selects_namespace
from carbonbudget_operator.kube.client import KubeClient

NAMESPACES = ApiPath("", "v1", "namespaces")


class Namespaces:
    """`listed` is False until all of them are known: a part of them would be taken for all."""

    def __init__(self) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self.listed = False

    def matching(self, selector: Selector) -> set[str]:
        """Names of those that it selects now."""
        return {
            name for name, labels in self._labels.items() if selects_namespace(selector, name, labels) is Covers.YES
        }

    def labels(self) -> Mapping[str, Mapping[str, str]] | None:
        """Each one's labels; None until all are known."""
        return self._labels if self.listed else None

    def exist(self, name: str) -> bool:
        """Whether there is one of that name now."""
        return name in self._labels

    async def follow(self, client: KubeClient) -> None:
        """For ever. After each list, what was not in it is gone: its end was missed."""
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
        """One change; the namespace's name."""
        metadata = at(body, "metadata")
        name = str(metadata.get("name", ""))
        if event == "DELETED":
            self._labels.pop(name, None)
        else:
            self._labels[name] = {key: str(value) for key, value in at(metadata, "labels").items()}
        return name
