"""A store whose answers cannot be used, or are made to harm: nothing is counted, and the reason is a sentence."""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest
import sqlalchemy as sa
from tests.server.answering_store import a_store, slow, text_answer
from tests.server.stored_metrics import full_hour_ago
from tests.server.unit_polling import HOUR, Polling

MICRO = 1_000_000
FIRST = full_hour_ago(10)
ERROR = b'{"status":"error","errorType":"bad_data","error":"invalid parameter"}'
WARNS = b'{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["a store is away"]}'
ODD = (
    b'{"status":"success","data":{"resultType":"matrix","result":'
    b'[{"metric":{"namespace":"team-a","pod":"p"},"values":[%s]}]}}'
)
NAMED = (
    b'{"status":"success","data":{"resultType":"matrix","result":'
    b'[{"metric":{"namespace":"team-a","pod":"%s"},"values":[[' + str(FIRST + 60).encode() + b',"5"]]}]}}'
)


def endless(handler: BaseHTTPRequestHandler, status: int = 200) -> None:
    """As much as the client takes."""
    handler.send_response(status)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(bytes(65_536))


def endless_refusal(handler: BaseHTTPRequestHandler) -> None:
    endless(handler, 502)


FAULTS = {
    "401": (text_answer(401, b"who are you?"), r"answers 401: who are you\?; check units.token_file"),
    "redirect": (text_answer(302, b"", {"Location": "http://127.0.0.1:1/"}), "answers 302; check units.url"),
    "400": (text_answer(400, ERROR), "answers 400: invalid parameter"),
    "503": (text_answer(503, b"later", {"Retry-After": "7"}), "answers 503: later"),
    "too large": (text_answer(200, b" " * 70_000), "longer than 65536 bytes"),
    "compressed": (text_answer(200, b"", {"Content-Encoding": "gzip"}), "compressed"),
    "a gzip bomb": (text_answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}), "compressed"),
    "an endless answer": (endless, "longer than 65536 bytes"),
    "an endless refusal": (endless_refusal, "answers 502"),
    "a long label in place of a pod": (
        text_answer(200, NAMED % (b"p" * 60_000)),
        "60000 characters, which is no pod's",
    ),
    "no JSON": (text_answer(200, b"<html>"), "not of Prometheus"),
    "other JSON": (text_answer(200, b"[]"), "not of Prometheus"),
    "not JSON in a sample": (text_answer(200, ODD % b"[1]"), "unknown form"),
    "a number as value": (text_answer(200, ODD % str([FIRST + 1, 5]).encode()), "unknown form"),
    "a time as text": (text_answer(200, ODD % b'["now","5"]'), "unknown form"),
    "incomplete": (text_answer(200, WARNS), "incomplete"),
    "slow": (slow, "Prometheus does not answer within 3 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_answer_that_cannot_be_used_is_told_and_counts_nothing(engine: sa.Engine, fault: str) -> None:
    answer, words = FAULTS[fault]
    with a_store(answer) as store:
        timeout = 3 if fault == "slow" else 60
        polling = Polling(engine, store.url, timeout_seconds=timeout, max_response_bytes=65_536)
        polling.want(FIRST, FIRST + HOUR + 300, "team-a")
        with pytest.raises(Exception, match=words):
            await polling.poller.step(FIRST + HOUR + 300)
        await polling.poller.close()
        found = polling.hours("team-a", FIRST, FIRST + HOUR)
        assert (found.states, found.units) == ({FIRST: "failed"}, {})
        assert "\n" not in found.reason
        assert len(found.reason) < 512


async def test_a_gzip_bomb_takes_no_memory(engine: sa.Engine) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with a_store(text_answer(200, bomb, {"Content-Encoding": "gzip"})) as store:
        polling = Polling(engine, store.url, timeout_seconds=60)
        polling.want(FIRST, FIRST + HOUR + 300, "team-a")
        tracemalloc.start()
        with pytest.raises(Exception, match="compressed"):
            await polling.poller.step(FIRST + HOUR + 300)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await polling.poller.close()
    assert most < 20_000_000


def a_matrix(series: int, label: str = "") -> bytes:
    """Series of one pod, each of which counts 2."""
    samples = f'"values":[[{FIRST + 60},"1"],[{FIRST + 120},"3"]]'
    rows = ",".join(
        f'{{"metric":{{"namespace":"team-a","pod":"p","n":"{n}{label}"}},{samples}}}' for n in range(series)
    )
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{rows}]}}}}'.encode()


@pytest.mark.parametrize(("series", "label"), [(100_000, ""), (3, "x" * 1_000_000)], ids=["series", "label"])
async def test_a_hundred_thousand_series_or_labels_of_a_megabyte_count_or_are_refused_by_the_limit_of_bytes(
    engine: sa.Engine, series: int, label: str
) -> None:
    body = a_matrix(series, label)
    now = FIRST + HOUR + 300
    with a_store(text_answer(200, body)) as store:
        small = Polling(engine, store.url, timeout_seconds=60, max_response_bytes=2**21)
        small.want(FIRST, now, "team-a")
        with pytest.raises(Exception, match="narrow the counter by matchLabels"):
            await small.poller.step(now)
        await small.poller.close()
        assert small.hours("team-a", FIRST, FIRST + HOUR).units == {}
        large = Polling(engine, store.url, timeout_seconds=60, max_response_bytes=2**26)
        large.poller._holder = small.poller._holder
        assert await large.poller.step(now + 900) == 1
        await large.poller.close()
    assert large.hours("team-a", FIRST, FIRST + HOUR).units == {FIRST: {("team-a", "p"): 2 * series * MICRO}}
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT max(length(pods)) FROM unit_day")) < 200, "labels are not stored"
