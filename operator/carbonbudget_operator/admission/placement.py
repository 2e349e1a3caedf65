"""Whether a pod template may run on nodes on which the former one may not. Pure.

A DaemonSet runs a pod on each node that its template allows, so that a wider template is growth. Which nodes there are
is not looked at.
"""

from __future__ import annotations

from carbonbudget_core.jsons import JsonObject, at, items, mapping


def widened(before: JsonObject, after: JsonObject) -> bool:
    """True if a pair of nodeSelector is left out or changed, a required node affinity changed, or a toleration new.

    `before` and `after` are pod specs. A new pair and a new affinity narrow. A changed affinity counts as wider,
    because comparing two of them needs the nodes.
    """
    selector, affinity = mapping(after.get("nodeSelector")), _required(before)
    return (
        any(selector.get(key) != value for key, value in mapping(before.get("nodeSelector")).items())
        or any(toleration not in _tolerations(before) for toleration in _tolerations(after))
        or bool(affinity and affinity != _required(after))
    )


def _tolerations(spec: JsonObject) -> list[object]:
    return items(spec.get("tolerations"))


def _required(spec: JsonObject) -> JsonObject:
    required = at(spec, "affinity", "nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution")
    return mapping(required)
