"""Objects that a watch keeps in memory, by namespace and name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from carbonbudget_core.jsons import at, text
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.printable import printable

# Some 700 budgets or 6,000 workloads of a kind.
_MOST_OF_A_NAMESPACE = 2 * 2**20
_OVERHEAD_BYTES = 200
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WatchCache(Generic[T]):
    """What `parse` makes of each object; what it fails at is left out and logged, and so is what it makes None of.

    `size` says about how many bytes of text a value holds. A namespace may fill `_MOST_OF_A_NAMESPACE`, what comes
    after that is left out, and the namespace is `crowded` until the next list: those who write its objects harm nobody
    else. `listed` is set after the first complete list; `changed` is called after each change.
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
        """A namespace's objects by name; those without a namespace under the empty one."""
        return self._by_namespace.get(namespace, {})

    def all(self) -> list[T]:
        """Every object."""
        return [value for values in self._by_namespace.values() for value in values.values()]

    async def follow(self, client: KubeClient, path: ApiPath) -> None:
        """For ever. After each list, what was not in it is gone: its end was missed."""
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
        """One event of the watch; the object's key."""
        metadata = at(body, "metadata")
        key = (text(metadata.get("namespace")), text(metadata.get("name")))
        self._drop(key)
        try:
            value = None if kind == "DELETED" else self._parse(body)
        except Exception as error:  # also a defect of ours: one object must not end the watch of all others
            _log.warning("%s %s is not understood and left out: %s", self._what, "/".join(key), printable(str(error)))
            value = None
        if value is not None:
            self._add(key, value)
        return key

    def _add(self, key: tuple[str, str], value: T) -> None:
        namespace, name = key
        held = self._bytes.get(namespace, 0) + _OVERHEAD_BYTES + self._size(value)
        if held > _MOST_OF_A_NAMESPACE:
            if namespace not in self.crowded:
                _log.warning("namespace %s has more of %s than is kept, the rest is left out", namespace, self._what)
            self.crowded.add(namespace)
            return
        self._bytes[namespace] = held
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
