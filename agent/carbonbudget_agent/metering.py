"""Reads all meters of the node and computes the energy between two readings. A failure of one unit affects no other.

A unit that cannot be read keeps its previous reading. When it can be read again, its counter includes the energy
meanwhile, and that is counted then. Readings that cannot be compared have no energy: nothing is estimated.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from carbonbudget_agent.meters import CounterReading, DomainEnergy, ImplausibleError, Meter, MeterError
from carbonbudget_agent.work_counters import WorkCounters

_log = logging.getLogger(__name__)
# No part of one node draws more: a reading above it is a defect of the counter (and the server would
# refuse the whole report, whose limit is the same).
_MAX_WATTS = 20_000
# The report after an absence covers all of that time. The server rejects a report over weeks or of too many rows, and
# the pods of today are not those of then.
_LONGEST_AWAY_MS = 86_400_000


class Metering:
    """All meters of a node. Each failure is counted, and logged once until the unit works again."""

    def __init__(self, meters: Sequence[Meter], counts: WorkCounters) -> None:
        self._meters, self._counts = meters, counts
        self._owner: dict[str, Meter] = {}
        self._failing: dict[str, str] = {}
        self._implausible: set[str] = set()

    def read(self, steady_ms: int, busy_us: int, last: Mapping[str, CounterReading]) -> dict[str, CounterReading]:
        """The reading of each unit that was ever read; for a unit that fails now, its reading in `last`."""
        readings = dict(last)
        for meter in self._meters:
            found = meter.read(busy_us)
            for unit, counters in found.counters.items():
                self._owner[unit] = meter
                readings[unit] = CounterReading(steady_ms, counters)
                if self._failing.pop(f"read {unit}", None):
                    _log.info("meter %s works again", unit)
            for unit, reason in found.failed.items():
                self._log_once(f"read {unit}", f"meter {unit}: {reason}; its energy is counted when it answers again")
        return readings

    def energies(
        self, before: Mapping[str, CounterReading], after: Mapping[str, CounterReading], looked_ms: int = 0
    ) -> list[DomainEnergy]:
        """What each domain drew between two sets of readings; `looked_ms` is the time between the two samples.

        A unit that could not be read for more than a day longer than that has no figure.
        """
        found: list[DomainEnergy] = []
        for unit, later in after.items():
            earlier, meter = before.get(unit), self._owner.get(unit)
            if earlier is None or meter is None or later.steady_ms <= earlier.steady_ms:
                continue
            elapsed_ms = later.steady_ms - earlier.steady_ms
            try:
                if elapsed_ms > looked_ms + _LONGEST_AWAY_MS:
                    raise MeterError("it could not be read for more than a day")
                domains = meter.energy(unit, earlier.counters, later.counters, elapsed_ms)
                for domain in domains:
                    if domain.energy_uj > _MAX_WATTS * 1000 * domain.elapsed_ms:
                        raise ImplausibleError(f"{domain.name} seems to draw more than {_MAX_WATTS // 1000} kW")
                found += domains
                self._doubt(unit, next((domain.doubt for domain in domains if domain.doubt), ""))
                self._failing.pop(f"compare {unit}", None)
            except ImplausibleError as error:
                self._log_implausible(unit, error)
            except (MeterError, KeyError) as error:
                self._log_once(f"compare {unit}", f"meter {unit}: {error}; this time has no figure")
        return found

    def _log_implausible(self, unit: str, error: ImplausibleError) -> None:
        """Count it, and log it once for each unit: a counter that goes back does so again and again."""
        self._counts.meter_errors += 1
        self._counts.meter_implausible += 1
        if unit not in self._implausible:
            _log.error(
                "meter %s: %s; this time has no figure, like all later ones of this kind, which are counted in "
                "carbonbudget_agent_meter_implausible", unit, error,
            )  # fmt: skip
        self._implausible.add(unit)

    def _doubt(self, unit: str, doubt: str) -> None:
        if not doubt:
            self._failing.pop(f"doubt {unit}", None)
            return
        self._counts.meter_doubts += 1
        if f"doubt {unit}" not in self._failing:
            _log.warning("meter %s: %s; the figure stands", unit, doubt)
        self._failing[f"doubt {unit}"] = doubt

    def _log_once(self, key: str, message: str) -> None:
        self._counts.meter_errors += 1
        if key not in self._failing:
            _log.error("%s", message)
        self._failing[key] = message
