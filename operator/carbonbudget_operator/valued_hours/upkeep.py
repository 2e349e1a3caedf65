"""Upkeep: stores valued units, seals hours and deletes old data in the background. One failure does not stop the rest.

A unit that fails is set aside and tried again after an hour, then after twice as long, at most once a day; the other
units go on. A step that fails ends, and the other steps go on; so does one in which many units fail, since what fails
then may be all of them. Failures are counted; a unit's first one is logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge

from carbonbudget_operator.valued_hours.unit_calendar import Key
from carbonbudget_operator.valued_hours.upkeep_steps import UnitError, UpkeepSteps

_FIRST_PAUSE = 3600
_LONGEST_PAUSE = 86_400
_MOST_FAILURES = 10  # of a step in one round: the next round goes on with other units

_log = logging.getLogger(__name__)


class FailedUnits:
    """Units that failed, each with the UTC second from which it may be tried again and its pause in seconds."""

    def __init__(self) -> None:
        self._units: dict[Key, tuple[int, int]] = {}

    def fail(self, unit: Key, now: int) -> int:
        """Set a unit aside; for how many seconds."""
        _, previous = self._units.get(unit, (0, 0))
        pause = min(2 * previous or _FIRST_PAUSE, _LONGEST_PAUSE)
        self._units[unit] = (now + pause, pause)
        return pause

    def done(self, unit: Key) -> None:
        """A unit succeeded: its next failure is a first one."""
        self._units.pop(unit, None)

    def waiting(self, now: int) -> set[Key]:
        """The units that are not to be tried yet."""
        return {unit for unit, (until, _) in self._units.items() if now < until}


class Upkeep:
    """Runs each step of upkeep by itself."""

    def __init__(self, deriver: UpkeepSteps, registry: CollectorRegistry) -> None:
        self._deriver = deriver
        self._underived, self._unsealed = FailedUnits(), FailedUnits()
        self._failures = Counter(
            "carbonbudget_upkeep_failures", "Units and steps of upkeep that failed.", ["step"], registry=registry
        )
        self._last_success = Gauge(
            "carbonbudget_upkeep_last_success_timestamp_seconds", "UTC second of the last run without a failure.",
            ["step"], registry=registry,
        )  # fmt: skip
        self._restated = Counter(
            "carbonbudget_restated_hours", "Hours that other settings or bundled figures gave other figures.",
            registry=registry,
        )  # fmt: skip
        hours = Gauge(
            "carbonbudget_ledger_hours_unsealed", "Hours that should be sealed by now and are not.", registry=registry
        )
        hours.set_function(lambda: deriver.hours_unsealed)
        first = Gauge(
            "carbonbudget_ledger_first_unsealed_hour_timestamp_seconds",
            "Start of the first hour that should be sealed by now and is not, in UTC seconds; 0 without one.",
            registry=registry,
        )  # fmt: skip
        first.set_function(lambda: deriver.first_unsealed)
        for step in ("derive", "seal", "drop"):
            self._failures.labels(step)
            self._last_success.labels(step)

    async def run(self, now: int) -> None:
        """Value hours that are over, their days and months; seal old ones; drop the oldest.

        Raises:
            Exception: the first that ended a step, once all steps were tried.
        """
        errors: list[Exception] = []
        for name, step in (("derive", self._derive), ("seal", self._seal), ("drop", self._drop)):
            try:
                sound = await step(now)
            except Exception as error:
                self._failures.labels(name).inc()
                errors.append(error)
            else:
                if sound:
                    self._last_success.labels(name).set(time.time())
        if errors:
            raise errors[0]

    async def _derive(self, now: int) -> bool:
        await asyncio.to_thread(self._deriver.begin, now)
        try:
            return await self._each("derive", self._underived, now, self._deriver.step)
        finally:
            restated = self._deriver.take_restated()
            if restated is not None:
                self._restated.inc(len(restated.hours))
                _log.warning("%s", restated.sentence())

    async def _seal(self, now: int) -> bool:
        return await self._each("seal", self._unsealed, now, self._deriver.seal, self._underived.waiting(now))

    async def _drop(self, now: int) -> bool:
        await asyncio.to_thread(self._deriver.drop, now)
        return True

    async def _each(
        self, name: str, aside: FailedUnits, now: int, step: Callable[[int, Collection[Key]], Key | None],
        also: Collection[Key] = (),
    ) -> bool:  # fmt: skip
        """Take unit after unit, without those set aside and `also`; whether none is set aside.

        Raises:
            UnitError: one failed, and perhaps the database is away. The next round leaves it out.
        """
        failed = 0
        while failed < _MOST_FAILURES:
            waiting = aside.waiting(now)
            try:
                unit = await asyncio.to_thread(step, now, waiting.union(also))
            except UnitError as error:
                pause = aside.fail(error.unit, now)
                if error.away:
                    raise
                failed += 1
                self._failures.labels(name).inc()
                if pause == _FIRST_PAUSE:
                    _log.error("upkeep: %s: %s; tried again in an hour, the others go on", name, error)
                continue
            if unit is None:
                return not waiting
            aside.done(unit)
        return False
