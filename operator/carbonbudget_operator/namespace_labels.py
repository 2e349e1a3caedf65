"""The labels of all namespaces, from a watch of their metadata.

Controller and webhook match namespaceSelectors of budgets with them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.coverage import Covers, Selector, selects_namespace
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

NAMESPACES = ApiPath("", "v1", "namespaces")
_OFF = "off"

_log = logging.getLogger(__name__)


class Namespaces:
    """The namespaces. `listed` is false until all of them are read, because a part must not be used as the whole."""

    def __init__(self, logs_ignored_labels: bool = False) -> None:
        """`logs_ignored_labels`: one line for each namespace whose label of enforcement has no effect."""
        self._labels: dict[str, Mapping[str, str]] = {}
        self._logs_ignored_labels = logs_ignored_labels
        # Each namespace with the value of its label of enforcement that has no effect. Nearly always empty.
        self._ignored: dict[str, str] = {}
        self.listed = False

    def matching(self, selector: Selector) -> set[str]:
        """Names of the namespaces that the selector selects now."""
        return {
            name for name, labels in self._labels.items() if selects_namespace(selector, name, labels) is Covers.YES
        }

    def labels(self) -> Mapping[str, Mapping[str, str]] | None:
        """The labels of each namespace; None until all namespaces are read."""
        return self._labels if self.listed else None

    def has_namespace(self, name: str) -> bool:
        """Whether a namespace of this name exists now."""
        return name in self._labels

    def ignored_labels(self, among: Collection[str]) -> dict[str, str]:
        """The values that have no effect, by namespace of `among` (EVERY_NAMESPACE for all)."""
        return {
            name: value for name, value in sorted(self._ignored.items()) if EVERY_NAMESPACE in among or name in among
        }

    async def follow(self, client: KubeClient) -> None:
        """Watch until cancelled. Namespaces missing from a new list are removed: their deletion was missed."""
        seen: set[str] = set()
        async for event, body in client.watch(NAMESPACES, metadata_only=True):
            if event == "LISTING":
                seen.clear()
            elif body is None:
                self._labels = {name: labels for name, labels in self._labels.items() if name in seen}
                self._ignored = {name: value for name, value in self._ignored.items() if name in seen}
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
            self._ignored.pop(name, None)
        else:
            self._labels[name] = {key: str(value) for key, value in at(metadata, "labels").items()}
            self._note_enforcement_label(name)
        return name

    def _note_enforcement_label(self, name: str) -> None:
        value = self._labels[name].get(ENFORCEMENT_LABEL, _OFF)
        if value == _OFF:
            self._ignored.pop(name, None)
        elif self._ignored.get(name) != value:
            self._ignored[name] = value
            if self._logs_ignored_labels:
                _log.warning(
                    "the label %s=%s of namespace %s has no effect: only the value off exempts a namespace",
                    ENFORCEMENT_LABEL,
                    value,
                    name,
                )
