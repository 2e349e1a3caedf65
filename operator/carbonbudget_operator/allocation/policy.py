"""The policy of allocation: which pods are charged with idle, overhead and shared energy.

The settings `allocation` and the options of `carbonbudget allocate` choose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

Rule = Literal["proportional", "even", "separate"]
RULES: Final[tuple[Rule, ...]] = ("proportional", "even", "separate")
# How the energy of a shared namespace is charged to others: by a rule, or by weights of namespaces.
Shared = Rule | Mapping[str, int]


class PolicyError(ValueError):
    """The text of a policy is not valid. The message is one line and says what to write."""


class IdleRule(StrEnum):
    """Who is charged with a node's idle energy: what it draws while no pod works."""

    BY_REQUEST = "byRequest"  # by what each pod reserves or uses, whichever is more; the rest has a row of its own
    BY_USAGE = "byUsage"  # all of it, in proportion to own energy
    EVEN = "even"  # equally to each namespace that has a pod on the node in the slice
    SEPARATE = "separate"  # no pod: it has a row of its own


class OverheadRule(StrEnum):
    """Who is charged with the energy of the node's system processes and platform."""

    PROPORTIONAL = "proportional"  # in proportion to own energy on the node
    EVEN = "even"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class AllocationPolicy:
    """How facts become rows. With the defaults, the figures are those that budgets are evaluated by.

    `shared` maps the name of a shared namespace to a rule or to weights by namespace.
    """

    idle: IdleRule = IdleRule.BY_REQUEST
    overhead: OverheadRule = OverheadRule.PROPORTIONAL
    shared: Mapping[str, Shared] = field(default_factory=lambda: MappingProxyType({}))


def parse_shared(text: str) -> tuple[str, Shared]:
    """Parse one shared namespace and who is charged: `kube-system=proportional`, or `kube-system=team-a:2,team-b:1`.

    Raises:
        PolicyError: the text has another form.
    """
    namespace, _, rule = text.partition("=")
    if not namespace or not rule:
        raise PolicyError(f"{text!r}: write NAMESPACE=proportional, even, separate or TEAM:WEIGHT,TEAM:WEIGHT")
    for known in RULES:
        if rule == known:
            return namespace, known
    weights: dict[str, int] = {}
    for item in rule.split(","):
        name, _, weight = item.partition(":")
        if not name or not weight.isdecimal() or len(weight) > 7 or not 0 < int(weight) <= 10**6 or name == namespace:
            raise PolicyError(
                f"{text!r}: {item!r} must be another namespace with a weight from 1 to 1000000 (NAMESPACE:WEIGHT), "
                "or write one rule (proportional, even, separate)"
            )
        weights[name] = int(weight)
    return namespace, weights
