"""A target that is away, slow or refuses: nothing is lost, and a refused row holds back no other."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.exports.exporting import HOUR, Export, fill, settings_of, upkeep

from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.exports.export_loop import keep_sending
from carbonbudget_operator.exports.export_metrics import ExportMetrics
from carbonbudget_operator.exports.target_http import TargetAway
from carbonbudget_operator.ledger.store import LedgerError

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


@pytest.fixture
async def target() -> AsyncIterator[ScriptedTarget]:
    made = ScriptedTarget()
    yield made
    if made.server is not None:
        made.server.close()


@pytest.fixture
async def export(engine: sa.Engine, target: ScriptedTarget) -> AsyncIterator[Export]:
    made = await an_export(engine, target)
    yield made
    await made.close()


async def an_export(engine: sa.Engine, target: ScriptedTarget, **more: object) -> Export:
    url = await target.start()
    settings = settings_of({"name": "t", "kind": "influx", "url": url, "bucket": "b", "org": "o", "timeout_seconds": 1,
                            "backfill_days": 2600, **more})  # fmt: skip
    fill(engine, FIRST, HOURS)
    upkeep(engine, settings, NOW)
    return Export(engine, settings)


def hours_of(target: ScriptedTarget) -> list[int]:
    """The hours of the accepted points, in the order in which they came."""
    return list(dict.fromkeys(int(line.rpartition(" ")[2]) for line in target.lines))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("500 Internal Server Error", "it answers 500"),
        ("503 Service Unavailable", "it answers 503"),
        ("429 Too Many Requests", "it answers 429"),
        ("401 Unauthorized", "it answers 401; check its token or password"),
        ("403 Forbidden", "it answers 403; check its token or password"),
        ("404 Not Found", "it answers 404; check its url, database, org and bucket"),
        ("307 Temporary Redirect\nLocation: http://127.0.0.1:1/", "it answers 307; check its url"),
        ("200 OK", "it answers 200; check its url"),
    ],
)
async def test_what_is_no_fault_of_the_rows_keeps_them(
    export: Export, target: ScriptedTarget, status: str, sentence: str
) -> None:
    target.statuses(status)
    for _ in range(3):
        with pytest.raises(TargetAway, match=sentence):
            await export.step(NOW)
    assert (target.requests, export.count("hours_waiting"), export.count("rows_refused_total")) == (3, HOURS, 0)
    target.statuses("204 No Content")
    await export.step(NOW)
    assert hours_of(target) == [FIRST, FIRST + HOUR, FIRST + 2 * HOUR]
    assert export.count("rows_total") == len(target.lines) > 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 120", 120),
        ("Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT", 60),
        ("Retry-After: soon", 0),
        ("Retry-After: 99999999999999999999", 999_999_999),
    ],
)
async def test_the_target_says_when_to_come_again(
    export: Export, target: ScriptedTarget, header: str, seconds: int
) -> None:
    target.statuses(f"429 Too Many Requests\n{header}")
    with pytest.raises(TargetAway) as error:
        await export.step(NOW)
    assert error.value.asked_seconds == seconds


async def test_a_target_that_is_away_for_a_week_gets_all_hours_the_oldest_first(
    engine: sa.Engine, target: ScriptedTarget
) -> None:
    export = await an_export(engine, target)
    target.statuses("503 Service Unavailable")
    settings = settings_of()
    for day in range(7):
        fill(engine, FIRST + (HOURS + day * 24) * HOUR, 24)
        now = NOW + (day + 1) * 86_400
        upkeep(engine, settings, now)
        with pytest.raises(TargetAway):
            await export.step(now)
    assert export.count("hours_waiting") == HOURS + 7 * 24
    assert export.count("lag_seconds") > 7 * 86_400  # by the machine's own clock
    target.statuses("204 No Content")
    assert await export.step(now) is False
    assert hours_of(target) == [FIRST + n * HOUR for n in range(HOURS + 7 * 24)]
    assert (export.count("hours_waiting"), export.count("lag_seconds")) == (0, 0)
    await export.close()


async def test_a_target_that_does_not_answer_is_left_after_the_time_limit(
    export: Export, target: ScriptedTarget
) -> None:
    target.answer = lambda _: None
    with pytest.raises(TargetAway, match="no answer within 1 s"):
        await export.step(NOW)
    assert target.server is not None
    target.server.close()


async def test_an_answer_that_never_ends_is_not_read_to_its_end(export: Export, target: ScriptedTarget) -> None:
    target.answer = lambda _: (
        b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1000\r\n"
        + b"x" * 4096
        + b"\r\n" * 1
        + b"1000\r\n"
        + b"y" * 4096
    )
    with pytest.raises(TargetAway, match=r"it answers 500: x{50,197}\.\.\."):
        await export.step(NOW)


async def test_nobody_there_is_told_without_an_address(engine: sa.Engine, target: ScriptedTarget) -> None:
    export = await an_export(engine, target)
    assert target.server is not None
    target.server.close()
    await target.server.wait_closed()
    with pytest.raises(TargetAway, match=r"^no answer: "):
        await export.step(NOW)
    await export.close()


async def test_a_step_ends_in_time_and_the_next_one_goes_on(export: Export, target: ScriptedTarget) -> None:
    assert await export.sender.step(NOW, seconds=0) is True
    assert hours_of(target) == []
    assert await export.sender.step(NOW) is False
    assert len(hours_of(target)) == HOURS


async def test_one_refused_row_is_left_out_counted_and_logged_once(
    export: Export, target: ScriptedTarget, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(lines: list[str]) -> bytes:
        if any("component=Idle" in line and "kwh" in line and "team-a" in line for line in lines):
            return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 23\r\n\r\nunable to parse \x1b[31mit"
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    target.answer = answer
    assert await export.step(NOW) is False
    refused = export.count("rows_refused_total")
    assert refused % HOURS == 0
    assert 0 < refused < len(target.lines)
    assert len(hours_of(target)) == HOURS
    assert (export.count("hours_waiting"), export.count("failures_total")) == (0, 0)
    (record,) = caplog.records
    assert (
        "export t refuses rows, which it will not get: it answers 400: unable to parse \\x1b[31mit;" in record.message
    )
    before = target.requests
    await export.step(NOW)
    assert target.requests == before, "what was refused is not sent again"


async def test_a_target_that_refuses_all_rows_is_asked_a_bounded_number_of_times(
    engine: sa.Engine, target: ScriptedTarget
) -> None:
    target.statuses("400 Bad Request")
    export = await an_export(engine, target)
    assert await export.step(NOW) is False
    # Halving a batch of n rows down to single ones takes 2n - 1 requests.
    assert 0 < target.requests < 2 * export.count("rows_refused_total")
    assert (export.count("rows_total"), export.count("hours_waiting")) == (0, 0)
    await export.close()


async def test_a_body_that_is_too_large_is_sent_in_parts(export: Export, target: ScriptedTarget) -> None:
    target.answer = lambda lines: (
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n" if len(lines) > 4 else b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    await export.step(NOW)
    assert export.count("rows_refused_total") == 0
    assert len(hours_of(target)) == HOURS


async def test_after_a_failure_the_batches_that_the_target_has_are_not_sent_again(
    engine: sa.Engine, target: ScriptedTarget
) -> None:
    export = await an_export(engine, target, batch_rows=100)
    fill(engine, FIRST, 1, {f"pod-{n}": 1000 + n for n in range(60)}, node="node-2")
    upkeep(engine, settings_of(), NOW + 60)
    target.statuses("204 No Content", "204 No Content", "503 Service Unavailable")
    with pytest.raises(TargetAway):
        await export.step(NOW + 60)
    assert len(target.lines) == 200
    target.statuses("204 No Content")
    await export.step(NOW + 60)
    assert len(target.lines) == len(set(target.lines)), "no point came twice"
    await export.close()


async def test_only_one_of_two_servers_sends_until_its_lease_ends(engine: sa.Engine, target: ScriptedTarget) -> None:
    one = await an_export(engine, target)
    settings = settings_of(one.target.model_dump())
    two = Export(engine, settings, holder="two")
    await one.step(NOW)
    sent = target.requests
    fill(engine, FIRST + HOUR, 1, {"late": 5}, node="node-2")
    upkeep(engine, settings, NOW + 60)
    await two.step(NOW + 60)
    assert (target.requests, two.count("hours_waiting")) == (sent, 0)
    await two.step(NOW + 121)  # the first one is gone
    assert target.requests == sent + 1
    fill(engine, FIRST + HOUR, 1, {"later": 5}, node="node-3")
    upkeep(engine, settings, NOW + 180)
    await one.step(NOW + 180)
    assert target.requests == sent + 1
    await two.step(NOW + 180)
    assert target.requests == sent + 2
    await one.close()
    await two.close()


async def test_a_server_that_lost_its_lease_while_it_sent_writes_no_progress(
    engine: sa.Engine, target: ScriptedTarget, caplog: pytest.LogCaptureFixture
) -> None:
    one = await an_export(engine, target)
    two = Export(engine, settings_of(one.target.model_dump()), holder="two")
    held = target.answer

    def answer(lines: list[str]) -> bytes | None:
        two.sender._cursor.acquire(NOW + 3600, 0)
        target.answer = held
        return held(lines)

    target.answer = answer
    assert await one.step(NOW) is False
    assert "another server sends to t now" in caplog.text
    assert target.requests == 1
    await two.step(NOW + 3601)
    assert hours_of(target) == [FIRST, FIRST + HOUR, FIRST + 2 * HOUR]
    assert target.requests == 1 + HOURS
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("more", "header"),
    [
        ({"token_file": "SECRET"}, "Authorization: Token s3cret"),
        ({"username": "u", "password_file": "SECRET"}, "Authorization: Basic dTpzM2NyZXQ="),
        ({"tenant": "team 1".replace(" ", "-")}, "X-Scope-OrgID: team-1"),
    ],
)
async def test_a_request_carries_what_the_settings_say(
    engine: sa.Engine, target: ScriptedTarget, tmp_path: Path, more: dict[str, object], header: str
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    files = {key: str(tmp_path / "secret") if value == "SECRET" else value for key, value in more.items()}
    export = await an_export(engine, target, **files)
    await export.step(NOW)
    assert header.lower() in target.heads[0].lower()
    assert target.heads[0].startswith("POST /api/v2/write?org=o&bucket=b&precision=s HTTP/1.1")
    await export.close()


async def test_a_secret_without_a_token_is_told_and_a_renewed_one_is_read(
    engine: sa.Engine, target: ScriptedTarget, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    export = await an_export(engine, target, token_file=str(secret))
    for wrong in (None, "", "a\nb"):
        if wrong is not None:
            secret.write_text(wrong)
        with pytest.raises(TargetAway, match=f"no token or password in {secret}: put it into the Secret"):
            await export.step(NOW)
    assert target.requests == 0
    secret.write_text("new")
    await export.step(NOW)
    assert "authorization: token new" in target.heads[0].lower()
    await export.close()


async def test_an_hour_that_cannot_be_read_holds_back_no_other(
    engine: sa.Engine, target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = await an_export(engine, target)
    planner = export.sender._planner
    content = planner.content

    def broken(hour: int) -> object:
        if hour == FIRST:
            raise ValueError("broken")
        return content(hour)

    monkeypatch.setattr(planner, "content", broken)
    await export.step(NOW)
    assert hours_of(target) == [FIRST + HOUR, FIRST + 2 * HOUR]
    assert (export.count("hours_waiting"), export.count("failures_total")) == (1, 1)
    monkeypatch.undo()
    await export.step(NOW + 60)  # it is set aside for an hour
    assert FIRST not in hours_of(target)
    await export.step(NOW + 3601)
    assert FIRST in hours_of(target)
    await export.close()


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


async def test_pauses_grow_with_each_failure_and_respect_retry_after(caplog: pytest.LogCaptureFixture) -> None:
    away = TargetAway("it answers 503", 0)
    pauses, failures = await paced([True, False, *[away] * 8, TargetAway("x", 400), False, away], caplog)
    assert pauses[:2] == [0, 30]
    grown = pauses[2:10]
    assert all(2.5 * 2**n <= pause <= 5 * 2**n for n, pause in enumerate(grown[:6]))
    assert all(150 <= pause <= 300 for pause in grown[6:])
    assert 400 <= pauses[10] <= 440
    assert pauses[11] == 30
    assert 2.5 <= pauses[12] <= 5
    assert failures == 10
    said = [record.message for record in caplog.records]
    assert said == [
        "export t: it answers 503; nothing is lost, it is tried again",
        "export t: sending again",
        "export t: it answers 503; nothing is lost, it is tried again",
    ]


async def test_a_ledger_that_is_away_ends_no_export(caplog: pytest.LogCaptureFixture) -> None:
    pauses, failures = await paced([LedgerError("ledger x: away"), RuntimeError("odd"), False], caplog)
    assert (len(pauses), failures) == (3, 2)


async def test_a_target_is_trusted_by_the_ca_of_the_settings_and_a_renewed_one_is_read(
    engine: sa.Engine, target: ScriptedTarget, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    ca, other = make_ca(now), make_ca(now)
    leaf = make_leaf(ca, ["localhost"], now)
    for name, text in (("crt", leaf.certificate), ("key", leaf.key), ("ca", other.certificate)):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    port = (await target.start(context)).rpartition(":")[2]
    fill(engine, FIRST, 1)
    settings = settings_of({"name": "t", "kind": "influx", "url": f"https://localhost:{port}", "database": "d",
                            "backfill_days": 2600, "ca": str(tmp_path / "ca")})  # fmt: skip
    upkeep(engine, settings, NOW)
    export = Export(engine, settings)
    with pytest.raises(TargetAway, match=r"no answer: .*certificate verify failed"):
        await export.step(NOW)
    (tmp_path / "ca").write_text("")
    with pytest.raises(TargetAway, match="ca has no CA certificates: put them into the Secret"):
        await export.step(NOW)
    (tmp_path / "ca").write_text(ca.certificate)
    await export.step(NOW)
    assert hours_of(target) == [FIRST]
    await export.close()
