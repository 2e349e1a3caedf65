"""The power sources of a node, one file each; every one turns two raw readings into energy per domain.

A meter keeps no state between readings: `read` gives raw counters, `energy` compares two of them. The
same comparison then serves a tick of five seconds and the gap after a restart, whose first half comes
from the checkpoint. What fails together is a unit: the packages of RAPL, or one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Counters = Mapping[str, int]


class MeterError(Exception):
    """A unit cannot be read or its readings cannot be compared; one line says why."""


class ImplausibleError(MeterError):
    """A reading says what its device cannot have drawn: a counter that stepped back or jumped."""


@dataclass(frozen=True, slots=True)
class CounterReading:
    """A unit's raw counters and the moment they were read, in milliseconds of the boot's own clock."""

    steady_ms: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class MeterReading:
    """The counters of each unit that could be read, and for the others why not."""

    counters: Mapping[str, Counters]
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DomainEnergy:
    """What one domain drew between two readings `elapsed_ms` apart, in microjoules.

    `idle_uj` is None where the meter cannot tell it (a counter): then a baseline is learned. A model
    gives its range in `low_uj` and `high_uj`; a counter has none. `doubt` is a sentence if another sensor
    says that this figure cannot be right: it stands, is counted and told. `kind_idle_uj` is what others of
    its kind draw idle, for a device that does not tell how busy it was.
    """

    name: str
    method: str
    boundary: str
    elapsed_ms: int
    energy_uj: int
    idle_uj: int | None = None
    low_uj: int | None = None
    high_uj: int | None = None
    doubt: str = ""
    kind_idle_uj: int | None = None


class Meter(Protocol):
    """One kind of power source, with one or more units."""

    name: str

    def read(self, busy_us: int) -> MeterReading:
        """Raw counters by unit. `busy_us`: the node's busy CPU time, which a model works on."""

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """Energy per domain between two readings of a unit; raises MeterError rather than guess."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What was looked for, which kinds of domain it measures, and the sentence that says why or why not."""

    name: str
    meter: Meter | None
    reason: str
    kinds: tuple[str, ...] = ()
