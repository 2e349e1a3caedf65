"""The policies of allocation, one small choice each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

Rule = Literal["proportional", "even", "separate"]
RULES: Final[tuple[Rule, ...]] = ("proportional", "even", "separate")
# How a shared namespace is borne: by a rule, or by the weights of the namespaces that bear it.
Shared = Rule | Mapping[str, int]


class PolicyError(ValueError):
    """A policy that is none; one line says what to write."""


class IdleRule(StrEnum):
    """Who bears the energy that a node draws with no pod working."""

    BY_REQUEST = "byRequest"  # by what each reserves or uses, whichever is more; the rest is nobody's
    BY_USAGE = "byUsage"  # all of it by own energy
    EVEN = "even"  # evenly per namespace with a pod there in the slice
    SEPARATE = "separate"  # nobody: a row of its own


class OverheadRule(StrEnum):
    """Who bears the node's system and platform energy."""

    PROPORTIONAL = "proportional"  # by own energy on that node
    EVEN = "even"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class AllocationPolicy:
    """How rows are made of facts. The default is what the controller judges budgets by."""

    idle: IdleRule = IdleRule.BY_REQUEST
    overhead: OverheadRule = OverheadRule.PROPORTIONAL
    shared: Mapping[str, Shared] = field(default_factory=lambda: MappingProxyType({}))


def parse_shared(text: str) -> tuple[str, Shared]:
    """One shared namespace and who bears it: `kube-system=proportional`, or `=team-a:2,team-b:1`.

    Raises PolicyError.
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
        if not name or not weight.isdecimal() or not 0 < int(weight) <= 10**6 or name == namespace:
            raise PolicyError(
                f"{text!r}: {item!r} is no other NAMESPACE:WEIGHT with a whole weight, nor a rule "
                "(proportional, even, separate)"
            )
        weights[name] = int(weight)
    return namespace, weights
