"""Reads fields and times from the answers of sources, with clear errors for missing fields."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError

_MISSING = object()
_INDEX: Final = re.compile(r"-?[0-9]{1,9}")


def at(source: str, answer: Any, path: str, default: Any = _MISSING) -> Any:
    """The field at a dotted path; numbers are list indexes, an empty path is the whole. Raises IntensitySourceError."""
    for part in path.split(".") if path else ():
        if isinstance(answer, dict) and part in answer:
            answer = answer[part]
        elif isinstance(answer, list) and _INDEX.fullmatch(part) and -len(answer) <= int(part) < len(answer):
            answer = answer[int(part)]
        elif default is not _MISSING:
            return default
        else:
            raise IntensitySourceError(f"{source}: the answer has no {path!r}")
    return answer


def items(source: str, answer: Any, path: str) -> list[Any]:
    """The list at a path. A single object counts as a list of one. Raises IntensitySourceError."""
    found = at(source, answer, path)
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise IntensitySourceError(f"{source}: {path or 'the answer'!r} is no list")
    return found


def instant(source: str, text: object) -> int:
    """UTC seconds of an ISO 8601 time. Raises IntensitySourceError."""
    try:
        if not isinstance(text, str):
            raise TypeError
        time = dt.datetime.fromisoformat(text)
        return int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        raise IntensitySourceError(f"{source}: {str(text)[:40]!r} is no time") from None


def iso(seconds: int, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """UTC seconds as ISO 8601."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime(form)
