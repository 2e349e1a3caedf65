"""Recognizes nodes on which no agent can run, such as serverless nodes, by their labels. Pure.

Such a node is not missing, but no figure contains the energy of its pods. Tenants cannot hide a node this way: only
its kubelet (limited by NodeRestriction), the cloud and the cluster's administrator can set its labels. A node that
sends reports is counted whatever its labels are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from carbonbudget_core.bundled_tables import bundled_rows

NOT_LINUX: Final = "not Linux"
BY_SETTING: Final = "server.nodes_without_agent"
OPTED_OUT: Final = "labelled carbonbudget.dev/agent=none"


@dataclass(frozen=True, slots=True)
class LabelWithoutAgent:
    """A label of nodes on which no agent runs, and the kind of these nodes, for people."""

    label: str
    value: str
    what: str


def kind_without_agent(labels: Mapping[str, object], more: Mapping[str, Sequence[str]]) -> str:
    """The kind of node if no agent can run on it; empty if one can.

    `more` is the setting `server.nodes_without_agent`: labels and their values. An empty list means any value.
    """
    for mark in labels_without_agent():
        if labels.get(mark.label) == mark.value:
            return mark.what
    if any(label in labels and (not values or labels[label] in values) for label, values in more.items()):
        return BY_SETTING
    return "" if labels.get("kubernetes.io/os", "linux") == "linux" else NOT_LINUX


@cache
def labels_without_agent() -> tuple[LabelWithoutAgent, ...]:
    """The bundled table of labels."""
    rows = bundled_rows("carbonbudget_operator", "cluster/data/nodes_without_agent.csv")
    return tuple(LabelWithoutAgent(row["label"], row["value"], row["what"]) for row in rows)


def kinds_without_agent() -> tuple[str, ...]:
    """All kinds that `kind_without_agent` can return."""
    return (*dict.fromkeys(mark.what for mark in labels_without_agent()), BY_SETTING, NOT_LINUX)
