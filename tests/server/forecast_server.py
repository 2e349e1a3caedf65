"""The whole server with three weeks of hourly intensities, and the controller's client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ledger.reports import HOUR as T0
from tests.ledger.reports import a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.intensity_settings import HttpJsonSettings, IntensitySettings
from carbonbudget_operator.ledger.intensity_store import claim_poll, store_intensities
from carbonbudget_operator.server_client import ServerAnswer, ServerClient
from carbonbudget_operator.settings import CarbonSettings

HOUR = 3600
DAY = 24 * HOUR
CLEAN_HOUR = 5  # of the day, UTC
CARBON = CarbonSettings(
    zone="DE",
    pue=1.0,
    intensity=IntensitySettings(
        sources=[HttpJsonSettings(name="net", url="https://x/{zone}", value="v", time="t", basis="lifecycle")]
    ),
)


class FaceClient(ServerClient):
    """Asks the application itself, as the controller's account; away while `away` is set."""

    def __init__(self, face: Face, token: str = "user:controller@*") -> None:
        super().__init__("https://server", None, lambda: "")
        self._face, self._token = face, token
        self.away = False

    async def _send(
        self, method: str, path: str, data: str | None, headers: dict[str, str], seconds: float
    ) -> ServerAnswer:
        if self.away:
            return ServerAnswer(503, {}, b'{"reason": "starting"}')
        answer = await self._face.client.request(
            method, path, content=data, headers={"Authorization": f"Bearer {self._token}"} | headers
        )
        return ServerAnswer(answer.status_code, answer.headers, answer.content)


@asynccontextmanager
async def a_forecasting_server(directory: Path, carbon: CarbonSettings = CARBON) -> AsyncIterator[Face]:
    """For three weeks one hour of each day was a quarter of the others; now is the day after, ten minutes past T0.

    The source is called `net`.
    """
    async with a_face(f"sqlite:///{directory}/ledger.db", carbon=carbon) as face:
        assert (await face.report(a_report(T0, "node-1", {"pod-1": 10**9}))).status_code == 200
        claim_poll(face.engine, "net", "DE", T0, 60)
        hours = range(T0 - 21 * DAY, T0 + HOUR, HOUR)
        figures = {at: (100_000 if at // HOUR % 24 == CLEAN_HOUR else 400_000, False) for at in hours}
        store_intensities(face.engine, "net", "DE", "lifecycle", figures, T0 + 60, 2)
        face.clock[0] = T0 + 600
        yield face
