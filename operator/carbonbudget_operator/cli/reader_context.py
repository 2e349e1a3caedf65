"""What else about a budget its reader may see: whether they may change it, and what is enforced in the cluster."""

from __future__ import annotations

from carbonbudget_core.jsons import JsonObject, parse_object
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.api_server_budgets import labels_of, may_change
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.installed_enforcement import installed_enforcement, limited_kinds
from carbonbudget_operator.enforcement.enforced_budgets import is_enforced_namespace
from carbonbudget_operator.kube.client import KubeClient


async def reader_context(client: KubeClient, resource: Resource, namespace: str, name: str) -> ReaderContext:
    """Read with the reader's own rights; what these do not allow is not known. Raises KubeError without an answer."""

    async def read(path: ApiPath) -> tuple[int, JsonObject]:
        answer = await client.exchange("GET", path)
        return answer.status, parse_object(answer.text) if answer.status == 200 else {}

    found = await installed_enforcement(read)
    labels = await labels_of(client, namespace)
    exempt = found.leaves_out(namespace, labels) or not is_enforced_namespace(namespace, labels, frozenset())
    changes = await may_change(client, resource, namespace, name)
    return ReaderContext(changes, found.mode, exempt, await limited_kinds(found, read))
