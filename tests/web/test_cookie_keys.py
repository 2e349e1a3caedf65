"""Keys of cookies: what a file may hold, and that a changed file is loaded."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest
from tests.controller.api_server import eventually

from carbonbudget_operator.settings import SettingsError
from carbonbudget_operator.web import cookie_keys
from carbonbudget_operator.web.cookie_keys import follow_keys, make_key, read_keys
from carbonbudget_operator.web.session_cookie import Session, SessionRefused, SessionSealer


def test_keys_are_lines_of_either_base64(tmp_path: Path) -> None:
    raw = [b"\xff" * 32, b"\x00" * 32, os.urandom(32)]
    texts = [base64.b64encode(raw[0]), base64.urlsafe_b64encode(raw[1]), make_key()]
    path = tmp_path / "keys"
    path.write_bytes(b"\n".join(texts) + b"\n\n")
    found = read_keys(path)
    assert [base64.urlsafe_b64decode(key) for key in found[:2]] == raw[:2]
    assert found[2] == texts[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 keys"),
        ("\n".join(["A" * 43 + "="] * 9), "has 9 keys"),
        ("SECRET", "key 1 of .* is not 32 bytes"),
        (f"{'A' * 43}=\n{'A' * 40}", "key 2 of .* is not 32 bytes"),
        ("*" * 44, "openssl rand -base64 32"),
    ],
)
def test_a_file_that_is_none_of_keys_is_refused_without_its_content(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError, match=reason) as refused:
        read_keys(path)
    assert "SECRET" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none cannot be read: No such file"):
        read_keys(tmp_path / "none")


@pytest.mark.parametrize("gone", [True, False])
async def test_a_file_that_is_emptied_or_gone_ends_no_session_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, gone: bool
) -> None:
    monkeypatch.setattr(cookie_keys, "_CHECK_SECONDS", 0.01)
    path, session = tmp_path / "keys", Session("t", "ann", 2_000)
    path.write_bytes(make_key())
    sealer = SessionSealer(read_keys(path), 3600)
    sealed = sealer.seal(session, 1_000)
    following = asyncio.create_task(follow_keys(path, sealer))
    try:
        await asyncio.sleep(0)  # it has read the first state
        if gone:
            path.unlink()
        else:
            path.write_bytes(b"")
        await eventually(lambda: "stay in use, and sessions with them" in caplog.text)
        assert sealer.open(sealed, 1_000) == session
    finally:
        following.cancel()


async def test_a_changed_file_is_loaded_and_an_invalid_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cookie_keys, "_CHECK_SECONDS", 0.01)
    path, session = tmp_path / "keys", Session("t", "ann", 2_000)
    path.write_bytes(make_key())
    sealer = SessionSealer(read_keys(path), 3600)
    sealed = sealer.seal(session, 1_000)
    following = asyncio.create_task(follow_keys(path, sealer))
    try:
        await asyncio.sleep(0)  # it has read the first state
        path.write_text("no key")
        await eventually(lambda: "previous keys of cookies stay in use" in caplog.text)
        assert sealer.open(sealed, 1_000) == session
        path.write_bytes(make_key())

        def refused() -> bool:
            try:
                sealer.open(sealed, 1_000)
            except SessionRefused:
                return True
            return False

        await eventually(refused)
    finally:
        following.cancel()
