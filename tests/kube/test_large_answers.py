"""Whatever size objects have, one at a time is in memory: pages that shrink, lines with a bound, metadata alone."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.kube.test_client import X, client_of, stream, until

from carbonbudget_operator.json_bounds import beginning, first_members, parsed_bytes
from carbonbudget_operator.kube import connection as connections
from carbonbudget_operator.kube import watch as watches
from carbonbudget_operator.kube.client import KubeClient, KubeError

# --- what parsing costs ----------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(texts, inner, max_size=12),
    max_leaves=60,
)
WORST = [
    b"[" + b"{}," * 20_000 + b"1]",
    b"[" + b"[]," * 20_000 + b"1]",
    b"[" + b"1.5," * 20_000 + b"1]",
    b"[" + b'{"a":1.5},' * 20_000 + b"1]",
    b"[" + b'{"a":{}},' * 20_000 + b"1]",
    b"[" + b"".join(b'{"%d":"x%d"},' % (n, n) for n in range(20_000)) + b"1]",
    b"{" + b"".join(b'"%d":"%d",' % (n, n) for n in range(20_000)) + b'"x":1}',
    b"{" + b"".join(b'"%d":{},' % n for n in range(11_000)) + b'"x":1}',
    b'["' + b"a" * 100_000 + "😀".encode() + b'"]',
    b"[" + b"".join(b'"x%d",' % n for n in range(20_000)) + b"1]",
]


def measured(parse: Callable[[bytes], object], text: bytes) -> int:
    tracemalloc.start()
    try:
        kept = parse(text)
        held, _ = tracemalloc.get_traced_memory()
        del kept
        return held
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parse", [json.loads, orjson.loads])
@pytest.mark.parametrize("text", WORST, ids=lambda text: text[:12].decode())
def test_parsing_never_takes_more_than_it_was_estimated_at(text: bytes, parse: Callable[[bytes], object]) -> None:
    assert measured(parse, text) <= parsed_bytes(text)


@given(st.lists(values, min_size=3, max_size=6))
def test_nor_does_any_other_json_beyond_a_fixed_overhead(value: object) -> None:
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _fits(value) else b"[]"
    assert measured(orjson.loads, text) <= parsed_bytes(text) + 4_096


def _fits(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return False
    return True


# --- the members at the beginning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1,"b":{"c":[2]},"x":', ({"a": 1, "b": {"c": [2]}}, "x", 25)),
        (' { "a" : 1 , "x" : 5', ({"a": 1}, "x", 19)),
        ('{"a":1}', ({"a": 1}, "", -1)),
        ("{}", ({}, "", -1)),
        ('{"x":1}', ({}, "x", 5)),
    ],
)
def test_members_are_read_up_to_the_first_that_is_not_wanted(text: str, found: object) -> None:
    assert first_members(text, 0, ("a", "b")) == found


@pytest.mark.parametrize(
    "text", ["", "[", '{"a":1,"a":2}', '{"a":', '{"a"', '{"a":1,', "{1:2}", '{"a":1 "b":2}', "{,}"]
)
def test_what_is_cut_or_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        first_members(text, 0, ("a", "b"))


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_members_or_a_value_error(text: bytes, most: int) -> None:
    try:
        first_members(beginning(text, most), 0, ("a",))
    except ValueError:
        pass


def test_a_beginning_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        first_members('{"a":' + "[" * 100_000, 0, ("a",))


# --- pages -----------------------------------------------------------------------------------------------------------


def large(name: str, size: int = 1_400_000) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"text": "x" * size}}


class Collection:
    """Answers lists by `limit` and `continue`, and remembers the limits."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items, self.limits = items, list[int]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        start, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        self.limits.append(limit)
        found = self.items[start : start + limit]
        more = str(start + limit) if start + limit < len(self.items) else ""
        return web.json_response(
            {
                "kind": "XList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "9", "continue": more},
                "items": found,
            }
        )

    async def names(self, client: KubeClient) -> list[object]:
        return [item["metadata"]["name"] async for item in client.list(X)]  # type: ignore[index] # JSON


async def test_a_list_of_large_objects_is_read_a_few_at_a_time_and_whole() -> None:
    collection = Collection(*(large(f"l{n}") for n in range(25)), *({"metadata": {"name": f"s{n}"}} for n in range(99)))
    async with client_of(collection.answer) as client:
        assert await collection.names(client) == [item["metadata"]["name"] for item in collection.items]
    assert collection.limits[:5] == [500, 62, 7, 1, 1]
    assert collection.limits[-1] > 8  # small ones come more at a time again


async def test_small_objects_come_in_pages_as_large_as_asked() -> None:
    collection = Collection(*({"metadata": {"name": f"s{n}"}} for n in range(1_200)))
    async with client_of(collection.answer) as client:
        assert len(await collection.names(client)) == 1_200
    assert collection.limits == [500, 500, 500]


async def test_a_page_is_bounded_by_what_it_becomes_too() -> None:
    hollow = {"metadata": {"name": "h"}, "spec": {"list": [{}] * 300_000}}
    collection = Collection(hollow, hollow, hollow)
    async with client_of(collection.answer) as client:
        assert await collection.names(client) == ["h", "h", "h"]
    assert collection.limits[-1] == 1


async def test_an_object_that_is_larger_than_any_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_OBJECT_BYTES", 2**20)
    monkeypatch.setattr(connections, "_PAGE_BYTES", 2**19)
    collection = Collection(large("x"))
    async with client_of(collection.answer) as client:
        with pytest.raises(KubeError, match="is larger than 1048576 bytes"):
            await collection.names(client)
        with pytest.raises(KubeError, match="is larger than 1048576 bytes"):
            await client.request("GET", X, params={"limit": "1"})


async def test_what_would_fill_the_memory_comes_with_its_metadata_alone_by_list_and_by_watch() -> None:
    hollow = {"metadata": {"name": "h", "labels": {"a": "b"}}, "spec": {"list": [{}] * 500_000}}
    changed = {"metadata": {"name": "h", "labels": {"a": "c"}, "resourceVersion": "11"}, "spec": hollow["spec"]}
    small = {"metadata": {"name": "s", "resourceVersion": "12"}, "spec": {"x": 1}}
    collection = Collection(hollow)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return await collection.answer(request)
        return await stream(request, {"type": "MODIFIED", "object": changed}, {"type": "ADDED", "object": small})

    async with client_of(answer) as client, asyncio.timeout(20):
        events = client.watch(X, most_parsed=2**20)
        seen = [await anext(events) for _ in range(5)]
        await events.aclose()  # type: ignore[attr-defined] # an async generator
    assert seen == [
        ("LISTING", None),
        ("ADDED", {"metadata": {"name": "h", "labels": {"a": "b"}}}),
        ("LISTED", None),
        ("MODIFIED", {"metadata": changed["metadata"]}),
        ("ADDED", small),
    ]


# --- lines -----------------------------------------------------------------------------------------------------------


async def test_a_line_longer_than_any_object_ends_the_watch_which_lists_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MAX_OBJECT_BYTES", 2**20)
    lists = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" in request.query:
            return await stream(request, {"type": "ADDED", "object": large("x")})
        lists += 1
        return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})

    async with client_of(answer) as client, asyncio.timeout(20):
        events = client.watch(X)
        assert [(await anext(events))[0] for _ in range(4)] == ["LISTING", "LISTED", "LISTING", "LISTED"]
        await events.aclose()  # type: ignore[attr-defined] # an async generator
    assert not client.large.locked()


async def test_one_watch_at_a_time_holds_a_long_line_that_is_not_whole() -> None:
    sent = asyncio.Event()
    paths = [X.at("a"), X.at("b")]

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})
        response = await stream(request)
        line = json.dumps({"type": "ADDED", "object": large("x")}).encode()
        await response.write(line[:-1])
        await sent.wait()
        await response.write(line[-1:] + b"\n")
        await asyncio.sleep(60)
        return response

    async def first(client: KubeClient, number: int) -> str:
        async for kind, _ in client.watch(paths[number]):
            if kind == "ADDED":
                return kind
        return ""

    async with client_of(answer) as client, asyncio.timeout(20):
        both = [asyncio.create_task(first(client, number)) for number in (0, 1)]
        await until(lambda: client.large.locked() and bool(client.large._waiters))
        sent.set()
        assert await asyncio.gather(*both) == ["ADDED", "ADDED"]


# --- the pool --------------------------------------------------------------------------------------------------------


async def test_more_watches_than_requests_may_be_in_flight_hold_up_neither_each_other_nor_a_request() -> None:
    watching = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal watching
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "10"}})
        watching += 1
        response = await stream(request)
        await asyncio.sleep(60)
        return response

    async def follow(client: KubeClient, number: int) -> None:
        async for _ in client.watch(X.at(f"n{number}")):
            pass

    async with client_of(answer) as client, asyncio.timeout(20):
        tasks = [asyncio.create_task(follow(client, number)) for number in range(40)]
        await until(lambda: watching == 40)
        assert (await client.request("GET", X))["items"] == []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
