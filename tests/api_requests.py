"""Requests to a cluster's API server as kubectl sends them, without a process for each: that takes 0.3 s of CPU."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import urllib3
from kubernetes import config as kube_config
from tests.conftest import Cluster

Answer = tuple[bool, str]  # whether it was done, and what kubectl would write: warnings, and the error

_STRICT = "fieldValidation=Strict"
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class ApiRequests:
    """Flags are those of kubectl: --as, --as-group, --dry-run=server, --field-manager, --subresource, and no others."""

    def __init__(self, cluster: Cluster) -> None:
        client = kube_config.new_client_from_config(str(cluster.kubeconfig))
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._base: str = client.configuration.host
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def create(self, manifest: Mapping[str, Any], *flags: str) -> Answer:
        """`kubectl create`."""
        return self.send("POST", f"{self._path(manifest)}?{_STRICT}&fieldManager=kubectl-create", manifest, *flags)

    def apply(self, manifest: Mapping[str, Any], *flags: str) -> Answer:
        """`kubectl apply --server-side`."""
        path = f"{self._path(manifest)}/{manifest['metadata']['name']}?{_STRICT}&fieldManager=kubectl"
        return self.send("PATCH", path, manifest, *flags, content=_APPLY)

    def patch(
        self, api_version: str, kind: str, namespace: str, name: str, change: Mapping[str, Any], *flags: str
    ) -> Answer:
        """`kubectl patch --type=merge`; empty `namespace` where the kind has none."""
        below = {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}}
        path = f"{self._path(below)}/{name}"
        parts = [flag.partition("=")[2] for flag in flags if flag.startswith("--subresource=")]
        rest = [flag for flag in flags if not flag.startswith("--subresource=")]
        where = f"{'/'.join([path, *parts])}?fieldManager=kubectl-patch"
        return self.send("PATCH", where, change, *rest, content=_MERGE)

    def read(self, path: str) -> dict[str, Any]:
        """An object or a list of them; an error if there is none."""
        found: dict[str, Any] = json.loads(self._asked("GET", path, None, {}).data)
        assert found.get("kind") != "Status", found
        return found

    def send(self, method: str, path: str, body: object, *flags: str, content: str = "application/json") -> Answer:
        """A request to a path, which may have a query."""
        headers = urllib3.HTTPHeaderDict({"Content-Type": content})
        for flag in flags:
            name, _, value = flag.partition("=")
            if name == "--as":
                headers["Impersonate-User"] = value
            elif name == "--as-group":
                headers.add("Impersonate-Group", value)
            elif name == "--field-manager":
                path = re.sub(r"fieldManager=[^&]*", f"fieldManager={value}", path)
            elif flag == "--dry-run=server":
                path += f"{'&' if '?' in path else '?'}dryRun=All"
            else:
                raise ValueError(f"{flag} is not known here: call kubectl")
        answer = self._asked(method, path, body, headers)
        said = [f"Warning: {_warning(one)}" for one in answer.headers.getlist("Warning")]
        if answer.status >= 400:
            status = json.loads(answer.data)
            said.append(f"Error from server ({status.get('reason', '')}): {status['message']}")
        return answer.status < 400, "\n".join(said)

    def _asked(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        content = None if body is None else json.dumps(body)
        return self._pool.request(method, f"{self._base}{path}", body=content, headers=headers, timeout=60)

    def _path(self, manifest: Mapping[str, Any]) -> str:
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._resources:
            for one in self.read(root)["resources"]:
                if "/" not in one["name"]:
                    self._resources[version, one["kind"]] = one["name"], one["namespaced"]
        plural, namespaced = self._resources[version, kind]
        space = manifest["metadata"].get("namespace") or "default"
        return f"{root}/namespaces/{space}/{plural}" if namespaced else f"{root}/{plural}"


@functools.cache
def api_requests(cluster: Cluster) -> ApiRequests:
    """One for each cluster, whose connections are kept."""
    return ApiRequests(cluster)


def _warning(header: str) -> str:
    text = re.fullmatch(r'\d+ \S+ "(.*)"', header, re.DOTALL)
    assert text, header
    return re.sub(r"\\(.)", r"\1", text[1])
