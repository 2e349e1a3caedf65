"""The counted hash: a short text that identifies what a budget's use is the sum of.

Two figures of one period are comparable only if they count the same pods, components and accounting. The generation of
an object cannot say that: it also changes with the limit, a threshold or a contact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Final

from carbonbudget_operator.budgets.coverage import Selector

_LENGTH: Final = 16  # hexadecimal digits


def counted_hash(
    namespace: str,
    selector: Selector | None,
    namespace_selector: Selector | None,
    *,
    per_workload: bool,
    accounting: str,
    include: Collection[str],
) -> str:
    """16 hexadecimal digits of the SHA-256 of what is counted. It is stored in statuses, so it must never change.

    `namespace`: empty for a ClusterCarbonBudget. `namespace_selector`: None for every namespace. `include` lists the
    components. The order of lists, and a default that is written out, make no difference. The period is not part of it:
    a verdict names the instants of its period, which are compared beside the hash.

    A field that a later version adds must be left out of the JSON while it has its default.
    """
    counted = {
        "accounting": accounting,
        "include": sorted(set(include)),
        "namespace": namespace,
        "namespaceSelector": None if namespace_selector is None else _requirements(namespace_selector),
        "perWorkload": per_workload,
        "selector": [] if selector is None else _requirements(selector),  # an empty selector selects every pod too
    }
    canonical = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_LENGTH]


def _requirements(selector: Selector) -> list[tuple[str, str, list[str]]]:
    """The selector's expressions, sorted; a label of matchLabels is the expression In with one value."""
    labels = {(key, "In", (value,)) for key, value in selector.match_labels.items()}
    expressions = {(one.key, one.operator, tuple(sorted(set(one.values)))) for one in selector.match_expressions}
    return [(key, operator, list(values)) for key, operator, values in sorted(labels | expressions)]
