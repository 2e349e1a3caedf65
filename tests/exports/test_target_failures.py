"""A target that is away, slow or refuses: nothing is lost, and a refused row holds back no other."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.exports.exporting import HOUR, Export, fill, settings_of, upkeep
from tests.exports.scripted_target import FIRST, HOURS, NOW, ScriptedTarget, an_export, hours_of

from carbonbudget_operator.exports.export_target_http import TargetAway


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
    engine: sa.Engine, target: ScriptedTarget
) -> None:
    target.answer = lambda _: None
    export = await an_export(engine, target, timeout_seconds=1)
    with pytest.raises(TargetAway, match="no answer within 1 s"):
        await export.step(NOW)
    await export.close()


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
    assert await export.sender.send_step(NOW, seconds=0) is True
    assert hours_of(target) == []
    assert await export.sender.send_step(NOW) is False
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
