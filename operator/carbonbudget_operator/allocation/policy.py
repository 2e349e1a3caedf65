"""The policies of allocation, one small choice each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Idle(StrEnum):
    """Who bears the energy that a node draws with no pod working."""

    BY_REQUEST = "byRequest"  # by what each reserves or uses, whichever is more; the rest is nobody's
    BY_USAGE = "byUsage"  # all of it by own energy
    EVEN = "even"  # evenly per namespace with a pod there in the slice
    SEPARATE = "separate"  # nobody: a row of its own


class Overhead(StrEnum):
    """Who bears the node's system and platform energy."""

    PROPORTIONAL = "proportional"  # by own energy on that node
    EVEN = "even"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class Policy:
    """How rows are made of facts. The default is what the controller judges budgets by."""

    idle: Idle = Idle.BY_REQUEST
    overhead: Overhead = Overhead.PROPORTIONAL
