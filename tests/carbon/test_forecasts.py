"""Forecasts of sources against a local server that answers as their documentation says, and worse."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.carbon.answering import Answer, Answering, answering
from tests.carbon.test_sources import DAY, HOUR, half, maps, quick, written

from carbonbudget_operator.carbon.intensity.expected_hours import MOST_HOURS_AHEAD, expected_hours
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import ForecastingSource, IntensitySourceError
from carbonbudget_operator.carbon.intensity.neso import Neso


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return written(tmp_path / "key", "s3cret\n")


def hour(value: object, at: int = 16, **more: Any) -> dict[str, Any]:
    return {"carbonIntensity": value, "datetime": f"2025-11-24T{at:02}:00:00.000Z", **more}


def body(*forecast: Any, **more: Any) -> dict[str, Any]:
    return {"zone": "DE", "forecast": list(forecast), "updatedAt": "2025-11-24T15:40:00.000Z", **more}


async def expected(source: ForecastingSource, zone: str = "DE", start: int = HOUR) -> dict[int, int]:
    return expected_hours(source.name, await source.forecast(zone, start), start)


async def test_electricity_maps_forecasts_by_the_hour_as_far_as_it_is_asked(server: Answering, key_file: Path) -> None:
    # It begins with the hour that runs, which is no hour to come.
    server.answers = [Answer(body(hour(300, 15), hour(311.5), hour(None, 17), hour(180, 18)))]
    assert await expected(maps(server, key_file)) == {HOUR: 311_500, HOUR + 7200: 180_000}
    (asked,) = server.asked
    assert (asked.path, asked.headers["auth-token"]) == ("/v3/carbon-intensity/forecast", "s3cret")
    assert asked.params == {
        "zone": "DE", "emissionFactorType": "lifecycle", "temporalGranularity": "hourly", "disableCallerLookup": "true",
        "horizonHours": "72",
    }  # fmt: skip


async def test_nesos_half_hours_are_averaged_and_its_words_ignored(server: Answering) -> None:
    items = [half("15:30", "16:00", None, 90), half("16:00", "16:30", None, 180), half("16:30", "17:00", None, 211)]
    server.answers = [Answer({"data": [*items, half("17:00", "17:30", None, 999)]})]  # half of an hour is none
    assert await expected(Neso(quick("neso"), server.url), "GB") == {HOUR: 195_500}
    assert server.asked[0].path == "/intensity/2025-11-24T16:01Z/fw48h"
    assert "auth-token" not in server.asked[0].headers


async def test_what_neso_calls_actual_is_no_forecast(server: Answering) -> None:
    server.answers = [Answer({"data": [half("16:00", "16:30", 5, 180), half("16:30", "17:00", 5, 180)]})]
    assert await expected(Neso(quick("neso"), server.url), "GB") == {HOUR: 180_000}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (body(hour(50), zone="FR"), "asked for zone DE, the answer is for FR"),
        ({"forecast": [hour(50)]}, "asked for zone DE, the answer is for None"),
        (body(hour(50, zone="FR")), "asked for zone DE, the answer is for FR"),
        (body(hour(50), emissionFactorType="direct"), "asked for emissionFactorType lifecycle, the answer is for dire"),
        (body(hour(50, emissionFactorType="direct")), "asked for emissionFactorType lifecycle, the answer is for dire"),
        (body(hour(50), temporalGranularity="15_minutes"), "the forecast is '15_minutes', not hourly"),
        (body(hour(-4)), "-4 g/kWh cannot be"),
        (body(hour(1e9)), "cannot be"),
        (body(hour(10**400)), "inf g/kWh cannot be"),
        (body(hour(float("nan"))), "nan g/kWh cannot be"),
        (body(hour(float("inf"))), "cannot be"),
        (body(hour("50")), "no number"),
        (body(hour(True)), "no number"),
        (body(hour(50), hour(60)), "the forecast repeats 2025-11-24T16:00:00Z"),
        (body(hour(50, 17), hour(60, 16)), "the forecast is not in order at 2025-11-24T16:00:00Z"),
        (body({**hour(50), "datetime": "2025-11-24T16:30:00Z"}), "begins at 2025-11-24T16:30:00Z, not at a full hour"),
        (body({**hour(50), "datetime": "tomorrow"}), "'tomorrow' is no time"),
        (body({"datetime": "2025-11-24T16:00:00Z"}), "the answer has no 'carbonIntensity'"),
        (body(), "the forecast has no hour from 2025-11-24T16:00:00Z on"),
        (body(hour(None)), "the forecast has no hour"),
        (body(hour(300, 15)), "the forecast has no hour"),
        (body({**hour(300), "datetime": "2035-11-24T16:00:00Z"}), "the forecast has no hour"),
        ({"zone": "DE", "forecast": 3}, "'forecast' is no list"),
        ({"zone": "DE", "forecast": [3]}, "the answer has no 'carbonIntensity'"),
        ({"zone": "DE", "history": [hour(50)]}, "the answer has no 'forecast'"),
        ([], "asked for zone DE"),
        (b"<html>Sign in</html>", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"0" * (5 * 2**20), "longer than"),
    ],
)
async def test_a_forecast_that_cannot_be_used_is_refused_with_one_line(
    answer: Any, says: str, server: Answering, key_file: Path
) -> None:
    server.answers = [Answer(answer)]
    with pytest.raises(IntensitySourceError) as error:
        await expected(maps(server, key_file))
    assert says in str(error.value)
    assert str(error.value).startswith("electricityMaps: ")
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([half("16:00", "17:00", None)], "a figure is not for half an hour"),
        ([half("16:00", "16:30", None), half("16:00", "16:30", None)], "the forecast repeats 2025-11-24T16:00:00Z"),
        ([half("16:30", "17:00", None), half("16:00", "16:30", None)], "the forecast is not in order"),
        ([half("16:15", "16:45", None), half("16:45", "17:15", None)], "begins at 2025-11-24T16:45:00Z, not at a full"),
        ([half("16:00", "16:30", None, -1)], "-1 g/kWh cannot be"),
        ([{"from": "2025-11-24T16:00Z", "to": "2025-11-24T16:30Z", "intensity": {}}], "has no 'intensity.forecast'"),
        ([half("16:00", "16:30", None, None)], "the forecast has no hour"),
    ],
)
async def test_half_hours_that_cannot_be_used_are_refused(items: list[Any], says: str, server: Answering) -> None:
    server.answers = [Answer({"data": items})]
    with pytest.raises(IntensitySourceError) as error:
        await expected(Neso(quick("neso"), server.url), "GB")
    assert says in str(error.value)


async def test_a_direct_forecast_has_to_say_that_it_is_one(server: Answering, key_file: Path) -> None:
    """The documented answer does not name its kind, and the documented default is life-cycle."""
    server.answers = [Answer(body(hour(50))), Answer(body(hour(50), emissionFactorType="direct"))]
    source = maps(server, key_file, "direct")
    with pytest.raises(IntensitySourceError, match="asked for emissionFactorType direct, the answer is for lifecycle"):
        await expected(source)
    assert await expected(source) == {HOUR: 50_000}
    assert {asked.params["emissionFactorType"] for asked in server.asked} == {"direct"}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_plan_without_forecasts_is_said_and_not_asked_again(
    status: int, server: Answering, key_file: Path
) -> None:
    server.answers = [Answer({"error": "s3cret may not"}, status)]
    with pytest.raises(IntensitySourceError, match=rf"the key is refused \({status}\)") as error:
        await expected(maps(server, key_file))
    assert "s3cret" not in str(error.value)
    assert len(server.asked) == 1


points = st.lists(
    st.tuples(
        st.integers(-2, 400), st.sampled_from([(0, 3600), (0, 1800), (1800, 1800), (900, 900)]), st.integers(0, 9)
    ),
    max_size=60,
).map(
    lambda found: [
        IntensityPoint(HOUR + 3600 * at + begin, HOUR + 3600 * at + begin + length, 1000 * mg)
        for at, (begin, length), mg in found
    ]
)


@given(points)
def test_a_series_is_refused_or_has_whole_hours_to_come_within_its_points(series: list[IntensityPoint]) -> None:
    ordered = all(a.end <= b.start for a, b in pairwise(series))
    try:
        found = expected_hours("s", series, HOUR)
    except IntensitySourceError:
        whole = {
            p.start for p in series if p.end - p.start == 3600 and HOUR <= p.start < HOUR + MOST_HOURS_AHEAD * 3600
        }
        assert not ordered or not whole
        return
    assert ordered
    for start, mg in found.items():
        inside = [p for p in series if start <= p.start < start + 3600]
        assert HOUR <= start < HOUR + 7 * DAY
        assert start % 3600 == 0
        assert sum(p.end - p.start for p in inside) == 3600
        assert min(p.mg_per_kwh for p in inside) <= mg <= max(p.mg_per_kwh for p in inside)
