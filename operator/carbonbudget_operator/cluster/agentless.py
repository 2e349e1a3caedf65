"""Nodes on which no agent can run, by their labels: what runs there has no energy in any figure. Pure.

A Node's labels are set by its kubelet, the cloud and the cluster's admin, never by a tenant: whoever could label nodes
could hide them. The kubelet's own labels are limited too (NodeRestriction), and a node that still reports is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from carbonbudget_core.tables import bundled_rows

NOT_LINUX: Final = "not Linux"
BY_SETTING: Final = "server.nodes_without_agent"
OPTED_OUT: Final = "labelled carbonbudget.dev/agent=none"


@dataclass(frozen=True, slots=True)
class AgentlessLabel:
    """A label of nodes on which no agent runs, and what such nodes are."""

    label: str
    value: str
    what: str


def without_agent(labels: Mapping[str, object], more: Mapping[str, Sequence[str]]) -> str:
    """What the node is if no agent belongs on it; empty if one does.

    `more` is the setting: labels and the values that mark such nodes, any value if none is given.
    """
    for mark in agentless_labels():
        if labels.get(mark.label) == mark.value:
            return mark.what
    if any(label in labels and (not values or labels[label] in values) for label, values in more.items()):
        return BY_SETTING
    return "" if labels.get("kubernetes.io/os", "linux") == "linux" else NOT_LINUX


@cache
def agentless_labels() -> tuple[AgentlessLabel, ...]:
    """The bundled table, each row with its source."""
    rows = bundled_rows("carbonbudget_operator", "cluster/data/nodes_without_agent.csv")
    return tuple(AgentlessLabel(row["label"], row["value"], row["what"]) for row in rows)


def kinds() -> tuple[str, ...]:
    """All that `without_agent` may answer but the empty text."""
    return (*dict.fromkeys(mark.what for mark in agentless_labels()), BY_SETTING, NOT_LINUX)
