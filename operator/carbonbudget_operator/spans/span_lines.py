"""Reads the spans and counts of a request one by one: which are taken, cut to the pod's life, and which are refused.

A refusal is one sentence that the client logs. It repeats nothing of the line but an id that is well formed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeVar

from pydantic import ValidationError

from carbonbudget_operator.printable import is_printable
from carbonbudget_operator.spans.span_bodies import (
    ID_PATTERN,
    MAX_AHEAD_MS,
    MAX_COUNT_MS,
    MAX_SPAN_MS,
    RefusedLine,
    SpanBody,
    UnitBody,
)
from carbonbudget_operator.spans.span_record import Span

_ID: Final = re.compile(ID_PATTERN)
_DAY_MS: Final = 86_400_000
_Line = TypeVar("_Line", SpanBody, UnitBody)


def read_spans(
    lines: Iterable[object], now_ms: int, first_ms: int, last_ms: int | None = None
) -> tuple[list[Span], list[RefusedLine]]:
    """The spans that can be taken, cut to the pod's life [first_ms, last_ms), and the lines that are refused.

    `last_ms` is None while the pod runs. Of lines with one id the first is taken and the others count as the same.
    """
    found, refused = _read(SpanBody, lines, now_ms, first_ms, last_ms)
    spans = []
    for body in found:
        start_ms, end_ms = _cut(body, first_ms, last_ms)
        spans.append(replace(body.span(), start_ms=start_ms, end_ms=end_ms))
    return spans, refused


def read_units(
    lines: Iterable[object], now_ms: int, first_ms: int, last_ms: int | None = None
) -> tuple[list[UnitBody], list[RefusedLine]]:
    """The counts that can be taken, and the lines that are refused, by the same rules.

    A count is cut to the pod's life as a whole: nothing was counted before and after it.
    """
    found, refused = _read(UnitBody, lines, now_ms, first_ms, last_ms)
    units = []
    for body in found:
        start_ms, end_ms = _cut(body, first_ms, last_ms)
        units.append(body.model_copy(update={"start_ms": start_ms, "end_ms": end_ms}))
    return units, refused


def _read(
    kind: type[_Line], lines: Iterable[object], now_ms: int, first_ms: int, last_ms: int | None
) -> tuple[list[_Line], list[RefusedLine]]:
    found: dict[str, _Line] = {}
    refused: list[RefusedLine] = []
    for number, line in enumerate(lines, start=1):
        try:
            body = kind.model_validate(line)
        except ValidationError as error:
            refused.append(_refusal(line, number, _defect(error)))
            continue
        reason = _reason(body, now_ms, first_ms, last_ms)
        if reason:
            refused.append(_refusal(line, number, reason))
        else:
            found.setdefault(body.id, body)
    return list(found.values()), refused


def _reason(line: SpanBody | UnitBody, now_ms: int, first_ms: int, last_ms: int | None) -> str:
    """Why a line that is well formed is refused; empty if it is not."""
    if not is_printable(line.name):
        return "its name has characters that cannot be shown; use printable text"
    if line.end_ms < line.start_ms:
        return "it ends before it starts; start_ms and end_ms are swapped or the clock was set back"
    if line.end_ms - line.start_ms > MAX_SPAN_MS:
        return f"it is longer than {MAX_SPAN_MS // _DAY_MS} days; divide it into shorter ones"
    length_ms = min(line.end_ms, last_ms or line.end_ms) - max(line.start_ms, first_ms)
    if isinstance(line, UnitBody) and length_ms > MAX_COUNT_MS:
        return f"it counts over more than {MAX_COUNT_MS // 3_600_000} hours; count more often, or update the client"
    if line.end_ms > now_ms + MAX_AHEAD_MS:
        return f"it ends more than {MAX_AHEAD_MS // 1000} s in the future; set the clock of the node or send it later"
    if line.end_ms < first_ms:
        return "it ends before the pod started; send the spans of another pod with `carbonbudget spans import`"
    if last_ms is not None and line.start_ms > last_ms:
        return "it starts after the pod ended; send the spans of another pod with `carbonbudget spans import`"
    return ""


def _cut(line: SpanBody | UnitBody, first_ms: int, last_ms: int | None) -> tuple[int, int]:
    """Start and end within the pod's life."""
    return max(line.start_ms, first_ms), line.end_ms if last_ms is None else min(line.end_ms, last_ms)


def _refusal(line: object, number: int, reason: str) -> RefusedLine:
    given = line.get("id") if isinstance(line, dict) else None
    known = isinstance(given, str) and _ID.fullmatch(given) is not None
    return RefusedLine(id=str(given) if known else "", reason=reason if known else f"line {number}: {reason}")


def _defect(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"][:1].lower() + first["msg"][1:]
    return f"{where}: {message}" if where else message
