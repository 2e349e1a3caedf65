"""The figures of one run, and carbonbudget's server, which has them."""

from __future__ import annotations

import os
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carbonbudget.bridge.json_http import Away, JsonHttp, Refused

PROVISIONAL = "provisional"
FINAL = "final"
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class TrackerFigures:
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


METRICS = tuple(TrackerFigures(0, 0, 0, 0, 0, FINAL).metrics())


class CarbonServer:
    """GET /api/v1/runs/{namespace}/{run}; the token's file is read anew for each question, since it is rotated."""

    def __init__(self, url: str, token_file: Path | None, ca: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
            raise ValueError("carbonbudget's server needs https://: the token would be sent in the clear")
        context = ssl.create_default_context(cadata=ca)
        self._http = JsonHttp("carbonbudget's server", url, {}, context)
        self._token_file = token_file

    def figures(self, namespace: str, run: str) -> TrackerFigures:
        """The run's figures. Raises Refused where there are none for this token, and Away."""
        path = f"/api/v1/runs/{urllib.parse.quote(namespace, safe='')}/{urllib.parse.quote(run, safe='')}"
        return figures_of(self._http.get(path, headers=self._authorization()))

    def _authorization(self) -> Mapping[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise Away(f"the token's file {self._token_file} cannot be read: {os.strerror(error.errno or 0)}") from None


def figures_of(answer: Any) -> TrackerFigures:
    """The figures in the server's answer. Raises Refused where they are not the whole run, Away where they are none."""
    try:
        row = answer["run"]
        if row["state"] not in (PROVISIONAL, FINAL):
            raise ValueError(row["state"])
        figures = TrackerFigures(
            energy_kwh=int(row["energy_uj"]) / 3.6e12,
            co2e_g=int(row["location_ug"]) / 1e6,
            co2e_market_g=int(row["market_ug"]) / 1e6,
            embodied_g=int(row["embodied_ug"]) / 1e6,
            measured_percent=float(row["measured_percent"] or 0),
            state=row["state"],
        )
        began_before = row["start"] <= answer["start"]  # both UTC in one format
    except (KeyError, TypeError, ValueError) as error:
        raise Away(
            f"carbonbudget's server answers a run without what is expected ({error!r}): are both of one version?"
        ) from None
    if began_before:
        raise Refused(
            0, f"it began before {answer['start']}, where the server's answer begins: its figures would be short"
        )
    return figures
