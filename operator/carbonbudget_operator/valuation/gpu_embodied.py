"""What making a node's GPUs emitted, shared out by who holds them.

How many GPUs a node offers says little: a share of time slicing counts as one, so does a MIG device under the name
`nvidia.com/gpu`, and one under its own name counts as none. So GPUs are counted by their meters, and each is borne as
its idle energy is, which the agent shares out by what is held of it: whole, by shares, or by MIG's slices.
"""

from __future__ import annotations

from carbonbudget_core.exact import share_list
from carbonbudget_operator.allocation.slice_allocation import reserve
from carbonbudget_operator.ledger.facts import NodeSlice


def gpu_count(slice_: NodeSlice) -> int:
    """The GPUs that were metered on the node; without a meter those that it offers to pods."""
    return len(_gpus(slice_)) or slice_.node.gpus


def share_gpus(total_ug: int, slice_: NodeSlice) -> tuple[list[int], int]:
    """The part of each group, and what nobody bears. Where no holder is known: by the GPUs that were requested."""
    groups, gpus = slice_.groups, _gpus(slice_)
    held = {gpu: [group.idle_uj.get(gpu, 0) for group in groups] for gpu in gpus}
    if not any(map(any, held.values())):
        capacity = max(slice_.node.gpus, len(gpus)) * slice_.duration_ms
        return reserve(total_ug, [group.gpu_reserved_ms for group in groups], capacity)
    shares, nobody = [0] * len(groups), 0
    for gpu, gpu_ug in zip(gpus, share_list(total_ug, [1] * len(gpus)), strict=True):
        weights = [*held[gpu], slice_.domains[gpu].idle_uj]
        if not any(weights):  # held by a pod that has no name
            nobody += gpu_ug
            continue
        *parts, free = share_list(gpu_ug, weights)
        shares = [share + part for share, part in zip(shares, parts, strict=True)]
        nobody += free
    return shares, nobody


def _gpus(slice_: NodeSlice) -> list[str]:
    return sorted(name for name in slice_.domains if name.startswith("gpu:"))
