"""How a batch that a target refuses is taken apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from unittest.mock import MagicMock

from prometheus_client import CollectorRegistry

from carbonbudget_operator.exports.export_metrics import ExportMetrics
from carbonbudget_operator.exports.export_target_http import RowsRefused
from carbonbudget_operator.exports.export_target_sender import TargetSender


class SmallTarget:
    """Takes bodies of `most_bytes` in which no row is bad."""

    def __init__(self, most_bytes: int, is_bad: Callable[[bytes], bool] = lambda row: False) -> None:
        self._most_bytes, self._is_bad = most_bytes, is_bad
        self.rows: list[bytes] = []
        self.requests = 0

    async def send(self, body: bytes) -> RowsRefused | None:
        self.requests += 1
        if len(body) > self._most_bytes:
            return RowsRefused("it answers 413", is_too_large=True)
        rows = body.split(b"\n")
        if any(self._is_bad(row) for row in rows):
            return RowsRefused("it answers 400")
        self.rows += rows
        return None


async def at_once(work: Callable[[], object]) -> object:
    return work()


def a_sender(target: SmallTarget) -> Callable[[list[bytes]], Awaitable[None]]:
    format_ = MagicMock()
    format_.body = b"\n".join
    metrics = ExportMetrics(CollectorRegistry())
    return TargetSender("t", MagicMock(), MagicMock(), format_, target, metrics, at_once)._deliver


def rows_of(number: int) -> list[bytes]:
    return [b"%0299d" % row for row in range(number)]


async def test_a_batch_far_above_the_limit_of_bodies_arrives_in_order_and_its_size_is_remembered() -> None:
    target = SmallTarget(2**20)
    deliver = a_sender(target)
    await deliver(rows_of(50_000))
    assert target.rows == rows_of(50_000)
    first, target.requests = target.requests, 0
    await deliver(rows_of(50_000))
    assert target.rows == rows_of(50_000) * 2
    assert target.requests == (first + 1) // 2, "none was refused"


async def test_a_row_that_is_too_large_by_itself_is_left_out_and_no_other() -> None:
    target = SmallTarget(1000)
    await a_sender(target)([b"x" * 1001, *rows_of(500)])
    assert target.rows == rows_of(500)


async def test_many_refused_rows_are_found_among_the_others() -> None:
    target = SmallTarget(2**20, lambda row: int(row) % 1000 < 50)
    await a_sender(target)(rows_of(3000))
    assert target.rows == [row for row in rows_of(3000) if int(row) % 1000 >= 50]


async def test_a_target_that_refuses_everything_is_not_asked_for_each_row() -> None:
    for target in (SmallTarget(2**20, lambda row: True), SmallTarget(0)):
        await a_sender(target)(rows_of(5000))
        assert target.rows == []
        assert 64 < target.requests <= 160
