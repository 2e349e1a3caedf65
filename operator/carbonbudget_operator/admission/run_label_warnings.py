"""Warnings about the labels of runs and models on new work: a label that counts for no pod, an unknown stage. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from carbonbudget_core.jsons import JsonObject, at, objects, texts
from carbonbudget_operator.admission.workload_kinds import WorkloadKind
from carbonbudget_operator.printable import printable
from carbonbudget_operator.run_labels import RUN_LABELS, STAGE, STAGES

BEGINNING = "label carbonbudget.dev/"  # of each sentence: `carbonbudget check` knows them by it
_MOST_SHOWN = 63


def label_warnings(found: JsonObject, workload_kind: WorkloadKind) -> list[str]:
    """At most two sentences about a new object. What a controller makes has labels of somebody else: none for it."""
    metadata = at(found, "metadata")
    if any(reference.get("controller") is True for reference in objects(metadata.get("ownerReferences"))):
        return []
    own = texts(metadata.get("labels"))
    of_pods = texts(at(found, *workload_kind.template, "metadata").get("labels"))
    return [*_misplaced(own, of_pods, workload_kind), *_unknown_stage(of_pods)]


def _misplaced(own: Mapping[str, str], of_pods: Mapping[str, str], workload_kind: WorkloadKind) -> list[str]:
    missing = [key for key in RUN_LABELS if key in own and key not in of_pods]
    if not missing:
        return []
    others = f" (and {', '.join(key.partition('/')[2] for key in missing[1:])})" if missing[1:] else ""
    place = ".".join((*workload_kind.template, "metadata", "labels"))
    return [
        f"label {missing[0]}{others} is on the {workload_kind.kind} alone and counts for no pod: write it to {place}"
    ]


def _unknown_stage(of_pods: Mapping[str, str]) -> list[str]:
    stage = of_pods.get(STAGE, "")
    if not stage or stage in STAGES:
        return []
    return [f"label {STAGE}: {printable(stage, _MOST_SHOWN)} is no stage; the stages are {', '.join(STAGES)}"]
