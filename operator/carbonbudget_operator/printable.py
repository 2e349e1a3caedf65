"""Text of unknown origin, made safe to show: one rule for every place where such text reaches people.

Whoever writes a label, a name or a contact may write an escape sequence, a line break or a right-to-left override. In
a terminal or a log these act or deceive. Nothing here decides what a name means; it only decides how it is shown.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Control, format (bidirectional overrides among them), surrogate, private, unassigned; line and paragraph separators.
_NOT_SHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MAX_LENGTH: Final = 256
_CUT: Final = "..."


def is_printable(text: str) -> bool:
    """Whether `printable` would leave each character as it is."""
    # ASCII first: almost every name is, and `str.isprintable` looks no character up.
    return text.isprintable() if text.isascii() else all(_is_shown(character) for character in text)


def printable(text: str, max_length: int = MAX_LENGTH) -> str:
    r"""`text` in one line, characters that act or deceive escaped (`\x1b`, `\u202e`), at most `max_length` long.

    What is cut ends with three dots. Text that is printable and short enough comes back unchanged.
    """
    if len(text) <= max_length and text.isascii() and text.isprintable():
        return text  # nearly all are
    shown = text if is_printable(text) else "".join(map(_shown, text[: max_length + 1]))
    return shown if len(shown) <= max_length else shown[: max(0, max_length - len(_CUT))] + _CUT


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _NOT_SHOWN


def _shown(character: str) -> str:
    if _is_shown(character):
        return character
    return character.encode("unicode_escape").decode("ascii")
