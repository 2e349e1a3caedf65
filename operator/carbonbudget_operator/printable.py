"""Makes text of unknown origin safe to print in terminals, logs and messages.

Labels, names and contacts of tenants may contain escape sequences, line breaks or right-to-left overrides. These could
control a terminal or mislead a reader. This module changes only how text is shown, never what it means.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Control, format (with bidirectional overrides), surrogate, private and unassigned; line and paragraph separators.
_NOT_SHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MAX_LENGTH: Final = 256
_CUT: Final = "..."


def is_printable(text: str) -> bool:
    """Whether `printable` would not change any character."""
    # ASCII first: almost every name is ASCII, and `str.isprintable` is fast.
    return text.isprintable() if text.isascii() else all(_is_shown(character) for character in text)


def printable(text: str, max_length: int = MAX_LENGTH) -> str:
    r"""`text` as one line of at most `max_length` characters, with unsafe characters escaped (`\x1b`, `\u202e`).

    Longer text is cut and ends with three dots. Short printable text is returned unchanged.
    """
    if len(text) <= max_length and text.isascii() and text.isprintable():
        return text  # almost every text
    shown = text if is_printable(text) else "".join(map(_shown, text[: max_length + 1]))
    return shown if len(shown) <= max_length else shown[: max(0, max_length - len(_CUT))] + _CUT


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _NOT_SHOWN


def _shown(character: str) -> str:
    if _is_shown(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def numbered(number: int, one: str, many: str) -> str:
    """ "1 run" or "2 runs"; the words may have more than the noun: "1 row is", "2 rows are"."""
    return f"{number} {one if number == 1 else many}"
