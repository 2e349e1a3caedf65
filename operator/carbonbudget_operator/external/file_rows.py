"""Rows of CSV files, JSON lines and JSON documents, within bounds, each with the number of its line. Pure.

Rows are read by the names of their columns. A row with another number of fields than the header is refused: sources
have written rows that were shifted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from carbonbudget_operator.external.import_errors import ExternalFileError, shown

# What a worker process parses within its memory (server.questions.memory_mib, 192 MiB).
MAX_BYTES: Final = 8 * 2**20
MAX_ROWS: Final = 25_000
_MAX_COLUMNS: Final = 200
_MAX_NAME: Final = 500
_KINDS: Final = (
    (b"PAR1", "a Parquet file: export CSV, or convert it first"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet: unpack it, or save it as CSV"),
    (b"\xff\xfe", "UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16: save it as UTF-8"),
    (b"SQLite format 3", "an SQLite database"),
)
Row = Mapping[str, str]


def text_of(content: bytes) -> str:
    """The text of a file, without a byte order mark. Raises ExternalFileError for what is none."""
    if len(content) > MAX_BYTES:
        raise ExternalFileError(f"the file is larger than {MAX_BYTES} bytes: import it in parts")
    if not content.strip():
        raise ExternalFileError("the file is empty")
    for start, what in _KINDS:
        if content.startswith(start):
            raise ExternalFileError(f"the file is {what}")
    if (at := content.find(b"\0")) >= 0:
        raise ExternalFileError(f"line {_line(content, at)} has a NUL byte: the file is damaged or no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExternalFileError(f"line {_line(content, error.start)} is not UTF-8: save the file as UTF-8") from None


def csv_rows(text: str, needed: Iterable[str]) -> Iterator[tuple[int, Row]]:
    """The rows below the header with the lines that they start at. Raises ExternalFileError."""
    if not text.endswith(("\n", "\r")):
        raise ExternalFileError(
            "the file does not end with a line break, so it may be cut: export it again, or add one if it is whole"
        )
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = _header(next(reader, []), set(needed))
        line = reader.line_num + 1
        for number, fields in enumerate(reader, 1):
            if number > MAX_ROWS:
                raise ExternalFileError(f"line {line}: the file has more than {MAX_ROWS} rows: import it in parts")
            if fields and len(fields) != len(header):
                raise ExternalFileError(
                    f"line {line} has {len(fields)} fields, and the header {len(header)}: the row is shifted or cut"
                )
            if fields:
                yield line, dict(zip(header, fields, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ExternalFileError(f"line {reader.line_num}: this is no CSV: {error}") from None


def _header(names: list[str], needed: set[str]) -> list[str]:
    found = [name.strip() for name in names]
    if len(found) > _MAX_COLUMNS:
        raise ExternalFileError(f"line 1 has {len(found)} columns, at most {_MAX_COLUMNS} are read")
    missing = sorted(needed - set(found))
    if missing and len(found) < 2 and any(sign in found[0] for sign in ";\t|" if found):
        raise ExternalFileError("line 1 has one column: the fields must be separated by commas")
    if missing:
        raise ExternalFileError(
            f"line 1 has no column {', '.join(missing[:5])}: this is no file of that format, or of another version"
        )
    if twice := sorted({name for name in found if name and found.count(name) > 1}):
        raise ExternalFileError(f"line 1 has the column {shown(twice[0])} twice")
    return found


def json_line_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines; numbers are the texts that stand there. Raises ExternalFileError."""
    if not text.endswith("\n"):
        raise ExternalFileError(
            "the file does not end with a line break, so it may be cut: export it again, or add one if it is whole"
        )
    number = 0
    for line, one in enumerate(text.split("\n"), 1):
        if one.strip():
            number += 1
            if number > MAX_ROWS:
                raise ExternalFileError(f"line {line}: the file has more than {MAX_ROWS} rows: import it in parts")
            value = json_of(one, f"line {line}")
            if not isinstance(value, dict):
                raise ExternalFileError(f"line {line} is no JSON object")
            yield line, value


def json_of(text: str, where: str) -> Any:
    """A JSON value whose numbers are the texts that stand there. Raises ExternalFileError."""
    try:
        return json.loads(
            text,
            parse_float=str,
            parse_int=str,
            parse_constant=str,
            object_pairs_hook=lambda pairs: _once(pairs, where),
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}" if where == "the file" else where
        raise ExternalFileError(f"{place} is no JSON: {error.msg}. The file may be cut") from None
    except RecursionError:
        raise ExternalFileError(f"{where} is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ExternalFileError(f"{where} has a key twice in one object")
    return found


def name_of(text: object, where: str, needed: bool = True) -> str:
    """A name of the file: one line of text, bounded. Raises ExternalFileError."""
    if text is None:
        text = ""
    if not isinstance(text, str) or len(text) > _MAX_NAME or not text.isprintable():
        raise ExternalFileError(
            f"{where} is {shown(text)}: a name of at most {_MAX_NAME} printable characters is needed"
        )
    if needed and not text.strip():
        raise ExternalFileError(f"{where} is empty")
    return text.strip()


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1
