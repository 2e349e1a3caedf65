"""Budgets as an API server would show them, and the statuses that evaluations write into them."""

from __future__ import annotations

import copy
from typing import Any

from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.namespace_labels import Namespaces

NOW = 1795460000  # 2026-11-23T18:53:20Z, a Monday
NOVEMBER, DECEMBER = 1793491200, 1796083200
Body = dict[str, Any]


def a_body(**spec: object) -> Body:
    return {
        "metadata": {"name": "monthly", "namespace": "team-a", "uid": "u", "generation": 3},
        "spec": {"limit": "5kg", "period": "Month"} | spec,
    }


def a_cluster_body(**spec: object) -> Body:
    return {
        "metadata": {"name": "all", "uid": "c", "generation": 1},
        "spec": {"limit": "5kg", "period": "Month"} | spec,
    }


def stored(body: Body) -> StoredBudget:
    """As the watch would show it."""
    return StoredBudget(BUDGET if "namespace" in body["metadata"] else CLUSTER_BUDGET, copy.deepcopy(body))


def namespaces(**labels: dict[str, str]) -> Namespaces:
    """A complete list; underscores in names stand for hyphens."""
    made = Namespaces()
    for name, given in labels.items():
        made.seen("ADDED", {"metadata": {"name": name.replace("_", "-"), "labels": given}})
    made.listed = True
    return made


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """A JSON merge patch, as an API server takes it."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            merge(target[key], value)
        else:
            target[key] = value
