"""Paths of the Kubernetes API, built from their parts: the only way to name a resource to the client in `kube/`.

Parts may come from a tenant: the name of an owner in a pod's ownerReferences is free text. So a path is never put
together as text outside this module (tests/kube/test_paths.py reads the code), and each part is checked against what
Kubernetes itself allows before it goes into a request.
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
    """A part that no API object can have; the message names it, printable and cut."""


def is_subdomain(text: str) -> bool:
    """Whether `text` is a DNS-1123 subdomain: what a workload, a budget or an API group may be called."""
    return len(text) <= _MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether `text` is a DNS-1123 label: what a namespace, an API version or a resource may be called."""
    return len(text) <= _MAX_LABEL and _LABEL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ApiPath:
    """A collection, an object or its subresource. Parts are taken as they come; `text` is where they are checked.

    `group` is empty for the core API, `resource` for the list of a version's resources. Without `namespace` it is
    cluster-wide or every namespace's, without `name` the collection. "" is no name: it is refused.
    """

    group: str
    version: str
    resource: str = ""
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @classmethod
    def of_version(cls, api_version: str, resource: str = "") -> Self:
        """By an apiVersion as manifests have it: "v1" or "apps/v1"."""
        group, _, version = api_version.rpartition("/")
        return cls(group, version, resource)

    def at(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> Self:
        """The same resource in a namespace, or one object of it."""
        return replace(self, namespace=namespace, name=name, subresource=subresource)

    def sub(self, subresource: str) -> Self:
        """A subresource of this object, such as status."""
        return replace(self, subresource=subresource)

    @property
    def collection(self) -> Self:
        """What this object is one of."""
        return replace(self, name=None, subresource=None)

    def text(self) -> str:
        """The path of a URL. Raises InvalidPath."""
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
                raise InvalidPath(f"no {what} in Kubernetes can be {printable(part, _MAX_LABEL)!r}")
        if (self.name is None and self.subresource is not None) or (self.namespace is not None and not self.resource):
            raise InvalidPath("a path lacks the part that another one of it belongs to")
        return str(self)

    def __str__(self) -> str:
        """For people, logs and metrics; each part is quoted, whatever it is."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        parts += ["namespaces", self.namespace] if self.namespace is not None else []
        parts += [part for part in (self.resource or None, self.name, self.subresource) if part is not None]
        return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True)
class ServicePath:
    """A path that a Service answers over TLS, by way of the API server's proxy: /api/v1/namespaces/.../proxy/...

    The right is `get` (or `create`, for a POST) of `services/proxy`, and `resource_name` is what RBAC calls it.
    """

    namespace: str
    service: str
    port: int
    path: str  # of the service, from its first slash on; ours alone, never a tenant's

    @property
    def resource_name(self) -> str:
        """As `resourceNames` of a Role has it."""
        return f"https:{self.service}:{self.port}"

    def text(self) -> str:
        """The path of a URL. Raises InvalidPath."""
        for what, part in (("namespace", self.namespace), ("service", self.service)):
            if not is_label(part):
                raise InvalidPath(f"no {what} in Kubernetes can be {printable(part, _MAX_LABEL)!r}")
        return str(self)

    def __str__(self) -> str:
        """For people; each part is quoted."""
        parts = "/".join(quote(part, safe=":") for part in (self.namespace, "services", self.resource_name))
        return f"/api/v1/namespaces/{parts}/proxy{self.path}"
