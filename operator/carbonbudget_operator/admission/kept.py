"""Objects that a watch keeps in memory, by namespace and name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from carbonbudget_operator.admission.review import at, text
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Kept(Generic[T]):
    """What `parse` makes of each object; what it refuses (ValueError, KeyError) is left out and logged.

    `listed` is set after the first complete list; `changed` is called after each change.
    """

    def __init__(self, what: str, parse: Callable[[Mapping[str, object]], T]) -> None:
        self._what, self._parse = what, parse
        self._by_namespace: dict[str, dict[str, T]] = {}
        self.listed = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def of(self, namespace: str) -> Mapping[str, T]:
        """A namespace's objects by name; those without a namespace under the empty one."""
        return self._by_namespace.get(namespace, {})

    def all(self) -> list[T]:
        """Every object."""
        return [value for values in self._by_namespace.values() for value in values.values()]

    async def follow(self, client: KubeClient, path: ApiPath) -> None:
        """For ever. After each list, what was not in it is gone: its end was missed."""
        seen: set[tuple[str, str]] = set()
        async for kind, body in client.watch(path):
            if kind == "LISTING":
                seen.clear()
            elif body is None:
                self._keep_only(seen)
                self.listed.set()
            else:
                seen.add(self.put(kind, body))
            if kind != "LISTING" and self.listed.is_set():
                self.changed()

    def put(self, kind: str, body: Mapping[str, object]) -> tuple[str, str]:
        """One event of the watch; the object's key."""
        metadata = at(body, "metadata")
        key = (text(metadata.get("namespace")), text(metadata.get("name")))
        try:
            value = None if kind == "DELETED" else self._parse(body)
        except (ValueError, KeyError) as error:
            _log.warning("%s %s is not understood and left out: %s", self._what, "/".join(key), _line(error))
            value = None
        if value is not None:
            self._by_namespace.setdefault(key[0], {})[key[1]] = value
        elif key[0] in self._by_namespace:
            self._by_namespace[key[0]].pop(key[1], None)
            if not self._by_namespace[key[0]]:
                del self._by_namespace[key[0]]
        return key

    def _keep_only(self, keys: set[tuple[str, str]]) -> None:
        self._by_namespace = {
            namespace: kept
            for namespace, values in self._by_namespace.items()
            if (kept := {name: value for name, value in values.items() if (namespace, name) in keys})
        }


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
