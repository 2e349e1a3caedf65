"""Text of unknown origin is shown in one line, and nothing in it acts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.printable import is_printable, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("team-a", "team-a"),
        ("équipe 1, 队", "équipe 1, 队"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("abc\u202etxt", r"abc\u202etxt"),
        ("a\u2028b", r"a\u2028b"),
        ("a\x9bb", r"a\x9bb"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_characters_that_act_or_deceive_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_text_beyond_the_bound_is_cut_and_says_so() -> None:
    assert printable("a" * 300, 10) == "aaaaaaa..."
    assert printable("\x1b" * 300, 10) == r"\x1b\x1..."
    assert printable("a" * 10, 10) == "a" * 10


@given(st.text(), st.integers(3, 50))
def test_nothing_shown_is_longer_than_the_bound_or_acts(text: str, bound: int) -> None:
    shown = printable(text, bound)
    assert len(shown) <= bound
    assert is_printable(shown)
    assert all(unicodedata.category(c)[0] not in "C" and unicodedata.category(c) not in ("Zl", "Zp") for c in shown)


@given(st.text())
def test_printable_text_comes_back_unchanged(text: str) -> None:
    if is_printable(text) and len(text) <= 256:
        assert printable(text) == text
