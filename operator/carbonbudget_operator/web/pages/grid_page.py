"""The page of the grid: intensity by zone, its source and age, the greenest hours."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from carbonbudget_operator.web.charts.intensity_line import intensity_line
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown
from carbonbudget_operator.web.views.grid_view import forecasts, sources, zones

WINDOWS = (("24h", "24 hours"), ("3d", "3 days"), ("7d", "7 days"), ("30d", "30 days"))
_SECONDS: Final = {"24h": 86_400, "3d": 3 * 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
FORECAST_SECONDS: Final = 2 * 86_400  # that the page shows; the server has seven days


async def show_grid(handling: PageHandling, visit: Visit) -> Response:
    """All zones of the cluster's nodes, or those of the address."""
    window, zone = visit.given("window", "7d"), visit.given("zone")
    now = int(handling.now())
    span = [("from", str(now - _SECONDS[window])), ("to", str(now + FORECAST_SECONDS))] if window in _SECONDS else [
        ("window", window)
    ]  # fmt: skip
    query = [*span, ("limit", "50000"), *([("zone", zone)] if zone else [])]
    (answer,) = await visit.questions.ask(("/api/v1/intensity", query))
    if isinstance(answer, NotShown):
        raise answer
    found = zones(answer, now)
    return handling.page(
        "grid.html", visit, title="Grid", here="grid", zones=found, sources=sources(answer), window=window, zone=zone,
        windows=WINDOWS, forecasts=forecasts(answer), cut=answer.get("next") is not None,
        charts=[
            intensity_line(one.points, now, str(number), f"Grid intensity of {one.zone}", one.ranges)
            for number, one in enumerate(found)
        ],
    )  # fmt: skip
