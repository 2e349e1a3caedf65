"""Reduces a budget object to the fields that are used, and removes the spec of one that is too large. Pure.

A tenant controls the size of an object: `managedFields` alone may have a megabyte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import BLOCKING_LABEL

Body = Mapping[str, object]

# Bytes of JSON: some thousand budgets with all that a status may have.
MOST_OF_A_NAMESPACE: Final = 4 * 2**20
# What the CRDs allow takes half of it; a budget from before their bounds may be larger.
MOST_OF_A_BUDGET: Final = 2**20
_METADATA: Final = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp")
# The status fields that stay without a spec: those that the controller writes then.
_STATUS_FIELDS: Final = ("state", "message", "action", "enforcement", "conditions")
# Beside metadata and status; the API server keeps no such field of our kinds.
_MISSING_SPEC_REASON: Final = "leftOut"
TOO_LARGE: Final = "the budget is too large to be evaluated: make its selectors shorter"
CROWDED: Final = (
    f"the budgets of this namespace are together larger than the limit of {MOST_OF_A_NAMESPACE // 2**20} MiB: "
    "delete some, or make their selectors shorter, then change this one"
)


def trimmed(body: Body) -> tuple[dict[str, object], int]:
    """The used fields of an object, and the bytes of JSON of its spec and status; 0 if these are removed."""
    metadata = at(body, "metadata")
    label = at(metadata, "labels").get(BLOCKING_LABEL)
    used: dict[str, object] = {key: metadata[key] for key in _METADATA if key in metadata}
    used["labels"] = {BLOCKING_LABEL: label} if label is not None else {}
    if why := missing_spec_reason(body):
        return without_spec({"metadata": used} | _status(body), why), 0
    parts = {key: body[key] for key in ("spec", "status") if key in body}
    size = len(json.dumps(parts))
    whole = {"metadata": used} | parts
    return (without_spec(whole, TOO_LARGE), 0) if size > MOST_OF_A_BUDGET else (whole, size)


def without_spec(body: Body, why: str) -> dict[str, object]:
    """The object without its spec, and with the reason."""
    return {"metadata": body["metadata"], **_status(body), _MISSING_SPEC_REASON: why}


def missing_spec_reason(body: Body) -> str:
    """Why it has no spec; empty if it has one."""
    return str(body.get(_MISSING_SPEC_REASON) or "")


def _status(body: Body) -> dict[str, object]:
    status = at(body, "status")
    return {"status": {key: status[key] for key in _STATUS_FIELDS if key in status}}
