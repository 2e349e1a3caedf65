"""Spans: nested, overlapping, in threads and tasks, around functions and generators; always well-formed."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import carbonbudget as cb
from carbonbudget.tracked_span import OPEN_SPANS
from carbonbudget.tracking_session import SESSION

pytestmark = pytest.mark.usefixtures("recorded")


def names(spans: Any) -> list[str]:
    return [span.name for span in spans]


def test_spans_nest_and_the_innermost_ends_first(recorded: list[cb.Span]) -> None:
    with cb.track("epoch", step=3) as outer, cb.track("batch"):
        assert names(cb.current_spans()) == ["epoch", "batch"]
    assert names(recorded) == ["batch", "epoch"]
    assert (outer.step, recorded[0].step) == (3, None)
    assert outer.end_ms is not None
    assert outer.start_ms <= recorded[0].start_ms <= recorded[0].end_ms <= outer.end_ms  # type: ignore[operator]


def test_an_error_of_the_training_passes_through_and_ends_the_span(recorded: list[cb.Span]) -> None:
    with pytest.raises(ZeroDivisionError), cb.track("epoch"):
        _ = 1 / 0
    assert names(recorded) == ["epoch"]


def test_spans_may_overlap(recorded: list[cb.Span]) -> None:
    first, second = cb.track("first").start(), cb.track("second").start()
    first.end()
    assert names(cb.current_spans()) == ["second"]
    second.end()
    assert names(recorded) == ["first", "second"]


def test_a_span_ends_once(recorded: list[cb.Span]) -> None:
    span = cb.track("epoch").start()
    span.end()
    end_ms = span.end_ms
    span.end()
    span.cancel()
    assert (names(recorded), span.end_ms) == (["epoch"], end_ms)


def test_an_interrupted_reading_is_made_again(recorded: list[cb.Span], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits 5 ms between the clock and the counter: the counter is that of another instant."""
    now_ns, waits, used_us = [10**18], [5_000_000, 0, 5_000_000, 0], [0]

    def cpu_us() -> int:
        wait_ns = waits.pop(0)
        now_ns[0] += wait_ns
        used_us[0] += wait_ns // 1000 * 2  # two other threads go on
        return used_us[0]

    monkeypatch.setattr("carbonbudget.tracked_span.time.time_ns", lambda: now_ns[0])
    SESSION.init(None, None, None)
    monkeypatch.setattr(SESSION, "read_cpu_us", cpu_us)
    span = cb.track("epoch").start()
    assert (span.start_ms, span.cpu_start_us) == (10**12 + 5, 10_000)
    now_ns[0] += 10**9
    span.end()
    assert (span.end_ms, span.cpu_end_us) == (10**12 + 1_010, 20_000)
    assert waits == []


def test_a_reading_that_is_always_interrupted_is_made_three_times(
    recorded: list[cb.Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, reads = [10**18], [0]

    def cpu_us() -> int:
        now_ns[0] += 5_000_000
        reads[0] += 1
        return reads[0]

    monkeypatch.setattr("carbonbudget.tracked_span.time.time_ns", lambda: now_ns[0])
    SESSION.init(None, None, None)
    monkeypatch.setattr(SESSION, "read_cpu_us", cpu_us)
    span = cb.track("epoch").start()
    span.end()
    assert (span.cpu_start_us, span.cpu_end_us) == (3, 6)


def test_a_span_whose_last_reading_fails_still_ends_when_it_ended(
    recorded: list[cb.Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = [10**18]

    def fails() -> int:
        raise RuntimeError("no counter")

    SESSION.init(None, None, None)
    monkeypatch.setattr("carbonbudget.tracked_span.time.time_ns", lambda: now_ns[0])
    monkeypatch.setattr(SESSION, "read_cpu_us", lambda: 7)
    span = cb.track("epoch").start()
    monkeypatch.setattr(SESSION, "read_cpu_us", fails)
    now_ns[0] += 10**9
    span.end()
    assert (span.start_ms, span.end_ms, span.cpu_end_us) == (10**12, 10**12 + 1_000, None)
    assert names(recorded) == ["epoch"]


def test_a_cancelled_span_is_forgotten(recorded: list[cb.Span]) -> None:
    cb.track("epoch").start().cancel()
    assert recorded == []


def test_one_tracking_may_be_entered_again_and_inside_itself(recorded: list[cb.Span]) -> None:
    tracking = cb.track("again")
    with tracking as outer:
        with tracking as inner:
            assert cb.current_spans() == (outer, inner)
        assert inner.end_ms is not None
        assert outer.end_ms is None
    with tracking:
        pass
    assert len({span.id for span in recorded}) == 3


async def test_an_async_function_keeps_its_span_over_its_pauses(recorded: list[cb.Span]) -> None:
    @cb.track("load")
    async def load() -> list[str]:
        await asyncio.sleep(0)
        return names(cb.current_spans())

    assert await load() == ["load"]
    async with cb.track("outer"):
        assert await load() == ["outer", "load"]
    assert names(recorded) == ["load", "load", "outer"]


async def test_tasks_have_their_own_nesting(recorded: list[cb.Span]) -> None:
    async def work(name: str, other: asyncio.Event, own: asyncio.Event) -> list[str]:
        with cb.track(name):
            own.set()
            await other.wait()
            return names(cb.current_spans())

    one, two = asyncio.Event(), asyncio.Event()
    with cb.track("both"):
        found = await asyncio.gather(work("a", two, one), work("b", one, two))
    assert found == [["both", "a"], ["both", "b"]]
    assert len(recorded) == 3


async def test_a_task_that_outlives_a_span_does_not_have_it(recorded: list[cb.Span]) -> None:
    go = asyncio.Event()

    async def later() -> tuple[cb.Span, ...]:
        await go.wait()
        return cb.current_spans()

    with cb.track("short"):
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    assert await task == ()


def test_threads_share_no_nesting_and_one_tracking_ends_the_right_span(recorded: list[cb.Span]) -> None:
    tracking = cb.track("shared")
    barrier = threading.Barrier(4)
    seen: list[bool] = []

    def work() -> None:
        with tracking as span:
            barrier.wait(10)
            seen.append(cb.current_spans() == (span,))
            barrier.wait(10)
        seen.append(span.end_ms is not None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
    assert len({span.id for span in recorded}) == 4


def test_a_generator_is_one_span_from_its_first_item_to_its_end(recorded: list[cb.Span]) -> None:
    @cb.track("read")
    def read() -> Iterator[Any]:
        got = yield 1
        try:
            yield got
        except KeyError:
            yield "caught"
        return "returned"

    def whole() -> Iterator[Any]:
        yield (yield from read())

    generator = whole()
    assert recorded == []
    assert next(generator) == 1
    assert generator.send("sent") == "sent"  # type: ignore[attr-defined]
    assert generator.throw(KeyError()) == "caught"  # type: ignore[attr-defined]
    assert next(generator) == "returned"
    assert names(recorded) == ["read"]


def test_generators_that_take_turns_end_their_own_spans(recorded: list[cb.Span]) -> None:
    @cb.track("read")
    def read(name: str) -> Iterator[str]:
        yield name
        yield name

    assert list(zip(read("a"), read("b"))) == [("a", "b")] * 2  # noqa: B905 - the first ends before the second
    assert names(recorded) == ["read", "read"]


async def test_an_async_generator_passes_values_and_errors_on(recorded: list[cb.Span]) -> None:
    @cb.track("stream")
    async def stream() -> AsyncIterator[Any]:
        got = yield 1
        try:
            yield got
        except KeyError:
            yield "caught"

    generator: Any = stream()
    assert await generator.__anext__() == 1
    assert await generator.asend("sent") == "sent"
    assert await generator.athrow(KeyError()) == "caught"
    with pytest.raises(StopAsyncIteration):
        await generator.__anext__()
    broken: Any = stream()
    await broken.__anext__()
    await broken.aclose()
    assert [item async for item in stream()] == [1, None]
    assert names(recorded) == ["stream"] * 3


def test_a_generator_that_is_closed_in_another_context_ends_its_own_span(recorded: list[cb.Span]) -> None:
    """As asyncio's and a thread pool's are: the open spans there are others."""

    @cb.track("load")
    def load() -> Iterator[int]:
        yield 1

    first, second = load(), load()
    next(first)
    opened = cb.current_spans()[-1]
    next(second)
    contextvars.Context().run(first.close)
    assert recorded == [opened]
    second.close()
    assert len(recorded) == 2


def test_a_span_that_ends_in_another_context_leaves_no_trace(recorded: list[cb.Span]) -> None:
    span = cb.track("epoch").start()
    contextvars.Context().run(span.end)
    assert names(recorded) == ["epoch"]


def test_spans_that_end_in_another_thread_are_kept_by_nobody(recorded: list[cb.Span]) -> None:
    """As those of a server that answers in other threads: each new span would be slower than the one before."""
    with cb.track("outer"):
        for _ in range(1_000):
            span = cb.track("request").start()
            contextvars.Context().run(span.end)
        assert len(OPEN_SPANS.get()) <= 2
        with cb.track("inner"):
            assert names(OPEN_SPANS.get()) == ["outer", "inner"]
    assert len(recorded) == 1_002


async def test_a_started_span_may_be_given_to_with(recorded: list[cb.Span]) -> None:
    with cb.track("a").start() as span:
        assert cb.current_spans() == (span,)
    async with cb.track("b").start():
        pass
    with pytest.raises(KeyError), cb.track("c").start() as failed:
        raise KeyError
    with cb.track("d").start() as ended:
        ended.end()
    assert recorded == [span, recorded[1], failed, ended]
    assert names(recorded) == ["a", "b", "c", "d"]


def test_nothing_that_is_given_as_a_name_or_step_raises(recorded: list[cb.Span]) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __index__ = __str__  # type: ignore[assignment]

    for name, step in ((None, "three"), (Hostile(), Hostile()), ("\x00" * 1000, -1), ("", 2**80), ("a", 1.5)):
        with cb.track(name, step):  # type: ignore[arg-type]
            pass
    assert len(recorded) == 5


# Each number opens a span, or ends or cancels one of those that were opened, also a second time.
@given(st.lists(st.tuples(st.sampled_from("oec"), st.integers(0, 30)), max_size=60))
def test_any_order_of_starts_and_ends_gives_well_formed_spans(events: list[tuple[str, int]]) -> None:
    contextvars.copy_context().run(_play, events)


def _play(events: list[tuple[str, int]]) -> None:
    ended: list[Any] = []
    SESSION.record = ended.append  # type: ignore[method-assign]
    opened: list[cb.Span] = []
    cancelled: set[str] = set()
    for what, which in events:
        if what == "o" or not opened:
            opened.append(cb.track("span", which).start())
            continue
        span = opened[which % len(opened)]
        if what == "c" and span.end_ms is None:
            cancelled.add(span.id)
        (span.cancel if what == "c" else span.end)()
        still_open = tuple(span for span in opened if span.end_ms is None)
        assert cb.current_spans() == still_open
    for span in reversed(opened):
        span.end()
    assert cb.current_spans() == ()
    assert len({span.id for span in opened}) == len(opened)
    assert {span.id for span in ended} == {span.id for span in opened} - cancelled
    assert len(ended) == len(opened) - len(cancelled)
    for span in ended:
        assert span.start_ms <= span.end_ms
        assert span.cpu_end_us is None or span.cpu_start_us <= span.cpu_end_us
