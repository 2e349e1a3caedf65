"""Objects for the page of `kubectl carbon ui`, with the user's own rights: lists of all namespaces, else of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from carbonbudget_core.jsons import JsonObject, at
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.cli.api_server_budgets import WHOLE_CLUSTER, kube_sentence
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.web.page_questions import NotShown

T = TypeVar("T")

_HIDDEN: Final = (403, 404)  # 404: a chart of before there was the kind


class ObjectLists:
    """Reads objects. `namespace` is shown where the user may not list those of all namespaces."""

    def __init__(self, who: Credentials, namespace: str, timeout: float) -> None:
        self.who, self.namespace, self.timeout = who, namespace or who.namespace, timeout
        self._client: KubeClient | None = None

    async def both(
        self, namespaced: Resource, cluster_wide: Resource, parse: Callable[[Resource, JsonObject], T | None],
        optional: bool = False,
    ) -> tuple[list[T], list[str]]:  # fmt: skip
        """Objects of both kinds, the cluster's unless they are hidden, and notes on what may be missing.

        `optional`: a cluster that has no such kind has none of them. Raises NotShown.
        """
        notes: list[str] = []
        try:
            found = await self._listed(namespaced, "", parse, notes)
        except KubeError as error:
            if optional and error.status == 404:
                return [], [f"This cluster has no {namespaced.plural}: upgrade the chart and its CRDs."]
            if error.status != 403:
                raise not_shown(error, EVERY_NAMESPACE) from None
            try:
                found = await self._listed(namespaced, self.namespace, parse, notes)
            except KubeError as own:
                raise not_shown(own, self.namespace) from None
            notes.append(
                f"Only namespace {self.namespace} is shown, because the right to list {namespaced.plural} in all "
                "namespaces is missing. -n shows another one."
            )
        try:
            found += await self._listed(cluster_wide, "", parse, notes)
        except KubeError as error:
            if error.status not in _HIDDEN:
                raise not_shown(error, WHOLE_CLUSTER) from None
        return found, notes

    @asynccontextmanager
    async def reading(self, resource: Resource, namespace: str, name: str) -> AsyncIterator[KubeClient]:
        """A client for questions about one object, within the timeout. Raises NotShown where one has no answer."""
        try:
            async with asyncio.timeout(self.timeout):
                yield await self.client()
        except KubeError as error:
            if error.status == 404:
                place = f" in namespace {namespace}" if namespace else ""
                raise NotShown(404, f"There is no {resource.kind} {name}{place}.") from None
            raise not_shown(error, namespace or WHOLE_CLUSTER) from None
        except TimeoutError:
            raise NotShown(503, f"No answer from the API server within {self.timeout:g} s.") from None

    async def client(self) -> KubeClient:
        """The one connection pool."""
        if self._client is None:
            self._client = KubeClient.connect(self.who)
        return self._client

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.close()

    async def _listed(
        self, resource: Resource, namespace: str, parse: Callable[[Resource, JsonObject], T | None], notes: list[str]
    ) -> list[T]:
        """Objects of a namespace, or of all if empty; one that cannot be parsed is a note. Raises KubeError."""
        client, found = await self.client(), list[T]()
        try:
            async with asyncio.timeout(self.timeout):
                async for item in client.list(resource.path(namespace) if namespace else resource.collection):
                    if (made := parse(resource, item)) is None:
                        notes.append(f"{resource.kind} {at(item, 'metadata').get('name', '?')} is not understood.")
                    else:
                        found.append(made)
        except TimeoutError:
            raise KubeError(0, f"no answer within {self.timeout:g} s") from None
        return found


def not_shown(error: KubeError, where: str) -> NotShown:
    """What the page says about an error of the API server."""
    sentence = kube_sentence(error, where)
    return NotShown(error.status if error.status >= 400 else 503, f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}.")


def not_understood(resource: Resource, name: str) -> NotShown:
    """What the page says about an object that cannot be parsed."""
    return NotShown(502, f"{resource.kind} {name} is not understood: is it of another version?")
