"""Merge patches of Jobs, and the texts of Events about them. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Patch = dict[str, object]


@dataclass(frozen=True, slots=True)
class EventText:
    """Type, reason and message of a Kubernetes Event. Other tools may match the reasons, so these do not change."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def job_patch(
    annotations: Mapping[str, str | None],
    labels: Mapping[str, str | None] | None = None,
    suspend: bool | None = None,
) -> Patch:
    """The patch that sets these, and removes those that are None. `suspend`: spec.suspend, None to leave it."""
    metadata: Patch = {"annotations": dict(annotations)}
    if labels:
        metadata["labels"] = dict(labels)
    patch: Patch = {"metadata": metadata}
    if suspend is not None:
        patch["spec"] = {"suspend": suspend}
    return patch
