"""Divides the embodied emissions of a node's GPUs among its pod groups.

The number of GPUs that a node offers is not the number of its devices. A time-slicing share counts as one, and so does
a MIG device under the name `nvidia.com/gpu`; a MIG device under its own name counts as none. So GPUs are counted by
their meters. Each GPU is charged like its idle energy, which the agent divides by whole devices, shares or MIG slices.
"""

from __future__ import annotations

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.slice_allocation import reserve
from carbonbudget_operator.ledger.facts import NodeSlice


def gpu_count(slice_: NodeSlice) -> int:
    """The GPUs that were metered on the node; without a meter those that it offers to pods."""
    return len(_gpus(slice_)) or slice_.node.gpus


def share_gpus(total_ug: int, slice_: NodeSlice) -> tuple[list[int], int]:
    """The part of each group, and the rest that is charged to nobody. Without device claims: by requested GPUs."""
    groups, gpus = slice_.groups, _gpus(slice_)
    idle_uj = {gpu: [group.idle_uj.get(gpu, 0) for group in groups] for gpu in gpus}
    if not any(map(any, idle_uj.values())):
        capacity = max(slice_.node.gpus, len(gpus)) * slice_.duration_ms
        return reserve(total_ug, [group.gpu_reserved_ms for group in groups], capacity)
    shares, nobody = [0] * len(groups), 0
    for gpu, gpu_ug in zip(gpus, share_list(total_ug, [1] * len(gpus)), strict=True):
        weights = [*idle_uj[gpu], slice_.domains[gpu].idle_uj]
        if not any(weights):  # used by a pod that is not known
            nobody += gpu_ug
            continue
        *parts, free = share_list(gpu_ug, weights)
        shares = [share + part for share, part in zip(shares, parts, strict=True)]
        nobody += free
    return shares, nobody


def _gpus(slice_: NodeSlice) -> list[str]:
    return sorted(name for name in slice_.domains if name.startswith("gpu:"))
