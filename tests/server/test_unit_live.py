"""Units of a live server with vLLM's names, which a real Prometheus scrapes."""

from __future__ import annotations

import asyncio
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread

import sqlalchemy as sa
from tests.fake_http_server import FakeHttpServer
from tests.prometheus import Prometheus, until
from tests.server.answering_store import text_answer
from tests.server.unit_polling import HOUR, Polling

MICRO = 1_000_000


async def test_a_live_server_that_speaks_vllms_names_is_counted_as_its_samples_say(
    engine: sa.Engine, tmp_path: Path
) -> None:
    served = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal served
            served += 17
            text = f'# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{{model_name="m"}} {served}\n'
            text_answer(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})(self)

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    labels = {"namespace": "team-a", "pod": "chat-0"}
    job: dict[str, object] = {
        "job_name": "pods",
        "static_configs": [{"targets": [f"127.0.0.1:{server.server_address[1]}"], "labels": labels}],
    }
    live = Prometheus(tmp_path, [job])
    try:
        until("some samples", lambda: live.ask("count_over_time(vllm:generation_tokens_total[1m]) > 3"), 60)
        live.process.send_signal(19)  # SIGSTOP: no sample comes between the two questions
        live.process.send_signal(18)
        hour = int(time.time()) // HOUR * HOUR
        polling = Polling(engine, f"http://127.0.0.1:{live.port}")
        polling.want(hour, hour + HOUR + 300, "team-a")
        server.shutdown()  # the counter grows no more
        await asyncio.sleep(0)
        assert await polling.poller.step(hour + HOUR + 300) == 1
        await polling.poller.close()
        (raw,) = live.ask("vllm:generation_tokens_total[2h]", hour + HOUR)
        values = [int(value) for at, value in raw["values"] if at <= hour + HOUR]
        first = next(n for n, (at, _) in enumerate(raw["values"]) if at > hour)
        grown = values[-1] - values[max(0, first - 1)]
        assert grown > 0
        assert polling.hours("team-a", hour, hour + HOUR).units == {hour: {("team-a", "chat-0"): grown * MICRO}}
    finally:
        live.stop()
        server.server_close()
