"""JSON read from chunks: the same values as when it is read whole, and never more than a small part in memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.test_parsers import CONTENT

from carbonbudget_agent import json_stream
from carbonbudget_agent.json_stream import Each, JsonStream, Parts, read_items
from carbonbudget_core.jsons import objects

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["items", "a", "b", "c"]) | st.text('ab"\\', max_size=3), inner, max_size=4)
    ),
    max_leaves=15,
)
CHUNK = st.integers(1, 9)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


@pytest.fixture(scope="module", params=[32, 65_536])
def whole(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many characters may be decoded whole: 32 hold a number or a word, and few objects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WHOLE_CHARACTERS", request.param)
        yield request.param


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans(), CHUNK)
def test_a_list_that_is_read_item_by_item_is_the_one_that_is_read_whole(
    value: object, indent: int | None, ascii_only: bool, chunk: int
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    is_list = isinstance(value, dict) and isinstance(value.get("items", []), list)
    fields: dict[str, Any] = {}
    try:
        items = list(read_items(pieces(body, chunk), None, fields))
    except ValueError:
        assert not is_list or b"\xed" in body
        return
    assert isinstance(value, dict)
    assert (fields, items) == ({key: part for key, part in value.items() if key != "items"}, value.get("items", []))


@given(st.one_of(CONTENT, st.text('{}[]:,"ims te1', max_size=30).map(str.encode)), CHUNK)
def test_any_bytes_are_a_list_as_json_has_it_or_refused(body: bytes, chunk: int) -> None:
    fields: dict[str, Any] = {}
    try:
        items = list(read_items(pieces(body, chunk), None, fields))
    except ValueError:
        return
    value = json.loads(body)  # what is taken is JSON, of which the last of two equal keys counts
    assert fields.keys() == value.keys() - {"items"}
    assert items or not value.get("items")


@given(JSON, CHUNK)
def test_what_is_passed_over_ends_where_the_value_ends(whole: int, value: object, chunk: int) -> None:
    body = json.dumps([value, "next"]).encode()
    stream = JsonStream(pieces(body, chunk))
    stream.expect("[")
    stream.skip()
    stream.expect(",")
    stream.expect('"')


PARTS: Parts = {
    "a": {"b": None, "c": {"a": None}},
    "items": Each({"a": None}, lambda item: bool(item.get("a"))),
    "c": 2,
}


@given(JSON, CHUNK)
def test_of_a_large_value_exactly_the_named_parts_are_kept(value: object, chunk: int) -> None:
    body = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WHOLE_CHARACTERS", 32)
        found = JsonStream(pieces(body, chunk)).value(PARTS)
    assert_part(found, value, PARTS)


def assert_part(found: object, value: object, parts: Parts) -> None:
    """`found` is the value, or its named parts, or nothing."""
    if found is None or found == value:
        return
    if isinstance(parts, Each):
        assert isinstance(found, list)
        assert isinstance(value, list)
        assert all(any(holds(whole, part) for whole in value) for part in objects(found))
        return
    assert isinstance(found, dict)
    assert isinstance(value, dict)
    if isinstance(parts, int):
        assert sorted(found) == sorted(value)[:parts]  # in any order, as in a value that is decoded whole
        return
    assert parts is not None
    assert found.keys() == value.keys() & parts.keys()
    for key, part in found.items():
        assert_part(part, value[key], parts[key])


def holds(whole: object, part: object) -> bool:
    return isinstance(whole, dict) and isinstance(part, dict) and part.keys() <= whole.keys()


@pytest.mark.parametrize(
    "cut", ['{"items": [{"a": "', '{"items": [{"a": 1}', '{"items": [{"a": {"b": [1, 2', '{"items": [']
)
def test_an_answer_that_ends_in_the_middle_is_refused(whole: int, cut: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        list(read_items([cut.encode()], {"a": None}, {}))


def test_values_follow_one_another_and_a_value_is_there_as_soon_as_it_is_complete() -> None:
    """A watch says nothing for minutes behind an event."""

    def events() -> Iterator[bytes]:
        yield b'{"n": 1}\n{"n"'
        yield b": 2}"
        raise AssertionError("the second value was complete")

    stream = JsonStream(events())
    assert [stream.value(), stream.value()] == [{"n": 1}, {"n": 2}]


def test_a_number_that_is_cut_by_a_chunk_is_one_number() -> None:
    assert JsonStream([b"12", b"34"]).value() == 1234
    assert JsonStream([b"12"]).value() == 12


ESCAPES = "\\u003c" * 400_000
LARGE = {
    "a text": f'{{"keep": 1, "drop": "{"x" * 3_000_000}"}}',
    "a text of escapes": f'{{"drop": "{ESCAPES}", "keep": 1}}',
    "a text that is wanted": f'{{"keep": 1, "large": "{"x" * 3_000_000}"}}',
    "a list": f'{{"drop": [{"[1]," * 150_000}0], "keep": 1}}',
    "an object": '{"keep": 1, "drop": {' + ",".join(f'"k{n}": {{}}' for n in range(50_000)) + "}}",
    "deep": f'{{"drop": {"[" * 150_000}{"]" * 150_000}, "keep": 1}}',
    "many keys": '{"labels": {' + ",".join(f'"{n:06}": "v"' for n in range(80_000)) + '}, "keep": 1}',
    "many elements": '{"keep": 1, "each": [' + ",".join(['{"resources": {}, "name": "x"}'] * 20_000) + "]}",
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_value_of_megabytes_is_read_in_a_megabyte(kind: str) -> None:
    parts: Parts = {"keep": None, "large": None, "labels": 64, "each": Each({"name": None}, lambda item: "y" in item)}
    body = LARGE[kind].encode()
    tracemalloc.start()
    try:
        found = JsonStream(pieces(body, 65_536)).value(parts)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["keep"] == 1
    assert most < 3_000_000


def test_of_too_many_keys_those_that_sort_first_are_kept() -> None:
    body = json.dumps({"labels": {f"{n:05}": "v" for n in reversed(range(20_000))}}).encode()
    found = JsonStream(pieces(body, 4_096)).value({"labels": 3})
    assert list(found["labels"]) == ["00000", "00001", "00002"]


def test_a_list_is_never_held_whole() -> None:
    """Five hundred pods of 5 KB: the objects of one at a time."""
    item = {"metadata": {f"key-{n}": {"f:a": {}, "f:b": [n]} for n in range(150)}}
    body = json.dumps({"items": [item] * 500}).encode()
    tracemalloc.start()
    try:
        number = sum(1 for _ in read_items(pieces(body, 65_536), None, {}))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == 500
    assert most < 2_000_000  # as one value it takes thirty times as much as its text
