"""Of the spans whose results are wanted the frequent ones make room for the rare ones."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget import Result, client_notices, result_polling
from carbonbudget.result_polling import ResultPolling
from carbonbudget.wanted_spans import WantedSpans

PROVISIONAL = Result({"energy_uj": 1, "state": "provisional"})


class Wanted:
    """As much of a span as is looked at."""

    def __init__(self, name: str, step: int, end_ms: int = 0) -> None:
        self.name, self.id, self.end_ms = name, f"{name}-{step}", end_ms
        self.known_result: Result | None = None


@pytest.fixture(autouse=True)
def _no_line_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_notices, "_shown", set())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that only the test moves: `clock.s` of `time.monotonic`."""
    moved = SimpleNamespace(s=1_000.0)
    monkeypatch.setattr(result_polling, "time", SimpleNamespace(monotonic=lambda: moved.s, time=time.time))
    return moved


def test_each_epoch_has_its_result_beside_steps_of_50_ms_whose_figures_are_75_s_late(
    clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten epochs of 2,400 steps, which is two minutes."""
    polling, spans, heard = ResultPolling(), {}, []
    began_ms, began_s = time.time() * 1000, clock.s

    def answer(query: str) -> dict[str, Any]:
        known = began_ms + (clock.s - began_s - 75) * 1000
        asked = [spans[name] for name in query.removeprefix("ids=").split(",")]
        return {"spans": [{"id": span.id, "energy_uj": 1} for span in asked if span.end_ms <= known]}

    def want(span: Any) -> None:
        span.end_ms = began_ms + (clock.s - began_s) * 1000
        spans[span.id] = span
        polling.want(span)

    for step in range(10 * 2_400):
        clock.s += 0.05
        want(Wanted("step", step))
        if step % 2_400 == 2_399:
            want(Wanted("epoch", step // 2_400))
        if (due_s := polling.next_due_s()) is not None and due_s <= clock.s:
            heard += [span.id for span, _ in polling.poll(answer)]
    for _ in range(10):
        clock.s += 30
        heard += [span.id for span, _ in polling.poll(answer)]
    assert [name for name in heard if name.startswith("epoch")] == [f"epoch-{number}" for number in range(10)]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "carbonbudget: more than 1000 spans wait for results: older ones of the most frequent name (step) get no "
        "result here; the server has them"
    ]


def test_of_the_most_frequent_name_those_with_a_provisional_result_make_room_first() -> None:
    wanted = WantedSpans(5)
    epoch, *steps = Wanted("epoch", 0), *(Wanted("step", number) for number in range(6))
    for span in (epoch, *steps[:4]):
        assert wanted.add(span) is None
    for span in (epoch, steps[2]):
        span.known_result = PROVISIONAL
        wanted.settle(span)
    assert wanted.without_result == 3
    assert wanted.add(steps[4]) is steps[2]
    assert wanted.add(steps[5]) is steps[0]
    assert [span.id for span in wanted.all()] == ["epoch-0", "step-1", "step-3", "step-4", "step-5"]


@given(st.lists(st.tuples(st.sampled_from("asfn"), st.sampled_from("xyz"), st.integers(0, 9))))
def test_whatever_is_wanted_and_forgotten_its_numbers_agree(events: list[tuple[str, str, int]]) -> None:
    wanted, inside = WantedSpans(4), {}
    for what, name, step in events:
        span = inside.get(f"{name}-{step}") or Wanted(name, step)
        if what == "a" and span.id not in inside:
            evicted = wanted.add(span)
            assert (evicted is None) == (len(inside) < 4)
            inside.pop(evicted.id if evicted else "", None)
            inside[span.id] = span
        elif what == "s":
            span.known_result = PROVISIONAL
            wanted.settle(span)
        elif what == "f":
            wanted.forget(span.id)
            inside.pop(span.id, None)
        assert {each.id for each in wanted.all()} == set(inside)
        assert wanted.without_result == sum(each.known_result is None for each in inside.values())
        assert all((f"{name}-{number}" in wanted) == (f"{name}-{number}" in inside) for number in range(10))
