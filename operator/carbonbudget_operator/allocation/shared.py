"""Namespaces shared by all (kube-system, monitoring): the others bear them, by the sum so far. Pure.

Figures are lists of integers in any units; each is shared out for itself, so that each total stays what it
was. What a shared namespace bears becomes the others' overhead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from carbonbudget_core.exact import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy, Shared
from carbonbudget_operator.namespace_names import is_special


def share_namespaces(
    namespaces: Sequence[str],
    figures: Sequence[list[int]],
    weigh: Callable[[list[int]], int],
    to_overhead: Sequence[int],
    policy: AllocationPolicy,
) -> set[int]:
    """Move the figures of shared namespaces to the others, in place; the indexes of rows that are empty now.

    `namespaces` and `figures` run in parallel, one entry a row; special rows (named `__...__`) neither bear
    nor are borne. `weigh` gives a row's weight for `proportional`; `to_overhead[i]` is the column that
    column i of a shared row is booked to. A shared namespace that nobody can bear keeps its own rows.
    """
    rules = {name: rule for name, rule in policy.shared.items() if rule != "separate"}
    emptied: set[int] = set()
    bearers = [i for i, name in enumerate(namespaces) if name not in rules and not is_special(name)]
    for namespace, rule in sorted(rules.items()):
        rows = [i for i, name in enumerate(namespaces) if name == namespace]
        weights = _weights(rule, bearers, namespaces, figures, weigh)
        if not rows or not any(weights):
            continue
        columns = [sum(column) for column in zip(*(figures[i] for i in rows), strict=True)]
        booked = [0] * len(columns)
        for column, total in enumerate(columns):
            booked[to_overhead[column]] += total
        for column, total in enumerate(booked):
            if total:
                for i, part in zip(bearers, share_list(total, weights), strict=True):
                    figures[i][column] += part
        for i in rows:
            figures[i][:] = [0] * len(columns)
        emptied.update(rows)
    return emptied


def _weights(
    rule: Shared,
    bearers: Sequence[int],
    namespaces: Sequence[str],
    figures: Sequence[list[int]],
    weigh: Callable[[list[int]], int],
) -> list[int]:
    own = [weigh(figures[i]) for i in bearers]
    if rule == "proportional":
        return own
    # By namespace, and within one by what its rows bear so far, or evenly where they bear nothing.
    members: dict[str, list[int]] = {}
    for at, i in enumerate(bearers):
        members.setdefault(namespaces[i], []).append(at)
    weights = [0] * len(bearers)
    for name, positions in members.items():
        weight = rule.get(name, 0) if isinstance(rule, Mapping) else 1
        inside = [own[at] for at in positions]
        for at, part in zip(
            positions, share_list(weight << 40, inside if any(inside) else [1] * len(inside)), strict=True
        ):
            weights[at] = part
    return weights
