"""The power sources of a node, one file each; every one turns two raw readings into energy per domain.

A meter keeps no state between readings: `read` gives raw counters, `energy` compares two of them. The
same comparison then serves a tick of five seconds and the gap after a restart, whose first half comes
from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

Counters = Mapping[str, int]


class MeterError(Exception):
    """A meter cannot be read or its readings cannot be compared; one line says why."""


@dataclass(frozen=True, slots=True)
class DomainEnergy:
    """What one domain drew between two readings, in microjoules.

    `idle_uj` is None where the meter cannot tell it (a counter): then a baseline is learned. A model
    gives its range in `low_uj` and `high_uj`; a counter has none.
    """

    name: str
    method: str
    boundary: str
    energy_uj: int
    idle_uj: int | None = None
    low_uj: int | None = None
    high_uj: int | None = None


class Meter(Protocol):
    """One power source."""

    name: str

    def read(self) -> Counters:
        """Raw cumulative counters by the meter's own keys. Raises MeterError."""

    def energy(self, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """Energy per domain between two readings; raises MeterError rather than guess."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What was looked for, whether it is here, and the sentence that says why or why not."""

    name: str
    meter: Meter | None
    reason: str
