"""Sources of hourly intensities against a local server that answers as their documentation says, and worse."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.carbon.answering import Answer, Answering, answering

from carbonbudget_operator.carbon.grid_factors import is_zone
from carbonbudget_operator.carbon.intensity.electricity_maps import ElectricityMaps, bundled_names
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityPoint
from carbonbudget_operator.carbon.intensity.http_json import HttpJson, ResponseFormat
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError, SourceHttp
from carbonbudget_operator.carbon.intensity.neso import Neso
from carbonbudget_operator.carbon.intensity.response_fields import at
from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, HttpJsonSettings, NesoSettings
from carbonbudget_operator.valuation.grid_hours import make_source

HOUR = 1_764_000_000  # 2025-11-24T16:00:00Z
DAY = 86_400


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return written(tmp_path / "key", "s3cret\n")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def quick(name: str, key_file: Path | None = None, **more: Any) -> SourceHttp:
    return SourceHttp(name, key_file, 6000, **{"timeout_seconds": 5.0, "wait_seconds": 0.001, **more})


def maps(server: Answering, key_file: Path, basis: str = "lifecycle", **more: Any) -> ElectricityMaps:
    return ElectricityMaps(quick("electricityMaps", key_file, **more), f"{server.url}/v3/", basis, {})


def figure(value: float | None, hour: int = 16, **more: Any) -> dict[str, Any]:
    return {
        "zone": "DE", "carbonIntensity": value, "datetime": f"2025-11-24T{hour:02}:00:00.000Z",
        "updatedAt": "2025-11-24T18:01:00.000Z", "createdAt": "2025-11-21T18:01:00.000Z",
        "emissionFactorType": "lifecycle", "isEstimated": False, "estimationMethod": None, **more,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["a.--1", "a.²", "a.1-", "a.-", "a." + "9" * 5_000])
def test_a_path_with_what_is_no_index_finds_nothing_and_says_so(path: str) -> None:
    assert at("own", {"a": [7]}, path, None) is None
    with pytest.raises(IntensitySourceError, match="own: the answer has no"):
        at("own", {"a": [7]}, path)
    assert at("own", {"a": [7]}, "a.-1") == at("own", {"a": [7]}, "a.0") == 7


async def test_electricity_maps_gives_a_day_by_the_hour_and_is_told_the_zone(server: Answering, key_file: Path) -> None:
    guess = figure(302.25, 17, isEstimated=True, estimationMethod="TIME_SLICER_AVERAGE")
    server.answers = [Answer({"zone": "DE", "history": [figure(311), guess, figure(None, 18)]})]
    assert await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY) == [
        IntensityPoint(HOUR, HOUR + 3600, 311_000),
        IntensityPoint(HOUR + 3600, HOUR + 7200, 302_250, estimated=True),
    ]
    (asked,) = server.asked
    assert (asked.path, asked.headers["auth-token"]) == ("/v3/carbon-intensity/history", "s3cret")
    assert asked.params == {
        "zone": "DE", "emissionFactorType": "lifecycle", "temporalGranularity": "hourly", "disableCallerLookup": "true",
    }  # fmt: skip


async def test_electricity_maps_is_asked_for_a_range_where_more_than_a_day_is_missing(
    server: Answering, key_file: Path
) -> None:
    server.answers = [Answer({"zone": "DE", "data": [figure(311)]})]
    assert len(await maps(server, key_file).fetch("DE", HOUR, HOUR + 3 * DAY)) == 1
    assert server.asked[0].path == "/v3/carbon-intensity/past-range"
    assert (server.asked[0].params["start"], server.asked[0].params["end"]) == (
        "2025-11-24T16:00:00Z",
        "2025-11-27T16:00:00Z",
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"zone": "FR", "history": [figure(50)]}, "asked for zone DE, the answer is for FR"),
        ({"history": [figure(50)]}, "asked for zone DE, the answer is for None"),
        ({"zone": "DE", "history": [figure(50, zone="FR")]}, "asked for zone DE, the answer is for FR"),
        ({"zone": "DE", "history": [figure(50, emissionFactorType="direct")]}, "asked for emissionFactorType"),
        ({"zone": "DE", "history": [figure(-4)]}, "-4 g/kWh cannot be"),
        ({"zone": "DE", "history": [figure(9e9)]}, "cannot be"),
        ({"zone": "DE", "history": [figure(float("nan"))]}, "cannot be"),
        ({"zone": "DE", "history": [{**figure(50), "datetime": "yesterday"}]}, "'yesterday' is no time"),
        ({"zone": "DE", "history": [{**figure(50), "carbonIntensity": "50"}]}, "no number"),
        ({"zone": "DE", "history": [{**figure(50), "carbonIntensity": True}]}, "no number"),
        ({"zone": "DE", "history": 3}, "'history' is no list"),
        ({"zone": "DE", "history": [3]}, "the answer has no 'carbonIntensity'"),
        ({"error": "no"}, "the answer has no 'history'"),
        ([], "the answer has no"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON"),
        (b"0" * (5 * 2**20), "longer than"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused_with_one_line(
    body: Any, says: str, server: Answering, key_file: Path
) -> None:
    server.answers = [Answer(body)]
    with pytest.raises(IntensitySourceError, match=says) as error:
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1  # the same again would help nobody


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_said_and_not_tried_again_and_never_shown(
    status: int, server: Answering, key_file: Path
) -> None:
    server.answers = [Answer({"message": "bad token s3cret"}, status)]
    with pytest.raises(IntensitySourceError, match=rf"the key is refused \({status}\): check the Secret") as error:
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert "s3cret" not in str(error.value)
    assert len(server.asked) == 1


async def test_a_renewed_key_is_used_without_a_restart_and_none_is_said(server: Answering, key_file: Path) -> None:
    server.answers = [Answer({"zone": "DE", "history": [figure(311)]})]
    source = maps(server, key_file)
    await source.fetch("DE", HOUR, HOUR + DAY)
    written(key_file, "renewed")
    await source.fetch("DE", HOUR, HOUR + DAY)
    assert [asked.headers["auth-token"] for asked in server.asked] == ["s3cret", "renewed"]
    written(key_file, " ")
    with pytest.raises(IntensitySourceError, match=r"no key in .*: put it into the Secret"):
        await source.fetch("DE", HOUR, HOUR + DAY)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_fails_is_asked_again_and_then_left_until_the_next_round(
    status: int, server: Answering, key_file: Path
) -> None:
    good = Answer({"zone": "DE", "history": [figure(311)]})
    server.answers = [Answer(b"", status), Answer(b"", status), good]
    assert len(await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)) == 1
    assert len(server.asked) == 3
    server.answers = [Answer(b"", status)]
    with pytest.raises(IntensitySourceError, match=rf"\({status}\)"):
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert len(server.asked) == 6


async def test_a_long_retry_after_is_not_waited_for_and_a_short_one_is(server: Answering, key_file: Path) -> None:
    server.answers = [Answer(b"", 429, {"retry-after": "3600"})]
    with pytest.raises(IntensitySourceError, match=r"too many requests \(429\)"):
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert len(server.asked) == 1
    server.answers = [Answer(b"", 429, {"retry-after": "1"}), Answer({"zone": "DE", "history": [figure(311)]})]
    began = time.monotonic()
    await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert time.monotonic() - began >= 1


async def test_a_date_in_retry_after_counts_from_the_answers_own(server: Answering, key_file: Path) -> None:
    dates = {"date": "Mon, 24 Nov 2025 16:00:00 GMT", "retry-after": "Mon, 24 Nov 2025 17:00:00 GMT"}
    server.answers = [Answer(b"", 503, dates)]
    with pytest.raises(IntensitySourceError):
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert len(server.asked) == 1


async def test_a_slow_server_is_left_after_its_time(
    server: Answering, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, attempts, once = threading.Event(), [], SourceHttp._once
    server.answers = [Answer(b"", stall=never)]

    async def counted(self: SourceHttp, *asked: Any) -> Any:
        attempts.append(asked)
        return await once(self, *asked)

    monkeypatch.setattr(SourceHttp, "_once", counted)
    try:
        with pytest.raises(IntensitySourceError, match=r"no answer within 0\.5 s"):
            await maps(server, key_file, timeout_seconds=0.5, attempts=2).fetch("DE", HOUR, HOUR + DAY)
    finally:
        never.set()
    assert len(attempts) == 2  # on a busy machine an attempt may end before the server has its request


async def test_a_redirect_does_not_carry_the_key_away(server: Answering, key_file: Path) -> None:
    server.answers = [Answer(b"", 302, {"location": "/elsewhere"})]
    with pytest.raises(IntensitySourceError, match="answered 302: check its url"):
        await maps(server, key_file).fetch("DE", HOUR, HOUR + DAY)
    assert [asked.path for asked in server.asked] == ["/v3/carbon-intensity/history"]


async def test_nobody_there_is_said(key_file: Path) -> None:
    gone = Answering("http://127.0.0.1:1")
    with pytest.raises(IntensitySourceError, match="no answer: ConnectError"):
        await maps(gone, key_file).fetch("DE", HOUR, HOUR + DAY)


def half(begin: str, end: str, actual: int | None, forecast: int | None = 200) -> dict[str, Any]:
    return {
        "from": f"2025-11-24T{begin}Z", "to": f"2025-11-24T{end}Z",
        "intensity": {"forecast": forecast, "actual": actual, "index": "moderate"},
    }  # fmt: skip


async def test_neso_gives_half_hours_and_a_forecast_until_they_are_settled(server: Answering) -> None:
    before, settled, open_ = (
        half("15:30", "16:00", 90),
        half("16:00", "16:30", 180),
        half("16:30", "17:00", None, 210),
    )
    server.answers = [Answer({"data": [before, settled, open_, half("17:00", "17:30", None, None)]})]
    assert await Neso(quick("neso"), server.url).fetch("GB", HOUR, HOUR + 7200) == [
        IntensityPoint(HOUR, HOUR + 1800, 180_000),
        IntensityPoint(HOUR + 1800, HOUR + 3600, 210_000, estimated=True),
    ]
    assert server.asked[0].path == "/intensity/2025-11-24T16:01Z/2025-11-24T18:00Z"
    server.answers = [Answer({"data": [half("16:00", "17:00", 5)]})]
    with pytest.raises(IntensitySourceError, match="not for half an hour"):
        await Neso(quick("neso"), server.url).fetch("GB", HOUR, HOUR + 7200)


WATTTIME = ResponseFormat(
    url="{server}/v3/historical", items="data", value="value", time="point_time", unit="lb/MWh", step_seconds=300,
    params={"region": "{zone}", "start": "{start}", "end": "{end}", "signal_type": "co2_aoer"},
    headers={"authorization": "Bearer {key}"}, login_url="{server}/login",
    expect={"meta.region": "{zone}", "meta.signal_type": "co2_aoer"},
)  # fmt: skip


def watttime(server: Answering, key_file: Path) -> HttpJson:
    fields = {name: getattr(WATTTIME, name) for name in WATTTIME.__slots__}
    for name in ("url", "login_url"):
        fields[name] = fields[name].replace("{server}", server.url)
    return HttpJson(quick("watttime", key_file), ResponseFormat(**fields), {"US-CAL-CISO": "CAISO_NORTH"}, 30)


async def test_a_source_with_a_login_as_watttimes_average_signal(server: Answering, key_file: Path) -> None:
    written(key_file, "ada:pass:word")
    meta = {"region": "CAISO_NORTH", "signal_type": "co2_aoer", "units": "lbs_co2_per_mwh"}
    data = [{"point_time": "2025-11-24T16:00:00+00:00", "value": 1000}]
    server.answers = [Answer({"token": "abc"}), Answer({"data": data, "meta": meta})]
    source = watttime(server, key_file)
    assert await source.fetch("CAISO_NORTH", HOUR, HOUR + 3600) == [IntensityPoint(HOUR, HOUR + 300, 453_592)]
    login, question = server.asked
    assert login.headers["authorization"] == "Basic " + b64encode(b"ada:pass:word").decode()
    assert (question.headers["authorization"], question.params["region"]) == ("Bearer abc", "CAISO_NORTH")
    server.answers = [Answer({"token": "abc"}), Answer({"data": data, "meta": {**meta, "signal_type": "co2_moer"}})]
    with pytest.raises(IntensitySourceError, match=r"meta.signal_type should be co2_aoer, the answer has co2_moer"):
        await source.fetch("CAISO_NORTH", HOUR, HOUR + 3600)
    server.answers = [Answer({"token": 5})]
    with pytest.raises(IntensitySourceError, match="'token' of the login is no token"):
        await source.fetch("CAISO_NORTH", HOUR, HOUR + 3600)


async def test_a_list_without_a_name_as_the_carbon_aware_sdks(server: Answering) -> None:
    shape = ResponseFormat(
        url=server.url + "/emissions/bylocation?location={zone}&time={start}&toTime={end}",
        value="rating", time="time", unit="g/kWh", step_seconds=3600, estimated="guess",
    )  # fmt: skip
    source = HttpJson(quick("sdk"), shape, {}, 2)
    item = {"location": "westeurope", "time": "2025-11-24T16:00:00+00:00", "rating": 302.5, "duration": "01:00:00"}
    server.answers = [Answer([{**item, "guess": False}, item])]
    found = await source.fetch("westeurope", HOUR, HOUR + 3600)
    assert found == [
        IntensityPoint(HOUR, HOUR + 3600, 302_500, False),
        IntensityPoint(HOUR, HOUR + 3600, 302_500, True),
    ]
    assert server.asked[0].params == {
        "location": "westeurope", "time": "2025-11-24T16:00:00Z", "toTime": "2025-11-24T17:00:00Z",
    }  # fmt: skip
    server.answers = [Answer([{"time": "2025-11-24T16:00:00"}])]
    with pytest.raises(IntensitySourceError, match="the answer has no 'rating'"):
        await source.fetch("westeurope", HOUR, HOUR + 3600)


async def test_a_value_that_is_null_discards_no_other(server: Answering, key_file: Path) -> None:
    rows = [{"t": "2025-11-24T16:00:00Z", "v": 300}, {"t": "2025-11-24T17:00:00Z", "v": None}]
    server.answers = [Answer(rows)]
    source = HttpJson(quick("own", key_file), ResponseFormat(server.url, "v", "t", "g/kWh", 3600), {}, 2)
    assert await source.fetch("DE", HOUR, HOUR + DAY) == [IntensityPoint(HOUR, HOUR + 3600, 300_000)]


async def test_a_value_that_is_missing_is_a_wrong_path_and_no_null(server: Answering, key_file: Path) -> None:
    server.answers = [Answer([{"t": "2025-11-24T16:00:00Z"}])]
    source = HttpJson(quick("own", key_file), ResponseFormat(server.url, "v", "t", "g/kWh", 3600), {}, 2)
    with pytest.raises(IntensitySourceError, match="the answer has no 'v'"):
        await source.fetch("DE", HOUR, HOUR + DAY)


def test_electricity_maps_is_asked_by_its_own_names_and_one_more_name_switches_none_off(key_file: Path) -> None:
    source = ElectricityMaps(quick("electricityMaps", key_file), "http://127.0.0.1", "direct", {"US-WY": "US-NW-WACM"})
    assert source.zone_name("US-VA") == "US-MIDA-PJM"
    assert source.zone_name("US-WY") == "US-NW-WACM"
    assert source.zone_name("DE") == "DE"


def test_an_http_source_is_asked_for_the_zones_that_are_named_and_no_others(key_file: Path) -> None:
    shape = ResponseFormat("http://127.0.0.1", "v", "t", "g/kWh", 3600)
    assert HttpJson(quick("own", key_file), shape, {"NL": "westeurope"}, 2).zone_name("DE") is None
    assert HttpJson(quick("own", key_file), shape, {}, 2).zone_name("DE") == "DE"


def test_every_zone_with_a_name_of_its_own_is_one_that_a_node_can_stand_in() -> None:
    assert all(is_zone(zone) for zone in bundled_names())


async def test_a_source_behind_a_ca_of_one_s_own_is_asked_with_this_ca_alone(tmp_path: Path) -> None:
    """As behind a proxy that opens TLS."""
    now = dt.datetime.now(dt.UTC)
    ca = make_ca(now)
    leaf = make_leaf(ca, ["localhost"], now)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(written(tmp_path / "tls.crt", leaf.certificate), written(tmp_path / "tls.key", leaf.key))

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"zone": "DE"})

    app = web.Application()
    app.router.add_get("/", answer)
    server = TestServer(app, host="localhost")
    await server.start_server(ssl=tls)
    try:
        url = f"https://localhost:{server.port}/"
        own = quick("own", ca=written(tmp_path / "ca.crt", ca.certificate))
        assert await own.get(url, {}, {}) == {"zone": "DE"}
        with pytest.raises(IntensitySourceError, match="own: no answer: ConnectError"):
            await quick("own", attempts=1).get(url, {}, {})
        with pytest.raises(
            IntensitySourceError, match=r"own: .*empty has no CA certificates: put them into the Secret"
        ):
            await quick("own", ca=written(tmp_path / "empty", "")).get(url, {}, {})
    finally:
        await server.close()


def test_the_ca_of_each_kind_of_source_on_the_network_is_used(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    own: dict[str, Any] = {"name": "own", "url": "https://h", "value": "v", "time": "t", "basis": "lifecycle", "ca": ca}
    for given in (
        ElectricityMapsSettings(key_file=tmp_path / "key", ca=ca),
        NesoSettings(ca=ca),
        HttpJsonSettings(type="http", **own),
    ):
        assert make_source(given, "lifecycle")._http.ca == ca  # type: ignore[attr-defined] # of all three
