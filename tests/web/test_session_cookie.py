"""The sealed cookie: what it holds, how it ends, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.web.session_cookie import (
    MOST_TOKEN_BYTES,
    Session,
    SessionRefused,
    SessionSealer,
    SessionTooLarge,
    session_end,
)

NOW = 1_800_000_000
HOURS_8 = 8 * 3600
KEY, OTHER = Fernet.generate_key(), Fernet.generate_key()
SESSION = Session("a.b.c", "ann", NOW + 3600)


def sealer(*keys: bytes) -> SessionSealer:
    return SessionSealer(keys or (KEY,), HOURS_8)


@given(
    token=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=MOST_TOKEN_BYTES - 700),
    user=st.text(max_size=100),
    seconds=st.integers(0, HOURS_8 - 1),
)
def test_a_session_is_what_was_sealed_until_its_end(token: str, user: str, seconds: int) -> None:
    session = Session(token, user, NOW + HOURS_8)
    assert sealer().open(sealer().seal(session, NOW), NOW + seconds) == session


def test_the_browser_reads_neither_the_token_nor_the_name() -> None:
    sealed = sealer().seal(Session("the-token", "the-name", NOW + 60), NOW)
    text = base64.urlsafe_b64decode(sealed)
    assert b"the-token" not in text
    assert b"the-name" not in text


def test_a_session_ends_with_its_token() -> None:
    sealed = sealer().seal(SESSION, NOW)
    assert sealer().open(sealed, NOW + 3599) == SESSION
    with pytest.raises(SessionRefused, match="has ended: sign in again"):
        sealer().open(sealed, NOW + 3600)


def test_a_session_ends_after_its_longest_time_though_its_token_does_not() -> None:
    sealed = sealer().seal(Session("t", "ann", NOW + 10 * HOURS_8), NOW)
    with pytest.raises(SessionRefused, match="has ended: sign in again"):
        sealer().open(sealed, NOW + HOURS_8 + 1)


@given(place=st.integers(0, 10_000), character=st.sampled_from("AbZ09-_=+ \u00e9"))
def test_no_altered_cookie_is_opened_as_another_session(place: int, character: str) -> None:
    sealed = sealer().seal(SESSION, NOW)
    place %= len(sealed)
    altered = sealed[:place] + character + sealed[place + 1 :]
    try:
        opened: object = sealer().open(altered, NOW)
    except SessionRefused as refused:
        opened = str(refused)
    assert opened in (SESSION, "the session's cookie is not one of this server: sign in again")


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "\u00e9" * 100, "A" * 10_000])
def test_what_is_no_session_is_refused(text: str) -> None:
    with pytest.raises(SessionRefused, match="not one of this server"):
        sealer().open(text, NOW)


def test_a_cookie_of_another_key_is_refused() -> None:
    with pytest.raises(SessionRefused, match="not one of this server"):
        sealer().open(sealer(OTHER).seal(SESSION, NOW), NOW)


def test_while_keys_are_replaced_sessions_of_both_are_open_and_the_first_key_seals() -> None:
    former = sealer(KEY).seal(SESSION, NOW)
    both = sealer(OTHER, KEY)
    assert both.open(former, NOW) == SESSION
    assert sealer(OTHER).open(both.seal(SESSION, NOW), NOW) == SESSION
    both.use([OTHER])
    with pytest.raises(SessionRefused, match="not one of this server"):
        both.open(former, NOW)


def test_a_token_that_no_cookie_holds_is_refused() -> None:
    longest = Session("t" * MOST_TOKEN_BYTES, "a" * 200, NOW + 60)
    assert len(sealer().seal(longest, NOW)) < 4_000
    with pytest.raises(SessionTooLarge, match="2600 bytes"):
        sealer().seal(Session("t" * (MOST_TOKEN_BYTES + 1), "ann", NOW + 60), NOW)
    with pytest.raises(SessionTooLarge, match="user's name"):
        sealer().seal(Session("t" * MOST_TOKEN_BYTES, "\U0001f600" * 200, NOW + 60), NOW)


def a_token(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (a_token({"exp": NOW + 600}), NOW + 600),
        (a_token({"exp": NOW + 10 * HOURS_8}), NOW + HOURS_8),
        (a_token({}), NOW + HOURS_8),
        (a_token({"exp": "soon"}), NOW + HOURS_8),
        (a_token({"exp": float("inf")}), NOW + HOURS_8),
        (a_token([]), NOW + HOURS_8),
        ("opaque", NOW + HOURS_8),
        ("a.%.c", NOW + HOURS_8),
        ("a." + base64.urlsafe_b64encode(b"[" * 60_000).decode() + ".c", NOW + HOURS_8),
    ],
)
def test_a_session_ends_with_the_token_and_after_eight_hours_at_the_latest(token: str, end: int) -> None:
    assert session_end(token, NOW, HOURS_8) == end
