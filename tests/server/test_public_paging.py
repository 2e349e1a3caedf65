"""Pages of every resource add up to the whole, and no cursor does harm."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.paging import Place, cut, make_cursor, read_cursor

_text = st.text(max_size=300)  # any character, lone surrogates left out as in JSON from a ledger
_places = st.lists(st.tuples(st.integers(0, 5), _text, st.integers()), unique=True, max_size=40).map(sorted)


@given(_places, st.integers(1, 12))
def test_pages_add_up_to_the_whole_in_order(places: list[Place], limit: int) -> None:
    found: list[int] = []
    cursor: str | None = ""
    asked = 0
    while cursor is not None:
        after = read_cursor(cursor, (int, str, int))
        page, cursor = cut(zip(places, range(len(places)), strict=True), after, limit)
        assert len(page) == limit or cursor is None
        found += page
        asked += 1
    assert found == list(range(len(places)))
    assert asked == max(1, -(-len(places) // limit))  # no page is empty but the only one


@given(_places, st.tuples(st.integers(-1, 6), _text, st.integers()), st.integers(1, 12))
def test_a_page_begins_after_its_cursor_even_where_that_row_is_gone(
    places: list[Place], after: Place, limit: int
) -> None:
    page, _ = cut(((place, place) for place in places), after, limit)
    assert page == [place for place in places if place > after][:limit]


@given(st.lists(st.one_of(st.integers(), _text), min_size=1, max_size=5))
def test_a_cursor_names_its_place_whatever_its_text(place: list[int | str]) -> None:
    cursor = make_cursor(place)
    assert cursor.isascii()
    assert read_cursor(cursor, [type(part) for part in place]) == tuple(place)


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=6)


def answered(cursor: str, *kinds: type) -> Place | int | None:
    """The place, or the status of the refusal."""
    try:
        return read_cursor(cursor, kinds)
    except Refusal as refusal:
        return refusal.status


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()), _json.map(json.dumps)))
def test_any_other_text_is_refused_or_a_place_of_the_right_kind(text: str) -> None:
    for cursor in (text, base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()):
        place = answered(cursor, int, str)
        if isinstance(place, tuple):
            assert [type(part) for part in place] == [int, str]
        else:
            assert place == (400 if cursor else None)


def test_a_cursor_of_deep_brackets_is_refused() -> None:
    assert answered(base64.urlsafe_b64encode(b"[" * 3_000).decode(), int) == 400
