"""A target of exports that answers by a script, and the export to it."""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.exports.exporting import HOUR, Export, fill, settings_of, upkeep

from carbonbudget_operator.exports.export_loop import keep_sending
from carbonbudget_operator.exports.export_metrics import ExportMetrics

FIRST = 1_764_000_000
HOURS = 3
NOW = FIRST + HOURS * HOUR + 1000


class ScriptedTarget:
    """An HTTP server that answers as `answer` says: bytes to send, None to hang. It keeps what it was sent."""

    def __init__(self) -> None:
        self.lines: list[str] = []  # of accepted requests
        self.requests = 0
        self.heads: list[str] = []
        self.answer: Callable[[list[str]], bytes | None] = lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"
        self.server: asyncio.Server | None = None

    async def start(self, context: ssl.SSLContext | None = None) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                lines = gzip.decompress(await reader.readexactly(length)).decode().split("\n")
                self.requests += 1
                self.heads.append(head)
                answer = self.answer(lines)
                if answer is None:
                    await asyncio.sleep(3600)
                    return
                if answer.startswith(b"HTTP/1.1 204"):
                    self.lines += lines
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def statuses(self, *statuses: str) -> None:
        """These answers, one after the other, the last one for ever."""
        left = list(statuses)

        def answer(_: list[str]) -> bytes:
            status = left.pop(0) if len(left) > 1 else left[0]
            line, _, more = status.partition("\n")
            return f"HTTP/1.1 {line}\r\n{more}{chr(13) + chr(10) if more else ''}Content-Length: 0\r\n\r\n".encode()

        self.answer = answer


async def an_export(engine: sa.Engine, target: ScriptedTarget, **more: object) -> Export:
    url = await target.start()
    # A minute for each answer: a machine that is busy with other tests keeps this one waiting for seconds.
    given = {"name": "t", "kind": "influx", "url": url, "bucket": "b", "org": "o", "backfill_days": 2600}
    settings = settings_of({**given, "timeout_seconds": 60, **more})
    fill(engine, FIRST, HOURS)
    upkeep(engine, settings, NOW)
    return Export(engine, settings)


def hours_of(target: ScriptedTarget) -> list[int]:
    """The hours of the accepted points, in the order in which they came."""
    return list(dict.fromkeys(int(line.rpartition(" ")[2]) for line in target.lines))


class _Enough(BaseException):
    pass


async def paced(results: list[bool | Exception], caplog: pytest.LogCaptureFixture) -> tuple[list[float], float]:
    """The pauses of a loop whose steps end so, and its count of failures."""
    registry, pauses, left = CollectorRegistry(), list[float](), list(results)

    async def step(_: int) -> bool:
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not left:
            raise _Enough

    caplog.set_level(logging.INFO)
    metrics = ExportMetrics(registry)
    metrics.add("t")
    with pytest.raises(_Enough):
        await keep_sending("t", step, metrics, sleep)
    value = registry.get_sample_value("carbonbudget_export_failures_total", {"target": "t"})
    assert value is not None
    return pauses, value
