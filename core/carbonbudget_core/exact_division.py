"""Exact division: an integer is shared out so that the parts add up to it, to the last unit.

Every conservation law of the project rests on this one rule; it is shared by attribution on the
node and by allocation and valuation in the server (docs/architecture.md says why it lives here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", str, int, tuple[str, ...])


def share_list(total: int, weights: Sequence[int]) -> list[int]:
    """Share `total` by `weights` with the largest-remainder method, ties going to the smaller index.

    Both are non-negative integers of any unit; the parts are in the order of `weights` and sum to `total`
    exactly. More weight never gets less.

    Raises:
        ValueError: a negative number, or nothing to share by while `total` is not 0. The caller
            decides who is charged with energy that nobody used; this function does not.
    """
    if total < 0 or (weights and min(weights) < 0):
        raise ValueError("only non-negative integers can be shared out")
    if not total:
        return [0] * len(weights)
    weight_sum = sum(weights)
    if not weight_sum:
        raise ValueError(f"nothing to share {total} by: the weights are all zero")
    parts = [total * weight // weight_sum for weight in weights]
    left = total - sum(parts)
    if left:
        remainders = [total * weight % weight_sum for weight in weights]
        largest = sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)  # stable: ties by index
        for index in largest[:left]:
            parts[index] += 1
    return parts


def share_out(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """`share_list` by key, ties going to the smaller key: the order of keys does not matter.

    The result has the keys of `weights` in their order. Raises ValueError as `share_list` does.
    """
    keys = sorted(weights)
    parts = dict(zip(keys, share_list(total, [weights[key] for key in keys]), strict=True))
    return {key: parts[key] for key in weights}
