"""Lines for the user on standard error, each kind once. Nothing here or below it raises into the tracked code."""

from __future__ import annotations

import functools
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, TypeVar

    T = TypeVar("T")

_MOST_KINDS = 100
_shown: set[str] = set()


def notice(kind: str, text: str) -> None:
    """Show `text` unless a line of this kind was shown before, or CARBONBUDGET_QUIET is set. Never raises."""
    try:
        if kind in _shown or len(_shown) >= _MOST_KINDS:
            return
        _shown.add(kind)
        show(text)
    except Exception:  # noqa: S110 - standard error may be closed; there is nowhere left to say so
        pass


def show(text: str) -> None:
    """Write one line to standard error, where there is one and the user has not asked for silence. Never raises."""
    try:
        if os.environ.get("CARBONBUDGET_QUIET", "") in ("", "0") and sys.stderr is not None:
            # One write, so that lines of several processes do not mix.
            sys.stderr.write(f"carbonbudget: {text}\n")
            sys.stderr.flush()
    except Exception:  # noqa: S110 - standard error may be closed; there is nowhere left to say so
        pass


def safely(function: Callable[..., T]) -> Callable[..., T | None]:
    """The function, with its errors shown once instead of raised: the training goes on without the tracking."""

    @functools.wraps(function)
    def guarded(*args: object, **kwargs: object) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            notice_error(function.__qualname__, error)
            return None

    return guarded


def notice_error(where: str, error: BaseException) -> None:
    """Show once that something of the library failed. The tracked code goes on."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # an error whose text cannot be made
        text = type(error).__name__
    notice(f"error in {where}", f"{where} failed and is skipped: {text}")
