"""What else about a budget its reader may see: whether they may change it, and what is enforced there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_core.jsons import JsonObject, mapping, parse_object, texts
from carbonbudget_operator.api.wire_names import GROUP, Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.installed_enforcement import installed_enforcement, limited_kinds
from carbonbudget_operator.enforcement.enforced_budgets import is_enforced_namespace
from carbonbudget_operator.kube.client import KubeClient, KubeError

_ACCESS_REVIEWS: Final = ApiPath("authorization.k8s.io", "v1", "selfsubjectaccessreviews")


async def reader_context(client: KubeClient, resource: Resource, namespace: str, name: str) -> ReaderContext:
    """Read with the reader's own rights; what these do not allow is not known. Raises KubeError without an answer."""

    async def read(path: ApiPath) -> tuple[int, JsonObject]:
        answer = await client.exchange("GET", path)
        return answer.status, parse_object(answer.text) if answer.status == 200 else {}

    found = await installed_enforcement(read)
    labels = await namespace_labels(client, namespace)
    exempt = found.leaves_out(namespace, labels) or not is_enforced_namespace(namespace, labels, frozenset())
    changes = await may_change(client, resource, namespace, name)
    return ReaderContext(changes, found.mode, exempt, await limited_kinds(found, read))


async def may_change(client: KubeClient, resource: Resource, namespace: str, name: str) -> bool | None:
    """Whether the reader may update the object; None if that is not known."""
    attributes = {"group": GROUP, "resource": resource.plural, "verb": "update", "namespace": namespace, "name": name}
    body: dict[str, object] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = await client.request("POST", _ACCESS_REVIEWS, body)
    except KubeError:
        return None
    status = answer.get("status")
    return status.get("allowed") is True if isinstance(status, dict) else None


async def namespace_labels(client: KubeClient, namespace: str) -> Mapping[str, str] | None:
    """A namespace's labels; None where they may not be read."""
    if not namespace:
        return None
    try:
        metadata = (await client.request("GET", ApiPath("", "v1", "namespaces", name=namespace)))["metadata"]
    except (KubeError, KeyError):
        return None
    return texts(mapping(metadata).get("labels"))
