"""A cache of objects by namespace and name that a watch fills, with a bound on the memory of each namespace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from carbonbudget_core.jsons import at, text
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.printable import printable

# Bytes; about 700 budgets or 6,000 workloads of a kind.
_MOST_OF_A_NAMESPACE = 2 * 2**20
_OVERHEAD_BYTES = 200
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WatchCache(Generic[T]):
    """The values that `parse` returns for the objects of a watch.

    An object for which `parse` returns None is not cached. One for which it fails is not cached, and logged. `size`
    estimates the bytes of text of a value. Objects beyond `_MOST_OF_A_NAMESPACE` bytes of one namespace are not cached,
    and the namespace is `crowded` until the next list, so that users of one namespace cannot fill the memory. `listed`
    is set after the first complete list; `changed` is called after each change.
    """

    def __init__(
        self,
        what: str,
        parse: Callable[[Mapping[str, object]], T | None],
        size: Callable[[T], int] = lambda _: 0,
        most_parsed: int = 0,
    ) -> None:
        self._what, self._parse, self._size, self._most_parsed = what, parse, size, most_parsed
        self._by_namespace: dict[str, dict[str, T]] = {}
        self._bytes: dict[str, int] = {}
        self.crowded: set[str] = set()
        self.listed = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def of(self, namespace: str) -> Mapping[str, T]:
        """The objects of a namespace by name. Cluster-wide objects are in the namespace ""."""
        return self._by_namespace.get(namespace, {})

    def all(self) -> list[T]:
        """Every object."""
        return [value for values in self._by_namespace.values() for value in values.values()]

    async def follow(self, client: KubeClient, path: ApiPath) -> None:
        """Follows the watch, without end. After each list, objects that were not in it are removed."""
        seen: set[tuple[str, str]] = set()
        async for kind, body in client.watch(path, most_parsed=self._most_parsed):
            if kind == "LISTING":
                seen.clear()
                self.crowded.clear()
            elif body is None:
                self._keep_only(seen)
                self.listed.set()
            else:
                seen.add(self.put(kind, body))
            if kind != "LISTING" and self.listed.is_set():
                self.changed()

    def put(self, kind: str, body: Mapping[str, object]) -> tuple[str, str]:
        """Applies one event of the watch. Returns namespace and name of the object."""
        metadata = at(body, "metadata")
        key = (text(metadata.get("namespace")), text(metadata.get("name")))
        self._drop(key)
        try:
            value = None if kind == "DELETED" else self._parse(body)
        except Exception as error:  # also a defect of this program: one object must not end the watch of the others
            _log.warning("%s %s cannot be parsed and is left out: %s", self._what, "/".join(key), printable(str(error)))
            value = None
        if value is not None:
            self._add(key, value)
        return key

    def _add(self, key: tuple[str, str], value: T) -> None:
        namespace, name = key
        size = self._bytes.get(namespace, 0) + _OVERHEAD_BYTES + self._size(value)
        if size > _MOST_OF_A_NAMESPACE:
            if namespace not in self.crowded:
                _log.warning(
                    "namespace %s has more objects of kind %s than are cached; the rest is left out",
                    namespace,
                    self._what,
                )
            self.crowded.add(namespace)
            return
        self._bytes[namespace] = size
        self._by_namespace.setdefault(namespace, {})[name] = value

    def _drop(self, key: tuple[str, str]) -> None:
        namespace, name = key
        values = self._by_namespace.get(namespace, {})
        if name not in values:
            return
        self._bytes[namespace] -= _OVERHEAD_BYTES + self._size(values.pop(name))
        if not values:
            del self._by_namespace[namespace], self._bytes[namespace]

    def _keep_only(self, keys: set[tuple[str, str]]) -> None:
        known = [(namespace, name) for namespace, values in self._by_namespace.items() for name in values]
        for key in known:
            if key not in keys:
                self._drop(key)
