"""Charges the energy of shared namespaces, such as kube-system and monitoring, to the other namespaces. Pure.

Figures are lists of integers in any unit. Each column is divided separately, so that its total does not change. The
energy of a shared namespace becomes overhead of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy, Shared
from carbonbudget_operator.special_namespaces import is_special


def share_namespaces(
    namespaces: Sequence[str],
    figures: Sequence[list[int]],
    weigh: Callable[[list[int]], int],
    to_overhead: Sequence[int],
    policy: AllocationPolicy,
) -> set[int]:
    """Move the figures of shared namespaces to the other rows, in place. Returns the indexes of the emptied rows.

    `namespaces` and `figures` have one entry for each row. Special rows (named `__...__`) are neither charged nor
    shared. `weigh` returns the weight of a row for `proportional`. `to_overhead[i]` is the column that receives column
    i of a shared row. If no row can be charged, the shared namespace keeps its figures.
    """
    rules = {name: rule for name, rule in policy.shared.items() if rule != "separate"}
    emptied: set[int] = set()
    charged = [i for i, name in enumerate(namespaces) if name not in rules and not is_special(name)]
    for namespace, rule in sorted(rules.items()):
        rows = [i for i, name in enumerate(namespaces) if name == namespace]
        weights = _weights(rule, charged, namespaces, figures, weigh)
        if not rows or not any(weights):
            continue
        columns = [sum(column) for column in zip(*(figures[i] for i in rows), strict=True)]
        booked = [0] * len(columns)
        for column, total in enumerate(columns):
            booked[to_overhead[column]] += total
        for column, total in enumerate(booked):
            if total:
                for i, part in zip(charged, share_list(total, weights), strict=True):
                    figures[i][column] += part
        for i in rows:
            figures[i][:] = [0] * len(columns)
        emptied.update(rows)
    return emptied


def _weights(
    rule: Shared,
    charged: Sequence[int],
    namespaces: Sequence[str],
    figures: Sequence[list[int]],
    weigh: Callable[[list[int]], int],
) -> list[int]:
    own = [weigh(figures[i]) for i in charged]
    if rule == "proportional":
        return own
    # By namespace. Within a namespace, in proportion to the weights of its rows, or equally if all of them are 0.
    members: dict[str, list[int]] = {}
    for at, i in enumerate(charged):
        members.setdefault(namespaces[i], []).append(at)
    weights = [0] * len(charged)
    for name, positions in members.items():
        weight = rule.get(name, 0) if isinstance(rule, Mapping) else 1
        inside = [own[at] for at in positions]
        for at, part in zip(
            positions, share_list(weight << 40, inside if any(inside) else [1] * len(inside)), strict=True
        ):
            weights[at] = part
    return weights
