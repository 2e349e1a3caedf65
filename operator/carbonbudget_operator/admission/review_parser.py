"""Parses an AdmissionReview into the fields that the webhook uses. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, text
from carbonbudget_operator.api.wire_names import CHECK_MANAGER
from carbonbudget_operator.json_bounds import beginning, first_members

_OPERATIONS: Final = ("CREATE", "UPDATE")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?|")  # a DNS label; empty for a cluster-wide object
_MAX_UID: Final = 253  # characters; the answer repeats it
HEAD_BYTES: Final = 16 * 2**10  # names and kinds only, each of at most 253 characters
_BEFORE_OBJECTS: Final = (
    "uid", "kind", "resource", "subResource", "requestKind", "requestResource", "requestSubResource",
    "name", "namespace", "operation",
)  # fmt: skip


class BadReview(ValueError):
    """The request is no AdmissionReview; the message is one line with the reason."""


@dataclass(frozen=True, slots=True)
class Review:
    """A request to create or change an object. `resource` is (API group, plural); `old` is empty on CREATE.

    `asks`: it is a dry run of `carbonbudget check`, which also asks what is expected and what is left.
    """

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


def parse_review(value: object) -> Review:
    """The review in parsed JSON. Missing fields of objects are empty: the API server has validated them.

    Raises:
        BadReview: the value is no AdmissionReview.
    """
    request = at(value, "request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= _MAX_UID:
        raise BadReview("the body is no AdmissionReview: request.uid is missing")
    operation = text(request.get("operation"))
    if operation not in _OPERATIONS:
        raise BadReview(f"operation must be CREATE or UPDATE, not {operation[:20]!r}")
    namespace = text(request.get("namespace"))
    if not _NAMESPACE.fullmatch(namespace):  # it is part of an Event's path, and any client may send it
        raise BadReview(f"request.namespace must be a namespace's name, not {namespace[:20]!r}")
    resource = at(request, "resource")
    dry_run = request.get("dryRun") is True
    return Review(
        uid=uid,
        operation=operation,
        dry_run=dry_run,
        namespace=namespace,
        resource=(text(resource.get("group")), text(resource.get("resource"))),
        subresource=text(request.get("subResource")),
        name=text(request.get("name")) or text(at(request, "object", "metadata").get("name")),
        username=text(at(request, "userInfo").get("username")),
        object=at(request, "object"),
        old=at(request, "oldObject"),
        asks=dry_run and at(request, "options").get("fieldManager") == CHECK_MANAGER,
    )


def parse_head(head: bytes | bytearray) -> Review:
    """The review whose beginning is `head`, without its objects.

    It counts as a dry run, because the field `dryRun` comes after the objects. The API server writes the members in
    this order (k8s.io/api/admission/v1, AdmissionRequest; Go keeps the order of the fields).

    Raises:
        BadReview: `head` is no beginning of an AdmissionReview, or a needed field does not come before the objects.
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
