"""The windows of tracked pods: stored with the hour's facts, once, and only for so many pods of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.ledger_copy import copy_ledger
from carbonbudget_operator.ledger.span_store import (
    DAY,
    Post,
    PostedUnit,
    ProgressPoint,
    SpanStore,
    read_progress,
    read_spans,
)
from carbonbudget_operator.ledger.tracked_pods import TrackedPod, find_tracked, read_windows
from carbonbudget_operator.spans.span_record import Span

LABELS = {"carbonbudget.dev/run": "exp-42"}


def tracked(engine: sa.Engine, uid: str = "pod-1") -> TrackedPod | None:
    with engine.connect() as connection:
        return find_tracked(connection, "default", uid)


def windows(engine: sa.Engine, uid: str = "pod-1", end: int = HOUR + 7200) -> list[tuple[int, int, int]]:
    """Start and end in seconds after HOUR, energy."""
    pod = tracked(engine, uid)
    if pod is None:
        return []
    with engine.connect() as connection:
        found = read_windows(connection, pod.id, HOUR - 7200, end)
    return [(w.start_ms // 1000 - HOUR, w.end_ms // 1000 - HOUR, w.energy_uj.get("cpu", 0)) for w in found]


def labelled(minute: int, pods: dict[str, int] | None = None, node: str = "node-1", **more: int) -> NodeReport:
    return a_report(HOUR + 60 * minute, node, pods, labels=LABELS, **more)


def test_a_labelled_pod_keeps_its_windows_and_others_keep_none(engine: sa.Engine) -> None:
    plain = a_report(HOUR, "node-2", {"pod-2": 5}, labels={"app": "web"})
    book(Booker(engine), labelled(0), labelled(1), plain)
    assert windows(engine) == [(0, 60, 300), (60, 120, 300)]
    assert tracked(engine, "pod-2") is None
    pod = tracked(engine)
    assert pod is not None
    assert (pod.namespace, pod.name, pod.run, pod.is_capped) == ("team-a", "pod-1", "exp-42", False)


def test_a_report_that_comes_again_or_is_refused_changes_no_window(engine: sa.Engine) -> None:
    booker = Booker(engine)
    book(booker, labelled(0), labelled(0), labelled(0, {"pod-1": 301}))
    assert book(Booker(engine), labelled(0)) == [BookingResult.DUPLICATE]
    assert windows(engine) == [(0, 60, 300)]


def test_parts_of_a_window_are_one_window(engine: sa.Engine) -> None:
    booker = Booker(engine)
    book(booker, labelled(0, part=0))
    book(booker, labelled(0, part=1))
    assert windows(engine) == [(0, 60, 600)]


def test_windows_that_come_late_and_in_any_order_are_in_order_of_time(engine: sa.Engine) -> None:
    booker = Booker(engine)
    book(booker, labelled(70))
    book(booker, labelled(2), labelled(16))
    book(Booker(engine), labelled(1))  # after a restart
    assert [start // 60 for start, _, _ in windows(engine)] == [1, 2, 16, 70]


def test_a_report_after_a_gap_stores_no_window(engine: sa.Engine) -> None:
    book(Booker(engine), labelled(10, since=HOUR), labelled(11))
    assert [start // 60 for start, _, _ in windows(engine)] == [11]


def test_a_batch_that_fails_stores_no_window(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    booker = Booker(engine)
    with monkeypatch.context() as patched:
        patched.setattr(booker, "touch", lambda *_: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            book(booker, labelled(0))
    assert windows(engine) == []
    book(booker, labelled(0))
    assert windows(engine) == [(0, 60, 300)]


def test_above_its_cap_a_namespace_gets_no_more_windows_and_the_pod_knows(engine: sa.Engine) -> None:
    booker = Booker(engine, max_tracked_pods=2)
    book(booker, labelled(0, {"a": 1, "b": 1}))
    book(
        booker,
        labelled(1, {"a": 1, "b": 1, "c": 1}),
        a_report(HOUR, "node-2", {"d": 1}, labels=LABELS, namespace="team-b"),
    )
    assert [len(windows(engine, uid)) for uid in "abcd"] == [2, 2, 0, 1]
    pod = tracked(engine, "c")
    assert pod is not None
    assert pod.is_capped
    assert (booker.tracked.capped, booker.tracked.capped_namespaces) == (1, {"team-a"})


def test_who_has_a_place_keeps_it_and_a_place_is_free_after_two_hours(engine: sa.Engine) -> None:
    booker = Booker(engine, max_tracked_pods=1)
    book(booker, labelled(0, {"z": 1}))
    for minute in (61, 121):  # a new hour each: all are looked at again
        book(booker, labelled(minute, {"a": 1, "z": 1}))
    assert [len(windows(engine, uid, HOUR + 20_000)) for uid in "az"] == [0, 3]
    for minute in (181, 241, 301):
        book(booker, labelled(minute, {"a": 1}))
    assert [start // 60 for start, _, _ in windows(engine, "a", HOUR + 20_000)] == [241, 301]
    pod = tracked(engine, "a")
    assert pod is not None
    assert not pod.is_capped


def test_a_pod_that_posted_is_tracked_by_every_server(engine: sa.Engine) -> None:
    store = SpanStore(engine, "default", 100)
    assert store.store([Post("team-a", "pod-1", "pod-1", units=[PostedUnit("u", "n", 1, 0, 1)])], HOUR) == [True]
    booker = Booker(engine)
    with engine.connect() as connection:
        booker.tracked.load(connection, HOUR)
    book(booker, a_report(HOUR, pods={"pod-1": 7, "pod-2": 9}))
    assert windows(engine) == [(0, 60, 7)]
    assert tracked(engine, "pod-2") is None


def a_span(number: int, **more: object) -> Span:
    return Span(f"s{number}", "epoch", None, HOUR * 1000, HOUR * 1000 + 5, **more)  # type: ignore[arg-type] # fields


def test_spans_are_stored_once_as_they_came(engine: sa.Engine) -> None:
    store = SpanStore(engine, "default", 100)
    first = Span("s0", 'a "name" \\ with {signs}', 7, 1, 2, (2**59, 2**60), (0, 5))
    posts = [Post("team-a", "pod-1", "p", "run/x", [first, a_span(1)]), Post("team-a", "pod-2", "q", None, [a_span(0)])]
    for _ in range(2):
        assert store.store(posts, HOUR) == [True, True]
    pod = tracked(engine)
    assert pod is not None
    with engine.connect() as connection:
        found = read_spans(connection, pod.id, 10)
        newest = read_spans(connection, pod.id, 1)
        counts = connection.execute(sa.select(span_tables.posted_count)).all()
    assert [(one.span, one.run) for one in found] == [(first, "run/x"), (a_span(1), "run/x")]
    assert [one.span.id for one in newest] == ["s1"]
    assert [tuple(row) for row in counts] == [(HOUR // DAY, "default", "team-a", 3)]


def test_a_namespace_that_posted_too_much_today_is_refused_and_no_other(engine: sa.Engine) -> None:
    store = SpanStore(engine, "default", 3)
    three = [a_span(number) for number in range(3)]
    assert store.store([Post("team-a", "a", spans=three), Post("team-a", "b", spans=[a_span(0)])], HOUR) == [
        True,
        False,
    ]
    assert store.store([Post("team-a", "a", spans=three), Post("team-b", "c", spans=three)], HOUR) == [True, True]
    assert store.store([Post("team-a", "b", spans=[a_span(0)])], HOUR + DAY) == [True]


def test_of_progress_the_last_points_are_kept(engine: sa.Engine) -> None:
    store = SpanStore(engine, "default", 3)
    for done in range(320):
        store.store([Post("team-a", "pod-1", progress=ProgressPoint("step", done, 500, 1000 * done))], HOUR)
    pod = tracked(engine)
    assert pod is not None
    with engine.connect() as connection:
        found = read_progress(connection, pod.id, "step")
    assert [point.done for point in found] == list(range(20, 320))


def test_a_copied_ledger_has_the_spans_and_takes_more(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    source, target = open_engine(new_url()), open_engine(new_url())
    SpanStore(source, "default", 100).store([Post("team-a", "pod-1", spans=[a_span(0), a_span(1)])], HOUR)
    assert dict(copy_ledger(source, target))["span"] == 2
    SpanStore(target, "default", 100).store([Post("team-a", "pod-1", spans=[a_span(2)])], HOUR)
    with target.connect() as connection:
        pod = find_tracked(connection, "default", "pod-1")
        assert pod is not None
        assert [one.span.id for one in read_spans(connection, pod.id, 10)] == ["s0", "s1", "s2"]


def test_a_namespace_of_another_cluster_takes_no_place_of_the_same_name_here(engine: sa.Engine) -> None:
    booker = Booker(engine, max_tracked_pods=1)
    book(booker, replace(labelled(0, {"their-pod": 5}, "node-9"), cluster="other"))
    book(booker, labelled(1))
    assert windows(engine) == [(60, 120, 300)]
    assert booker.tracked.capped == 0


def test_what_other_pods_posted_under_the_same_ids_counts_for_nobody_else(engine: sa.Engine) -> None:
    store, names = SpanStore(engine, "default", 5), [str(number) for number in range(3)]

    def posted(uid: str, namespace: str, ids: list[str]) -> Post:
        return Post(namespace, uid, spans=[Span(name, "a", None, 0, 1) for name in ids])

    first = [posted("pod-1", "team-a", names), posted("pod-2", "team-b", names[:1])]
    assert store.store(first, DAY) == [True, True]
    again = [posted("pod-1", "team-a", [*names, "3", "4"]), posted("pod-2", "team-b", [*names, "3", "4"])]
    assert store.store(again, DAY) == [True, True]  # of team-a and of team-b five each
    assert store.store([posted("pod-1", "team-a", ["5"]), posted("pod-2", "team-b", names)], DAY) == [False, True]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(span_tables.span)) == 10
