"""Builds paths of the Kubernetes API from their parts. The client in `kube/` accepts no other paths.

A part may come from a tenant: the name in a pod's ownerReferences is free text. So each part is checked by the rules of
Kubernetes before it is used in a request, and no other module builds a path as text (tests/kube/test_paths.py checks
the code).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import quote

from carbonbudget_operator.printable import printable

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_MAX_LABEL: Final = 63
_MAX_SUBDOMAIN: Final = 253


class InvalidPath(ValueError):
    """A part of the path is invalid. The message shows it, printable and shortened."""


def is_subdomain(text: str) -> bool:
    """Whether `text` is a DNS-1123 subdomain: a valid name of a workload, a budget or an API group."""
    return len(text) <= _MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether `text` is a DNS-1123 label: a valid name of a namespace, an API version or a resource."""
    return len(text) <= _MAX_LABEL and _LABEL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ApiPath:
    """The path of a collection, an object or its subresource. The parts are checked in `text`, not before.

    `group` is empty for the core API; `resource` is empty for the list of a version's resources, `version` is None for
    the list of a group's versions. Without `namespace` the path is cluster-wide or covers all namespaces; without
    `name` it is the collection. An empty name is invalid.
    """

    group: str
    version: str | None
    resource: str = ""
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @classmethod
    def of_version(cls, api_version: str, resource: str = "") -> Self:
        """From the apiVersion of a manifest: "v1" or "apps/v1"."""
        group, _, version = api_version.rpartition("/")
        return cls(group, version, resource)

    def at(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> Self:
        """This resource in a namespace, one object of it, or a subresource of that object."""
        return replace(self, namespace=namespace, name=name, subresource=subresource)

    def sub(self, subresource: str) -> Self:
        """A subresource of this object, such as status."""
        return replace(self, subresource=subresource)

    @property
    def collection(self) -> Self:
        """The path of the collection that contains this object."""
        return replace(self, name=None, subresource=None)

    def text(self) -> str:
        """The path of the URL. Raises InvalidPath."""
        checks = (
            ("API group", self.group or None, is_subdomain),
            ("API version", self.version, is_label),
            ("resource", self.resource or None, is_label),
            ("namespace", self.namespace, is_label),
            ("name", self.name, is_subdomain),
            ("subresource", self.subresource, is_label),
        )
        for what, part, valid in checks:
            if part is not None and not valid(part):
                raise InvalidPath(f"{printable(part, _MAX_LABEL)!r} is not a valid {what} in Kubernetes")
        if self.version is None and (self.resource or not self.group):
            raise InvalidPath("the path has no version: only an API group has a list of versions")
        if (self.name is None and self.subresource is not None) or (self.namespace is not None and not self.resource):
            raise InvalidPath("the path has a subresource without a name, or a namespace without a resource")
        return str(self)

    def __str__(self) -> str:
        """For people, logs and metrics. Each part is quoted and not checked."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts += [self.version] if self.version is not None else []
        parts += ["namespaces", self.namespace] if self.namespace is not None else []
        parts += [part for part in (self.resource or None, self.name, self.subresource) if part is not None]
        return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True)
class ServicePath:
    """A path of a Service over TLS, through the proxy of the API server: /api/v1/namespaces/.../proxy/...

    It needs the verb `get` (for a POST `create`) on `services/proxy`; `resource_name` is the name in RBAC rules.
    """

    namespace: str
    service: str
    port: int
    path: str  # of the service, with its first slash; never from a tenant, as it is not checked

    @property
    def resource_name(self) -> str:
        """The name in `resourceNames` of a Role."""
        return f"https:{self.service}:{self.port}"

    def text(self) -> str:
        """The path of the URL. Raises InvalidPath."""
        for what, part in (("namespace", self.namespace), ("service", self.service)):
            if not is_label(part):
                raise InvalidPath(f"{printable(part, _MAX_LABEL)!r} is not a valid {what} in Kubernetes")
        return str(self)

    def __str__(self) -> str:
        """For people. Each part is quoted."""
        parts = "/".join(quote(part, safe=":") for part in (self.namespace, "services", self.resource_name))
        return f"/api/v1/namespaces/{parts}/proxy{self.path}"
