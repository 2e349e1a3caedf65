"""Requests about targets are bounded: those of one namespace are never why all others have no answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.target_bench import TargetBench, at

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQueries, TargetQuery, TargetSpan
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.controller.target_queries import batches_of
from carbonbudget_operator.server_client import ServerUnavailable

HOUR, DAY = 3600, 86400
SOURCE = ClusterUnitSource(preset="vLLMRequests")


def a_query(number: int, spans: Sequence[tuple[int, int]], names: int = 1, label: str = "") -> TargetQuery:
    selector = LabelSelector(match_labels=dict.fromkeys((f"{label}-{n}" for n in range(64)), label)) if label else None
    return TargetQuery(
        id=str(number), namespaces=[f"n{n}" for n in range(names)], source=SOURCE, selector=selector,
        spans=[TargetSpan(start=start, end=end) for start, end in spans],
    )  # fmt: skip


SPANS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 9000)).map(lambda s: (s[0] * HOUR, (s[0] + s[1]) * HOUR)),
    min_size=1, max_size=14,
)  # fmt: skip


@given(st.lists(st.tuples(SPANS, st.sampled_from([1, 1, 1000]), st.sampled_from(["", "", "x" * 63])), max_size=40))
def test_every_question_is_in_one_request_and_each_request_is_bounded(
    asked: list[tuple[list[tuple[int, int]], int, str]],
) -> None:
    queries = [a_query(number, *one) for number, one in enumerate(asked)]
    batches = batches_of(queries, 15)
    assert sorted(query.id for batch in batches for query in batch) == sorted(query.id for query in queries)
    for batch in batches:
        assert 0 < len(batch) <= 15
        if len(batch) > 1:
            ranges = {(span.start, span.end) for query in batch for span in query.spans}
            days = sum(-(-(s.end - s.start) // DAY) * len(q.namespaces) for q in batch for s in q.spans)
            assert len(ranges) <= 200
            assert days <= 1_000_000
            assert len(TargetQueries(queries=batch).model_dump_json()) < 4 * 2**20


async def test_baselines_of_one_namespace_that_take_too_long_leave_the_others_their_answers(
    targets: TargetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server that needs a tenth of a second for each span that differs, and has 30 seconds."""
    for number in range(400):
        start = at("2025-11-02") + number * HOUR
        spec = {"start": _time(start), "end": _time(start + 300 * DAY)}
        targets.add(f"hostile-{number}", baseline=spec)
    others = [targets.add(f"other-{number}") for number in range(5)]
    answered = targets.server.targets

    async def busy(queries: Sequence[TargetQuery]) -> TargetAnswers:
        if len({(span.start, span.end) for query in queries for span in query.spans}) > 300:
            raise ServerUnavailable("the server does not answer: played")
        return await answered(queries)

    monkeypatch.setattr(targets.server, "targets", busy)
    await targets.evaluate("2026-11-02")
    for body in others:
        (ready,) = [one for one in body["status"]["conditions"] if one["type"] == "Ready"]
        assert ready["reason"] == "Evaluated"
        assert body["status"]["baseline"]["perUnit"] == "100g"


async def test_answers_are_written_before_the_next_request_which_may_take_long(
    targets: TargetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = targets.add("short"), targets.add("long", window="Month")
    monkeypatch.setattr("carbonbudget_operator.controller.target_loop._AT_ONCE", 1)
    answered, seen = targets.server.targets, []

    async def slow(queries: Sequence[TargetQuery]) -> TargetAnswers:
        seen.append([(query.id, "status" in short) for query in queries])
        return await answered(queries)

    monkeypatch.setattr(targets.server, "targets", slow)
    await targets.evaluate("2026-11-02")
    assert seen == [[], [("team-a/short", False)], [("team-a/long", True)]]
    assert long["status"]["state"] != "NoData"


async def test_a_request_that_fails_each_minute_is_logged_once(
    targets: TargetBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    targets.add("chat")
    answered = targets.server.targets
    is_broken = True

    async def busy(queries: Sequence[TargetQuery]) -> TargetAnswers:
        if queries and is_broken:
            raise ServerUnavailable("the server does not answer: played")
        return await answered(queries)

    monkeypatch.setattr(targets.server, "targets", busy)
    with caplog.at_level("INFO"):
        for minute in range(3):
            await targets.evaluate("2026-11-02", lag_s=60 * minute)
        assert caplog.text.count("targets keep their last state") == 1
        assert "answers again" not in caplog.text
        is_broken = False
        await targets.evaluate("2026-11-02", lag_s=180)
    assert caplog.text.count("answers again") == 1


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
