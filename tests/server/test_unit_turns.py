"""Counters of some namespaces that cannot be counted, or take long, delay nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Thread
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa
from tests.fake_http_server import FakeHttpServer
from tests.server.stored_metrics import full_hour_ago
from tests.server.unit_polling import HOUR, Polling

from carbonbudget_operator.server import unit_poller
from carbonbudget_operator.server.unit_queries import QueryFailed
from carbonbudget_operator.units.counter_expression import CounterExpression

FIRST = full_hour_ago(30)
NOW = FIRST + 20 * HOUR + 300
HOSTILE = [f"a-{n}" for n in range(12)]
MATRIX = '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{%s},"values":[[%d,"5"]]}]}}'
REFUSED = '{"status":"error","error":"query processing would load too many samples"}'


@contextmanager
def a_store(fault: str) -> Iterator[str]:
    """A Prometheus that counts for the namespace z, and for others answers what cannot be used."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            at, is_z = int(form["time"][0]), '"z"' in form["query"][0]
            status, labels = 200, '"namespace":"z","pod":"p"'
            text = MATRIX % (labels, at - 60)
            if not is_z:
                name = form["query"][0].split('"')[1]
                text = MATRIX % (f'"namespace":"{name}"', at - 60)
                if fault == "refused":
                    status, text = 422, REFUSED
                elif fault == "too long":
                    text = " " * 70_000
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("fault", ["without pods", "refused", "too long", "forged"])
async def test_counters_that_cannot_be_counted_end_no_round(engine: sa.Engine, fault: str) -> None:
    with a_store(fault) as url:
        polling = Polling(engine, url, scraped_query="", max_response_bytes=65_536, namespace_label="namespace")
        labels = (("pod", "x"),) if fault == "forged" else ()
        polling.want(FIRST, NOW, *HOSTILE, expression=CounterExpression("tokens_total", labels))
        polling.want(FIRST, NOW, "z")
        await polling.poller.step(NOW)
        await polling.poller.close()
    assert set(polling.hours("z", FIRST, FIRST + 20 * HOUR).states.values()) == {"counted"}


async def test_where_a_round_is_too_short_for_all_the_next_one_goes_on(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_poller, "_MOST_OF_A_ROUND", 4)
    with a_store("without pods") as url:
        polling = Polling(engine, url, scraped_query="")
        polling.want(FIRST, NOW, *HOSTILE, expression=CounterExpression("tokens_total"))
        polling.want(FIRST, NOW, "z")
        for step in range(4):
            try:
                await polling.poller.step(NOW + 30 * step)
            except QueryFailed:
                assert step < 3, "in the fourth round at the latest it is the turn of z"
        await polling.poller.close()
    assert len(polling.hours("z", FIRST, FIRST + 20 * HOUR).states) == 1


async def test_what_is_wrong_with_a_counter_is_told_once_and_delays_no_new_hour(engine: sa.Engine) -> None:
    with a_store("without pods") as url:
        polling = Polling(engine, url, scraped_query="")
        polling.want(FIRST, NOW, "a-0")
        with pytest.raises(QueryFailed, match="no series has the label pod"):
            await polling.poller.step(NOW)
        assert await polling.poller.step(NOW + 600) == 0, "told before, and nothing waits"
        polling.want(NOW - 300 - HOUR, NOW + 630, "z")
        assert await polling.poller.step(NOW + 630) == 1
        await polling.poller.close()
    assert polling.metric("unit_query_failures_total") > 20


async def test_a_counter_of_which_no_query_can_be_made_delays_no_new_hour(engine: sa.Engine) -> None:
    """As one that was wanted before units.pod_label was changed: nothing is sent, so nobody is away."""
    with a_store("forged") as url:
        polling = Polling(engine, url, scraped_query="")
        polling.want(FIRST, NOW, "a-0", expression=CounterExpression("tokens_total", (("pod", "x"),)))
        with pytest.raises(QueryFailed, match="cannot have pod"):
            await polling.poller.step(NOW)
        polling.want(NOW - 300 - HOUR, NOW + 30, "z")
        assert await polling.poller.step(NOW + 30) == 1
        await polling.poller.close()
