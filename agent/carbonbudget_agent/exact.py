"""Exact division: an integer is shared out so that the parts add up to it, to the last unit.

Every conservation law of the project rests on this one function; it is shared by attribution on the
node and by allocation and valuation in the server (docs/architecture.md says why it lives here).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

K = TypeVar("K", str, int, tuple[str, ...])


def share_out(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Share `total` by `weights` with the largest-remainder method, ties going to the smaller key.

    Both are non-negative integers of any unit; the result has the keys of `weights` in their order
    and sums to `total` exactly. More weight never gets less, and the order of keys does not matter.

    Raises:
        ValueError: a negative number, or nothing to share by while `total` is not 0. The caller
            decides who bears an energy that nobody used; this function never guesses.
    """
    weight_sum = sum(weights.values())
    if total < 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError("share_out takes non-negative integers only")
    if weight_sum == 0:
        if total:
            raise ValueError(f"nothing to share {total} by: the weights are all zero")
        return dict.fromkeys(weights, 0)
    shares: dict[K, int] = {}
    remainders: list[tuple[int, K]] = []
    for key, weight in weights.items():
        shares[key], remainder = divmod(total * weight, weight_sum)
        if remainder:
            remainders.append((-remainder, key))
    left = total - sum(shares.values())
    if left:
        remainders.sort()
        for _, key in remainders[:left]:
            shares[key] += 1
    return shares
