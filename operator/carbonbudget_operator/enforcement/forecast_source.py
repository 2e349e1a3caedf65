"""Asks the server for the forecast by which starts are chosen, while Jobs wait for theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from carbonbudget_operator.enforcement.deferral_forecast import (
    FORECAST_SECONDS,
    FORMER_SECONDS,
    DeferralForecast,
    forecast_of,
)
from carbonbudget_operator.logs import FailureLog
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
REFRESH_SECONDS: Final = 600
_RETRY_SECONDS: Final = 60


class ForecastSource:
    """The newest forecast. It is kept while the server is away, so that starts are chosen by what was known last."""

    def __init__(self, server: ServerClient, now: Callable[[], float]) -> None:
        self._server, self._now = server, now
        self._failing = FailureLog()
        self.newest: DeferralForecast | None = None
        self.namespaces: frozenset[str] = frozenset()
        """The namespaces in which Jobs wait: the forecast is asked for while there are any."""
        self.wanted = asyncio.Event()
        self.changed = asyncio.Event()

    def want(self, namespaces: Collection[str]) -> None:
        """Jobs of these namespaces wait."""
        self.namespaces = frozenset(namespaces)
        if self.namespaces:
            self.wanted.set()
        else:
            self.wanted.clear()

    async def run(self) -> None:
        """Ask every ten minutes while there are Jobs that wait, each minute while there is no answer; never returns."""
        while True:
            await self.wanted.wait()
            await asyncio.sleep(REFRESH_SECONDS if await self.refresh() else _RETRY_SECONDS)

    async def refresh(self) -> bool:
        """Ask now, and return whether a forecast was given."""
        now = int(self._now())
        try:
            rows = await self._server.intensity(now - FORMER_SECONDS, now + FORECAST_SECONDS)
        except ServerUnavailable as error:
            self._log_failure(str(error))
            return False
        try:
            projection = await self._server.projection()
        except ServerUnavailable:
            projection = None  # starts are chosen without grams
        found = forecast_of(rows, projection, now, self.namespaces)
        if found is None:
            self._log_failure("it knows no zone of the nodes")
            return False
        if self._failing.ends("forecast"):
            _log.info("the server gives a forecast of the grid's intensity again")
        self.newest = found
        self.changed.set()
        return True

    def _log_failure(self, reason: str) -> None:
        if self._failing.begins("forecast"):
            _log.warning("no forecast of the grid's intensity, deferred Jobs start by the last one: %s", reason)
