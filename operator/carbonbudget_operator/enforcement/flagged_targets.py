"""The targets that workloads are annotated with: those that are Behind or Violated and count the workload's pods.

No I/O and no clock. Which workloads these are is in the targets' statuses, which only the controller writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at, objects, text
from carbonbudget_operator.enforcement.job_fields import instant
from carbonbudget_operator.enforcement.workload_annotations import WorkloadKey, is_annotated_kind

_FLAGS: Final = ("Violated", "Behind")  # the worse first
_MOST_TARGETS: Final = 5
_MOST_TEXT: Final = 280  # job_fields.py stores 300 characters of a Job's annotation
_MOST_NAME: Final = 200  # so that one always fits, with its state and how many others there are


@dataclass(frozen=True, slots=True)
class FlaggingTarget:
    """A CarbonTarget or ClusterCarbonTarget, with the parts of its status that annotations are made of."""

    display_name: str
    """The target's name in messages: "namespace/name" or "name"."""
    state: str
    """The status's; empty before the first evaluation."""
    workloads: tuple[WorkloadKey, ...]
    """The workloads of its newest window that can be annotated."""
    changed_at: int = 0
    """When a condition of it changed last (UTC seconds); 0 if not known."""

    @property
    def flags(self) -> bool:
        """Whether it is behind its path."""
        return self.state in _FLAGS


def parse_target(body: Mapping[str, object]) -> FlaggingTarget:
    """The target of an object; one whose status cannot be read flags nothing."""
    metadata, status = at(body, "metadata"), at(body, "status")
    namespace, name = text(metadata.get("namespace")), text(metadata.get("name"))
    keys = (
        # A CarbonTarget flags workloads of its own namespace alone, whatever its status contains.
        WorkloadKey(namespace or text(one.get("namespace")), text(one.get("kind")), text(one.get("name")))
        for one in objects(status.get("topWorkloads"))
    )
    changes = (instant(text(one.get("lastTransitionTime"))) for one in objects(status.get("conditions")))
    return FlaggingTarget(
        display_name=f"{namespace}/{name}" if namespace else name,
        state=text(status.get("state")),
        workloads=tuple(key for key in keys if is_annotated_kind(key.kind)),
        changed_at=max(changes, default=0),
    )


def targets_annotations(targets: Iterable[FlaggingTarget]) -> dict[WorkloadKey, str]:
    """The value of the annotation `targets` of each workload that a target flags."""
    flagged: dict[WorkloadKey, list[FlaggingTarget]] = {}
    for target in targets:
        for key in dict.fromkeys(target.workloads) if target.flags else ():
            flagged.setdefault(key, []).append(target)
    return {key: _text(its) for key, its in flagged.items()}


def workloads_flagged_since(targets: Iterable[FlaggingTarget], since: int) -> set[WorkloadKey]:
    """The workloads of targets that flag now, or may have flagged at `since` (UTC seconds)."""
    return {key for target in targets if target.flags or target.changed_at >= since for key in target.workloads}


def _text(targets: Iterable[FlaggingTarget]) -> str:
    """For example "team-a/chat Violated, all Behind, 2 more": the violated first, then by name."""
    ordered = sorted(targets, key=lambda target: (_FLAGS.index(target.state), target.display_name))
    shown: list[str] = []
    for target in ordered[:_MOST_TARGETS]:
        name = target.display_name
        name = name if len(name) <= _MOST_NAME else f"{name[:_MOST_NAME]}..."
        if len(", ".join([*shown, name])) > _MOST_TEXT - len(" Violated, 99999 more"):
            break
        shown.append(f"{name} {target.state}")
    more = len(ordered) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])
