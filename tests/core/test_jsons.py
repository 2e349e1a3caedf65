"""Values of which nobody has checked the shape are read as what they should be, or as nothing."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.jsons import at, items, mapping, objects, parse_json, parse_object, text, texts, whole_number

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(ANYTHING)
def test_no_shape_breaks_a_reader_and_what_has_the_right_one_is_given_as_it_is(value: object) -> None:
    assert mapping(value) == (value if isinstance(value, dict) else {})
    assert text(value) == (value if isinstance(value, str) else "")
    assert items(value) == (value if isinstance(value, list) else [])
    assert list(objects(value)) == [one for one in items(value) if isinstance(one, dict)]
    assert texts(value) == {key: one for key, one in mapping(value).items() if isinstance(one, str)}
    assert at(value, "a", "b") == mapping(mapping(mapping(value).get("a")).get("b"))
    assert whole_number(value, -1) == (value if type(value) is int and value >= 0 else -1)


def test_an_object_needs_not_be_a_dict() -> None:
    assert at(MappingProxyType({"a": MappingProxyType({"b": 1})}), "a") == {"b": 1}


def test_objects_that_are_kept_encoded_are_decoded_one_by_one() -> None:
    assert list(objects([b'{"a": 1}', {"b": 2}, b"3", 4])) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("source", ["", "{", "[1]", "null", b"\xff", "[" * 100_000])
def test_a_text_that_is_no_object_is_read_as_an_empty_one(source: str | bytes) -> None:
    assert parse_object(source) == {}


@pytest.mark.parametrize("source", ["", "{", b"\xff", "[" * 100_000])
def test_every_defect_of_a_text_is_a_value_error(source: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|decode|deeply|Expecting"):
        parse_json(source)
