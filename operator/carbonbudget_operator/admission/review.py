"""The fields of an AdmissionReview that the webhook reads. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_core.jsons import JsonObject, mapping, text
from carbonbudget_operator.json_bounds import beginning, first_members

CHECK_MANAGER: Final = "carbonbudget-check"  # the field manager of its dry runs
_OPERATIONS: Final = ("CREATE", "UPDATE")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?|")  # a DNS label; none for what has no namespace
_MAX_UID: Final = 253  # it is sent back
HEAD_BYTES: Final = 16 * 2**10  # names and kinds only, each of at most 253 characters
_BEFORE_OBJECTS: Final = (
    "uid", "kind", "resource", "subResource", "requestKind", "requestResource", "requestSubResource",
    "name", "namespace", "operation",
)  # fmt: skip


class BadReview(ValueError):
    """A request that is no AdmissionReview; one line says why."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is asked. `resource` is (API group, plural); `old` is empty on CREATE."""

    uid: str
    operation: str
    dry_run: bool
    namespace: str
    resource: tuple[str, str]
    subresource: str
    name: str
    username: str
    object: JsonObject
    old: JsonObject
    asks: bool = False
    """Whether it is a dry run of `carbonbudget check`: it wants to know what is expected and what is left."""


def parse_review(value: object) -> Review:
    """Raises BadReview. What is merely missing inside is empty: the API server has checked its objects itself."""
    request = mapping(mapping(value).get("request"))
    uid = request.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= _MAX_UID:
        raise BadReview("the body is no AdmissionReview: request.uid is missing")
    operation = text(request.get("operation"))
    if operation not in _OPERATIONS:
        raise BadReview(f"operation must be CREATE or UPDATE, not {operation[:20]!r}")
    namespace = text(request.get("namespace"))
    if not _NAMESPACE.fullmatch(namespace):  # it goes into the path of an Event, and not only the API server may ask
        raise BadReview(f"request.namespace must be a namespace's name, not {namespace[:20]!r}")
    resource = mapping(request.get("resource"))
    found = mapping(request.get("object"))
    metadata = mapping(found.get("metadata"))
    return Review(
        uid=uid,
        operation=operation,
        dry_run=request.get("dryRun") is True,
        namespace=namespace,
        resource=(text(resource.get("group")), text(resource.get("resource"))),
        subresource=text(request.get("subResource")),
        name=text(request.get("name")) or text(metadata.get("name")),
        username=text(mapping(request.get("userInfo")).get("username")),
        object=found,
        old=mapping(request.get("oldObject")),
        asks=request.get("dryRun") is True
        and text(mapping(request.get("options")).get("fieldManager")) == CHECK_MANAGER,
    )


def parse_head(head: bytes | bytearray) -> Review:
    """The review of which `head` is the beginning, without its objects; it counts as a dry run, since whether it is one
    comes after them.

    The API server writes members in this order (k8s.io/api/admission/v1, AdmissionRequest; Go keeps the order of the
    fields). Raises BadReview: also where what is needed does not come before the objects.
    """
    try:
        text_ = beginning(head, HEAD_BYTES)
        _, key, at_ = first_members(text_, 0, ("kind", "apiVersion"))
        request, _, _ = first_members(text_, at_ if key == "request" else len(text_), _BEFORE_OBJECTS)
    except ValueError:
        raise BadReview("the body is too large, and its beginning is no AdmissionReview's") from None
    missing = [name for name in ("uid", "resource", "namespace", "operation") if name not in request]
    if missing:
        raise BadReview(f"the body is too large, and request.{missing[0]} does not come before its objects")
    return replace(parse_review({"request": request}), dry_run=True)
