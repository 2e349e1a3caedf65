"""A review that is too large to be read decides nothing for whoever made it large."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.given import Bench, a_budget, an_object
from tests.admission.test_process import FAR, Process

from carbonbudget_operator.admission.review_bodies import (
    MOST_BYTES,
    MOST_STORED_BYTES,
    MOST_WHOLE_BYTES,
    ReviewBodies,
    ReviewBody,
)
from carbonbudget_operator.admission.review_parser import HEAD_BYTES, BadReview, parse_head, parse_review

MIB = 2**20
GROUPS = {"Job": ("batch", "jobs"), "Deployment": ("apps", "deployments")}


def sent(kind: str = "Job", padding: str = "", operation: str = "CREATE", namespace: str = "team-a") -> dict[str, Any]:
    """A review with its members as the API server orders them."""
    group, plural = GROUPS[kind]
    gvk, gvr = {"group": group, "version": "v1", "kind": kind}, {"group": group, "version": "v1", "resource": plural}
    new = an_object(kind, {"project": "other"}, metadata={"annotations": {"a": padding}}, replicas=3)
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u-1",
            "kind": gvk,
            "resource": gvr,
            "requestKind": gvk,
            "requestResource": gvr,
            "name": "train",
            "namespace": namespace,
            "operation": operation,
            "userInfo": {"username": "me", "groups": ["g"] * 3},
            "object": new,
            "oldObject": None if operation == "CREATE" else new,
            "dryRun": False,
            "options": {"kind": "CreateOptions"},
        },
    }


def written(review: dict[str, Any]) -> bytes:
    """As Go's encoder writes it: six bytes for each `<`."""
    return json.dumps(review, separators=(",", ":")).replace("<", r"\u003c").encode()


async def answer_to(client: TestClient[Any, Any], body: bytes) -> dict[str, Any]:
    answered = await client.post("/validate", data=io.BytesIO(body))
    assert answered.status == 200
    return dict((await answered.json())["response"])


@asynccontextmanager
async def asking(process: Process) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(process.app)) as client:
        yield client


def blocking(*kinds: str, **spec: Any) -> Bench:
    return Bench(a_budget(ends=FAR, until=FAR, enforce={"kinds": list(kinds)}, **spec))


async def test_720_kilobytes_of_padding_are_refused_where_a_budget_blocks() -> None:
    body = written(sent(padding="<" * 1_440_000))
    assert len(body) > 8 * MIB
    process = Process(blocking("Job"))
    async with asking(process) as client:
        answer = await answer_to(client, body)
    assert (answer["uid"], answer["allowed"]) == ("u-1", False)
    assert answer["status"]["message"] == (
        "carbon budget tight: used up (Job train is too large to be read, so that no selector can leave it out: "
        "make it smaller); see: kubectl -n team-a describe carbonbudget tight"
    )
    assert process.figure("carbonbudget_admission_too_large_total", answer="refused") == 1
    assert process.figure("carbonbudget_admission_reviews_total", outcome="refused") == 1
    assert process.events._queue.empty()  # whether it was a dry run comes after the objects


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
@pytest.mark.parametrize(
    ("bench", "refused"),
    [
        (blocking("Deployment"), True),
        (blocking("Deployment", selector={"matchLabels": {"project": "x"}}), True),  # its labels are not known
        (blocking("Job"), False),
        (Bench(a_budget(ends=FAR, enforce={"kinds": ["Deployment"]})), False),
        (Bench(a_budget(ends=FAR, until=FAR, namespace="team-b", enforce={"kinds": ["Deployment"]})), False),
        (Bench(), False),
    ],
    ids=["blocks", "selects others", "other kind", "only warns", "other namespace", "no budget"],
)
async def test_what_is_too_large_is_refused_where_a_budget_blocks_that_kind_there_and_else_allowed(
    bench: Bench, refused: bool, operation: str
) -> None:
    process = Process(bench)
    async with asking(process) as client:
        body = written(sent("Deployment", "<" * MIB, operation))
        answer = await answer_to(client, body)
    assert answer["allowed"] is not refused
    outcome = "refused" if refused else "allowed"
    assert process.figure("carbonbudget_admission_too_large_total", answer=outcome) == 1


async def test_in_mode_warn_it_is_warned_of() -> None:
    process = Process(Bench(a_budget(ends=FAR, until=FAR), mode="Warn"))
    async with asking(process) as client:
        answer = await answer_to(client, written(sent(padding="<" * MIB)))
    assert answer["allowed"]
    assert answer["warnings"][0].startswith("would be refused: carbon budget tight: used up (Job train is too large")


async def test_the_largest_that_an_api_server_can_send_is_answered() -> None:
    review = written(sent("Deployment", "<" * 3 * MIB, "UPDATE"))
    assert 36 * MIB < len(review) < MOST_BYTES
    process = Process(blocking("Deployment"))
    async with asking(process) as client:
        assert not (await answer_to(client, review))["allowed"]


@pytest.mark.parametrize("hollow", ["[]", "{}", "1.5"])
async def test_what_would_fill_the_memory_once_parsed_is_not_parsed(hollow: str) -> None:
    review = sent()
    review["request"]["object"]["spec"]["list"] = [json.loads(hollow)] * (2 * MIB // len(hollow))
    process = Process(blocking("Job"))
    async with asking(process) as client:
        assert not (await answer_to(client, written(review)))["allowed"]
        bomb = b'{"a":[' + f"{hollow},".encode() * (2 * MIB // len(hollow)) + b"1]}"
        assert (await client.post("/validate", data=io.BytesIO(bomb))).status == 400
    assert process.figure("carbonbudget_admission_too_large_total", answer="refused") == 1
    assert process.figure("carbonbudget_admission_too_large_total", answer="unreadable") == 1


async def test_an_ordinary_review_of_two_large_objects_is_read_whole() -> None:
    process = Process(blocking("Deployment", selector={"matchLabels": {"project": "x"}}))
    body = written(sent("Deployment", "x" * 1_400_000, "UPDATE"))
    assert 2_800_000 < len(body) < MOST_WHOLE_BYTES
    async with asking(process) as client:
        assert (await answer_to(client, body))["allowed"]  # by its labels
    assert process.figure("carbonbudget_admission_too_large_total", answer="allowed") == 0


async def test_what_no_api_server_sends_is_not_read_to_its_end() -> None:
    process = Process(Bench())
    async with asking(process) as client:
        packed = await client.post("/validate", data=gzip.compress(b"x"), headers={"Content-Encoding": "gzip"})
        assert packed.status == 415
        answer = await client.post("/validate", data=b"x", headers={"Content-Length": str(MOST_BYTES + 1)})
        assert answer.status == 413
    assert process.figure("carbonbudget_admission_reviews_total", outcome="bad") == 2


# --- the head --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2_000))
def test_a_head_says_what_the_whole_review_says_or_is_refused(length: int) -> None:
    whole = written(sent(padding="<" * 500))
    try:
        head = parse_head(whole[:length])
    except BadReview:
        assert length < whole.index(b'"userInfo":') + 11
        return
    review = parse_review(json.loads(whole))
    for name in ("uid", "operation", "namespace", "resource", "subresource", "name"):
        assert getattr(head, name) == getattr(review, name)
    assert head.dry_run


@pytest.mark.parametrize("name", ["uid", "resource", "namespace", "operation"])
def test_a_head_in_which_something_comes_after_the_objects_is_refused_with_its_name(name: str) -> None:
    review = sent()
    review["request"][name] = review["request"].pop(name)
    with pytest.raises(BadReview, match=rf"request\.{name} does not come before its objects"):
        parse_head(written(review))


@pytest.mark.parametrize("namespace", ["../x", "A", "a" * 64])
def test_a_head_is_checked_as_a_whole_review_is(namespace: str) -> None:
    with pytest.raises(BadReview, match="namespace's name"):
        parse_head(written(sent(namespace=namespace)))


def test_a_uid_is_not_sent_back_at_any_length() -> None:
    with pytest.raises(BadReview, match="uid"):
        parse_review({"request": {"uid": "u" * 300, "operation": "CREATE", "namespace": "a"}})


# --- all bodies together ---------------------------------------------------------------------------------------------


class Slow:
    """A request whose body comes when it is told to."""

    content_length = None

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        while chunk := await self.chunks.get():
            yield chunk

    async def says(self, chunk: bytes) -> None:
        self.chunks.put_nowait(chunk)
        while not self.chunks.empty():  # noqa: ASYNC110 - a queue tells nobody that it is empty
            await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_bodies_that_are_held_back_make_room_for_those_that_come_now() -> None:
    reading, slow = ReviewBodies(), [Slow() for _ in range(20)]
    tasks = [asyncio.create_task(reading.read(each)) for each in slow]  # type: ignore[arg-type] # of a request this much
    for each in slow:
        await each.says(b"{" * MIB)
    held = [len(body.received) for body in reading._reading]
    assert sum(held) <= MOST_STORED_BYTES
    assert held == [HEAD_BYTES] * 5 + [MIB] * 15
    prompt = Slow()
    last = asyncio.create_task(reading.read(prompt))  # type: ignore[arg-type] # of a request this much
    await prompt.says(b"x" * 2 * MIB)
    prompt.chunks.put_nowait(b"")
    assert not (await last).too_large()
    for each in slow:
        each.chunks.put_nowait(b"")
    assert [body.size for body in await asyncio.gather(*tasks)] == [MIB] * 20
    assert (reading._stored_bytes, len(reading._reading)) == (0, 0)


async def test_a_body_whose_sender_is_gone_is_held_no_longer() -> None:
    reading, slow = ReviewBodies(), Slow()
    task = asyncio.create_task(reading.read(slow))  # type: ignore[arg-type] # of a request this much
    await slow.says(b"x" * MIB)
    assert reading._stored_bytes == MIB
    task.cancel()
    await asyncio.wait([task])
    assert (reading._stored_bytes, len(reading._reading)) == (0, 0)


def test_a_small_body_is_never_estimated_too_large() -> None:
    body = ReviewBody()
    body.received += b"[" + b"{}," * 20_000 + b"1]"
    body.size = len(body.received)
    assert not body.too_large()
