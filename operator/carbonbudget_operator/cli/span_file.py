"""Reads a file of spans that the client library wrote: JSON lines, or CSV with a header. Each span keeps its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_MAX_LINE: Final = 65_536
_NUMBERS: Final = ("step", "start_ms", "end_ms")
_COUNTERS: Final = {"cpu_us": ("cpu_start_us", "cpu_end_us"), "gpu_uj": ("gpu_start_uj", "gpu_end_uj")}
_TEXTS: Final = ("id", "name")


class SpanFileError(Exception):
    """A line that cannot be read; one sentence with the line's number."""


@dataclass(frozen=True, slots=True)
class FileSpan:
    """A span of a file: its line, whose it is as far as the file says, and its fields as they are sent."""

    line: int
    namespace: str
    pod_uid: str
    run: str
    fields: dict[str, Any]


@dataclass(slots=True)
class SpanFile:
    """What a file holds. `units`: counts of units, which are not imported; `unreadable`: sentences about lines."""

    spans: list[FileSpan] = field(default_factory=list)
    units: int = 0
    unreadable: list[str] = field(default_factory=list)


def read_span_file(lines: Iterable[str], as_csv: bool) -> SpanFile:
    """The spans of a file. What cannot be read is stated, line by line."""
    found = SpanFile()
    for number, record in _csv_records(lines) if as_csv else _json_records(lines):
        if isinstance(record, str):
            found.unreadable.append(f"line {number}: {record}")
        elif record.get("kind", "span") == "unit":
            found.units += 1
        else:
            try:
                found.spans.append(_span(number, record))
            except SpanFileError as error:
                found.unreadable.append(str(error))
    return found


def _json_records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line) if len(line) <= _MAX_LINE else None
        except (ValueError, RecursionError):
            value = None
        yield number, value if isinstance(value, dict) else "it is no JSON object, as a process leaves that was killed"


def _csv_records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    reader = csv.reader(lines)
    header: Sequence[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = [name.strip() for name in row]
                missing = [name for name in ("id", "name", "start_ms", "end_ms") if name not in header]
                if missing:
                    yield reader.line_num, f"the header lacks {', '.join(missing)}"
                    return
            elif [name.strip() for name in row] == header:
                continue  # two processes began the file at a time
            elif len(row) != len(header):
                yield reader.line_num, f"it has {len(row)} fields, the header has {len(header)}"
            else:
                yield reader.line_num, _of_csv(dict(zip(header, row, strict=True)))
    except csv.Error as error:
        yield reader.line_num, str(error)


def _of_csv(row: dict[str, str]) -> dict[str, Any]:
    """The row with numbers as numbers; what is none stays text and is refused with its field's name."""
    record: dict[str, Any] = {key: value for key, value in row.items() if value != ""}
    for name in _NUMBERS:
        if name in record:
            record[name] = _number(record[name])
    for name, ends in _COUNTERS.items():
        values = [record.pop(end) for end in ends if end in record]
        if values:
            record[name] = [_number(value) for value in values]
    return record


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else text


def _span(number: int, record: dict[str, Any]) -> FileSpan:
    named = [str(record.get(key) or "") for key in ("namespace", "pod_uid", "run")]
    fields = {key: record[key] for key in (*_TEXTS, *_NUMBERS, *_COUNTERS) if record.get(key) is not None}
    for key in _TEXTS:
        if not isinstance(fields.get(key), str):
            raise SpanFileError(f"line {number}: {key} must be text")
    for key in ("start_ms", "end_ms"):
        if type(fields.get(key)) is not int:
            raise SpanFileError(f"line {number}: {key} must be UTC milliseconds, a whole number")
    return FileSpan(number, named[0], named[1], named[2], fields)
