"""Reads all meters of the node and compares their readings; a unit that fails hinders no other.

A unit that cannot be read keeps its former stamp: when it comes back, its counter knows what it drew
meanwhile, and that is booked then. Nothing is guessed: what cannot be compared has no energy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.meters import CounterReading, DomainEnergy, ImplausibleError, Meter, MeterError

_log = logging.getLogger(__name__)
# No part of one node draws more: a reading above it is a defect of the counter (and the server would
# refuse the whole report, whose limit is the same).
_MAX_WATTS = 20_000
# The report of its return reaches back as far, with all that is in it: the server refuses one that goes back weeks,
# or is too many rows, and who works and holds now says nothing of who did then.
_LONGEST_AWAY_MS = 86_400_000


class Metering:
    """The node's meters as one. Each failure is counted, and told once until the unit works again."""

    def __init__(self, meters: Sequence[Meter], counts: Counts) -> None:
        self._meters, self._counts = meters, counts
        self._owner: dict[str, Meter] = {}
        self._failing: dict[str, str] = {}
        self._implausible: set[str] = set()

    def read(self, steady_ms: int, busy_us: int, last: Mapping[str, CounterReading]) -> dict[str, CounterReading]:
        """A stamp of each unit that was ever read; of one that fails now, the `last` it had."""
        stamps = dict(last)
        for meter in self._meters:
            reading = meter.read(busy_us)
            for unit, counters in reading.counters.items():
                self._owner[unit] = meter
                stamps[unit] = CounterReading(steady_ms, counters)
                if self._failing.pop(f"read {unit}", None):
                    _log.info("meter %s works again", unit)
            for unit, reason in reading.failed.items():
                self._tell(f"read {unit}", f"meter {unit}: {reason}; its energy is booked when it answers again")
        return stamps

    def energies(
        self, before: Mapping[str, CounterReading], after: Mapping[str, CounterReading], looked_ms: int = 0
    ) -> list[DomainEnergy]:
        """What each domain drew between two sets of stamps, of which the later was made `looked_ms` after the former.

        A unit that was away for more than a day longer than that has no figure.
        """
        found: list[DomainEnergy] = []
        for unit, stamp in after.items():
            former, meter = before.get(unit), self._owner.get(unit)
            if former is None or meter is None or stamp.steady_ms <= former.steady_ms:
                continue
            elapsed_ms = stamp.steady_ms - former.steady_ms
            try:
                if elapsed_ms > looked_ms + _LONGEST_AWAY_MS:
                    raise MeterError("it could not be read for more than a day")
                domains = meter.energy(unit, former.counters, stamp.counters, elapsed_ms)
                for domain in domains:
                    if domain.energy_uj > _MAX_WATTS * 1000 * domain.elapsed_ms:
                        raise ImplausibleError(f"{domain.name} seems to draw more than {_MAX_WATTS // 1000} kW")
                found += domains
                self._doubt(unit, next((domain.doubt for domain in domains if domain.doubt), ""))
                self._failing.pop(f"compare {unit}", None)
            except ImplausibleError as error:
                self._refuse(unit, error)
            except (MeterError, KeyError) as error:
                self._tell(f"compare {unit}", f"meter {unit}: {error}; this stretch has no figure")
        return found

    def _refuse(self, unit: str, error: ImplausibleError) -> None:
        """No figure. A counter that steps back does so again and again: it is logged once for each unit."""
        self._counts.meter_errors += 1
        self._counts.meter_implausible += 1
        if unit not in self._implausible:
            _log.error(
                "meter %s: %s; this stretch has no figure, as all later ones of this kind, which are counted in "
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

    def _tell(self, what: str, sentence: str) -> None:
        self._counts.meter_errors += 1
        if what not in self._failing:
            _log.error("%s", sentence)
        self._failing[what] = sentence
