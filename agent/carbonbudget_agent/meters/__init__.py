"""The meters of a node, one file each: RAPL, hwmon, NVML and a model. Each computes the energy between two readings.

A meter has no state between readings: `read` returns raw counters and `energy` compares two of them. So the same code
serves an interval of five seconds and the gap after a restart, whose first reading comes from the checkpoint. A unit is
what fails together: the packages of RAPL, or one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Counters = Mapping[str, int]


class MeterError(Exception):
    """A unit cannot be read or its readings cannot be compared; one line gives the reason."""


class ImplausibleError(MeterError):
    """A reading shows energy that its device cannot have drawn: a counter that went back or jumped."""


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

    `idle_uj` is None where the meter does not measure it (a counter): then a baseline is learned. A model has a range,
    `low_uj` to `high_uj`; a counter has none. `doubt` is a sentence if another sensor shows that this figure cannot be
    right: the figure is used, counted and logged. `kind_idle_uj` is the idle energy of other devices of its kind, for
    a device that does not report how busy it was.
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
        """Energy per domain between two readings of a unit. Raises MeterError if it cannot be computed exactly."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A meter that was searched for, the kinds of domain that it measures, and a sentence with the reason."""

    name: str
    meter: Meter | None
    reason: str
    kinds: tuple[str, ...] = ()
