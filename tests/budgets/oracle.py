"""What a label selector selects, written from the Kubernetes documentation alone.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors

A pair of matchLabels is an element of matchExpressions with the operator In and that one value. All requirements are
ANDed. In selects what has the key with one of the values. NotIn selects what has the key with another value, and what
has no label with that key. Exists and DoesNotExist ask for the key alone. An empty selector selects everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

Labels = Mapping[str, str]


def selected(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """By sets of pairs: every requirement removes what it does not want."""
    if selector is None:
        return True
    as_terms = [{"key": k, "operator": "In", "values": [v]} for k, v in selector.get("matchLabels", {}).items()]
    pairs, keys = set(labels.items()), set(labels)
    wanted = {
        "In": lambda key, values: bool(pairs & {(key, value) for value in values}),
        "NotIn": lambda key, values: pairs.isdisjoint((key, value) for value in values),
        "Exists": lambda key, values: keys >= {key},
        "DoesNotExist": lambda key, values: keys.isdisjoint({key}),
    }
    terms = as_terms + list(selector.get("matchExpressions", []))
    return not [t for t in terms if not wanted[t["operator"]](t["key"], t.get("values", []))]


def possible(known: Labels, keys: frozenset[str], values: frozenset[str]) -> Iterator[Labels]:
    """Each way in which an object that has `known` may have more of these keys: not at all, or with any value."""
    missing = sorted(keys - known.keys())
    for chosen in product([None, "another-value", *sorted(values)], repeat=len(missing)):
        yield dict(known) | {key: value for key, value in zip(missing, chosen, strict=True) if value is not None}
