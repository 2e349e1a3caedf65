"""Limits how often a pod, and all pods of a namespace, ask in a minute, and how much. In memory, for one server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal

_MAX_ENTRIES: Final = 50_000
_LONGEST_WAIT_SECONDS: Final = 3_600.0


class RequestRates:
    """At most `per_minute` requests of each name: evenly, or at once after a minute without any."""

    def __init__(
        self, what: str, per_minute: int, setting: str, clock: Callable[[], float] = time.monotonic,
        unit: str = "requests",
    ) -> None:  # fmt: skip
        """`what` they are called in a refusal, and what is counted; `setting` is where the limit is set.

        `clock` returns seconds.
        """
        self._what, self._per_minute, self._setting, self._clock = what, per_minute, setting, clock
        self._unit = unit
        self._full_at: dict[str, float] = {}  # when all of a name's requests are free again

    def take(self, name: str, number: int = 1) -> None:
        """Count so many. Raises Refusal 429, with the seconds until they are free. More than a minute's are as many.

        A refusal counts nothing.
        """
        now, each = self._clock(), 60.0 * min(number, self._per_minute) / self._per_minute
        full_at = max(self._full_at.get(name, now), now)
        if full_at - now > 60.0 - each + 1e-6:
            seconds = int(full_at - now - 60.0 + each) + 1
            raise Refusal(
                429,
                "rate",
                f"{self._what} {name} sends more than {self._per_minute} {self._unit} a minute ({self._setting}): "
                f"try again in {seconds} s",
                seconds,
            )
        self._store(name, full_at + each, now)

    def charge(self, name: str, number: int) -> None:
        """Count so many more of what was taken already, all of them. Never refuses: the next `take` waits for them.

        For what is known only after a request was let in. If that could be refused, its sender would pay for the part
        that was taken at each attempt, and a request that needs more than a minute's would never pass. The wait is an
        hour at most.
        """
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now)
        self._store(
            name, max(full_at, min(full_at + 60.0 * number / self._per_minute, now + _LONGEST_WAIT_SECONDS)), now
        )

    def _store(self, name: str, full_at: float, now: float) -> None:
        if len(self._full_at) >= _MAX_ENTRIES:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            if len(self._full_at) >= _MAX_ENTRIES:
                self._full_at.clear()
        self._full_at[name] = full_at
