"""Why a file of external figures is not taken. Pure."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = 60


class ExternalFileError(Exception):
    """The file cannot be imported; one sentence says where and why. Nothing of it is taken."""


def shown(text: object) -> str:
    """A value of the file in a sentence: quoted, escaped, and cut."""
    written = ascii(str(text)[: _SHOWN + 1])
    return written if len(str(text)) <= _SHOWN else f"{written[:_SHOWN]}...'"
