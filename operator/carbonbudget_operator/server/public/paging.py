"""Pages of rows in a fixed order, and cursors: text that names the row after which a page begins. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import TypeVar

from carbonbudget_operator.ingest.refusal import Refusal

Place = tuple[int | str, ...]  # a row's place in the order; no two rows have the same one
_Row = TypeVar("_Row")


def cut(rows: Iterable[tuple[Place, _Row]], after: Place | None, limit: int) -> tuple[list[_Row], str | None]:
    """The first `limit` rows after that place, and the cursor of the next page; None where there are no more rows."""
    page: list[_Row] = []
    last: Place = ()
    for place, row in rows:
        if after is not None and place <= after:
            continue
        if len(page) == limit:
            return page, make_cursor(last)
        page.append(row)
        last = place
    return page, None


def make_cursor(place: Sequence[int | str]) -> str:
    """The cursor of the page that begins after that place."""
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode()


def read_cursor(text: str, kinds: Sequence[type]) -> Place | None:
    """The place that a cursor names, of values of these types; None for the first page. Raises Refusal."""
    if not text:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != list(kinds):
        raise Refusal(400, "malformed", "the cursor is of another question: ask without it for the first page")
    return tuple(parts)
