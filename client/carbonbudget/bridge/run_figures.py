"""The figures of one run, and carbonbudget's server, which has them."""

from __future__ import annotations

import os
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from collections.abc import Mapping
from typing import Any

from carbonbudget.bridge.json_http import Away, JsonHttp, Refused

PROVISIONAL = "provisional"
FINAL = "final"


@dataclass(frozen=True)
class RunFigures:
    """Energy (kWh), emissions (g CO2e) and the measured share (per cent) of a run; `state` is provisional or final."""

    energy_kwh: float
    co2e_g: float
    co2e_market_g: float
    embodied_g: float
    measured_percent: float
    state: str

    def metrics(self) -> dict[str, float]:
        """The figures under the names that they have in every tracker."""
        return {
            "carbon/energy_kwh": self.energy_kwh,
            "carbon/co2e_g": self.co2e_g,
            "carbon/co2e_market_g": self.co2e_market_g,
            "carbon/embodied_g": self.embodied_g,
            "carbon/measured_percent": self.measured_percent,
        }


METRICS = tuple(RunFigures(0, 0, 0, 0, 0, FINAL).metrics())


class CarbonServer:
    """GET /api/v1/runs/{namespace}/{run}; the token's file is read anew for each question, since it is rotated."""

    def __init__(self, url: str, token_file: Path | None, ca: str | None = None) -> None:
        context = ssl.create_default_context(cadata=ca) if ca else None
        self._http = JsonHttp("carbonbudget's server", url, {}, context)
        self._token_file = token_file

    def figures(self, namespace: str, run: str) -> RunFigures | None:
        """The run's figures; None where the server knows no such run, or this token may not read it. Raises Away."""
        path = f"/api/v1/runs/{urllib.parse.quote(namespace, safe='')}/{urllib.parse.quote(run, safe='')}"
        try:
            return figures_of(self._http.get(path, headers=self._authorization()))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise Away(str(refused)) from None

    def _authorization(self) -> Mapping[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise Away(f"the token's file {self._token_file} cannot be read: {os.strerror(error.errno or 0)}") from None


def figures_of(answer: Any) -> RunFigures:
    """The figures in the server's answer. Raises Away where it is not one that this version reads."""
    try:
        state = answer["state"]
        if state not in (PROVISIONAL, FINAL):
            raise ValueError(state)
        return RunFigures(
            energy_kwh=int(answer["energy_uj"]) / 3.6e12,
            co2e_g=int(answer["location_ug"]) / 1e6,
            co2e_market_g=int(answer["market_ug"]) / 1e6,
            embodied_g=int(answer["embodied_ug"]) / 1e6,
            measured_percent=float(answer["measured_percent"] or 0),
            state=state,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Away(
            f"carbonbudget's server answers a run without what is expected ({error!r}): are both of one version?"
        ) from None
