"""Leases, secrets, unreadable hours and the pauses of exports that fail."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.exports.exporting import HOUR, Export, fill, settings_of, upkeep
from tests.exports.scripted_target import FIRST, HOURS, NOW, ScriptedTarget, an_export, hours_of, paced

from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.exports.export_target_http import TargetAway
from carbonbudget_operator.ledger.ledger_engine import LedgerError


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
    await two.step(NOW + 600)  # the first one is gone
    assert target.requests == sent + 1
    fill(engine, FIRST + HOUR, 1, {"later": 5}, node="node-3")
    upkeep(engine, settings, NOW + 660)
    await one.step(NOW + 660)
    assert target.requests == sent + 1
    await two.step(NOW + 660)
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
