"""Functional units: many calls make one record a turn, and not one unit is lost or counted twice."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.trainings import ContractServer, train

from carbonbudget import delivery, unit_counts
from carbonbudget.client_settings import ClientSettings
from carbonbudget.delivery import Delivery
from carbonbudget.outgoing_records import OutgoingRecords
from carbonbudget.unit_counts import UnitCounts

NAMED = ("exp-42", None, None)
HALF_HOUR_MS = 30 * 60_000
NOW_MS = int(time.time() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that only the test moves: `clock.ms` since 1970, and `clock.s` of `time.monotonic`."""
    times = SimpleNamespace(ms=1_764_000_000_000, s=1_000.0)
    stopped = SimpleNamespace(time_ns=lambda: times.ms * 1_000_000, monotonic=lambda: times.s)
    monkeypatch.setattr(unit_counts, "time", stopped)
    monkeypatch.setattr(delivery, "time", stopped)
    return times


def counts(server: ContractServer) -> list[tuple[str, int]]:
    return [(unit["name"], unit["count"]) for unit in server.seen()["units"]]


def test_a_call_for_each_inference_makes_one_record_a_turn_with_all_of_them(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        for turn in range(3):
            for _ in range(20_000):
                cb.units(inferences=1, tokens=137)
            print(cb.flush(5))
        """,
        **server.variables,
    )
    assert (ended.output, ended.errors) == ("True\n" * 3, "")
    assert counts(server) == [("inferences", 20_000), ("tokens", 20_000 * 137)] * 3
    tokens = [unit for unit in server.seen()["units"] if unit["name"] == "tokens"]
    assert [one["end_ms"] for one in tokens[:-1]] == [one["start_ms"] for one in tokens[1:]]
    assert len({unit["id"] for unit in server.seen()["units"]}) == 6


def test_threads_and_signal_handlers_that_count_at_once_lose_nothing(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, signal, threading
        handled = 0
        def handler(*_):
            global handled
            handled += 1
            cb.units(signals=1)
        signal.signal(signal.SIGALRM, handler)
        def work():
            for _ in range(20_000): cb.units(inferences=1)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [thread.start() for thread in threads]
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
        [thread.join() for thread in threads]
        print(handled, cb.flush(5))
        """,
        **server.variables,
    )
    handled, flushed = ended.output.split()
    assert (flushed, ended.errors) == ("True", "")
    found: dict[str, int] = {}
    for name, count in counts(server):
        found[name] = found.get(name, 0) + count
    assert found == {"inferences": 80_000, "signals": int(handled)}
    assert int(handled) > 0


def test_units_before_a_fork_are_the_parents_and_those_of_a_child_its_own(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, os
        for _ in range(1_000): cb.units(parents=1)
        child = os.fork()
        if child == 0:
            for _ in range(500): cb.units(childs=1)
            print(cb.flush(5), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    assert sorted(counts(server)) == [("childs", 500), ("parents", 1_000)]


def test_units_of_each_run_and_model_have_a_line_of_their_own_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    ended = train(
        """
        import carbonbudget as cb
        for run in ("one", "two"):
            cb.init(run=run, model="chatbot", version=run)
            for _ in range(300): cb.units(tokens=2)
        """,
        CARBONBUDGET_LOG=str(path),
    )
    assert ended.code == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["run"], line["version"], line["count"]) for line in lines] == [
        ("unit", "one", "one", 600),
        ("unit", "two", "two", 600),
    ]
    assert lines[0]["end_ms"] == lines[1]["start_ms"]


def test_another_place_gets_the_units_that_are_counted_after_it_is_named(
    tmp_path: Path, server: ContractServer
) -> None:
    path = tmp_path / "units.jsonl"
    train(
        f"""
        import carbonbudget as cb, os
        cb.init(run="one")
        cb.units(tokens=1)
        os.environ["CARBONBUDGET_LOG"] = {str(path)!r}
        del os.environ["CARBONBUDGET_SERVER_URL"]
        cb.init(run="two")
        cb.units(tokens=2)
        """,
        **server.variables,
    )
    assert counts(server) == [("tokens", 1)]
    assert [json.loads(line)["count"] for line in path.read_text().splitlines()] == [2]


def test_nothing_to_count_is_no_error_and_what_is_no_count_is_skipped(server: ContractServer) -> None:
    ended = train("import carbonbudget as cb\ncb.units(tokens=0, images=0.0)\nprint(cb.flush(5))", **server.variables)
    assert (ended.output, ended.errors) == ("True\n", "")
    ended = train(
        """
        import carbonbudget as cb
        cb.units(tokens=10, inferences="many")
        cb.units(tokens=2.6, inferences=1, nothing=0, less=-1, no=float("nan"), all=float("inf"))
        """,
        **server.variables,
    )
    assert ended.code == 0
    assert counts(server) == [("tokens", 13), ("inferences", 1)]
    assert ended.errors.count("\n") == 1


def test_fractions_add_up_to_whole_units_over_many_records() -> None:
    units = UnitCounts(NOW_MS)
    taken = []
    for _ in range(1_000):
        units.add(NAMED, "kilotokens", 0.3)
        taken += [record["count"] for _, record in units.take()]
    assert sum(taken) == 300
    assert set(taken) == {1}


@given(st.integers(1, 10**9), st.integers(0, 32 * 86_400_000))
def test_a_long_time_without_a_record_is_divided_and_the_parts_add_up(count: int, long_ms: int) -> None:
    end_ms = 1_764_000_000_000
    parts = unit_counts._parts("tokens", count, end_ms - long_ms, end_ms)
    assert sum(part["count"] for part in parts) == count
    assert all(0 <= part["end_ms"] - part["start_ms"] <= HALF_HOUR_MS for part in parts)
    assert all(one["end_ms"] <= other["start_ms"] for one, other in itertools.pairwise(parts))
    assert parts[-1]["end_ms"] == end_ms
    if count > 10_000 and long_ms <= 31 * 86_400_000:
        assert parts[0]["start_ms"] == end_ms - long_ms


def test_a_count_of_zero_says_that_there_was_nothing_until_then(clock: Any) -> None:
    units = UnitCounts(clock.ms)
    clock.ms += 5_000
    units.add(NAMED, "tokens", 0)
    assert units.take() == []
    clock.ms += 7_000
    units.add(NAMED, "tokens", 3)
    (record,) = (record for _, record in units.take())
    assert (record["count"], record["end_ms"] - record["start_ms"]) == (3, 7_000)


def test_names_without_end_fill_no_memory_and_their_units_are_reported_as_dropped() -> None:
    units = UnitCounts(NOW_MS)
    for number in range(5_000):
        units.add(NAMED, f"name {number}", 7)
        if number % 500 == 499:
            units.take()
    assert units.dropped == 7 * 4_000
    units.add(NAMED, "name 3", 1)
    assert [record["name"] for _, record in units.take()] == ["name 3"]


class AwayServer:
    """Takes records and never sends any: as the server's part while the server is away."""

    def __init__(self) -> None:
        self.outgoing = {"spans": OutgoingRecords("spans"), "units": OutgoingRecords("units")}
        self.empty = False

    def sends(self) -> bool:
        return False

    def turn(self, asked: bool) -> None:
        """Nothing."""


def test_while_the_server_is_away_there_is_a_record_for_each_five_minutes(clock: Any) -> None:
    units, server = UnitCounts(clock.ms), AwayServer()
    session = SimpleNamespace(listeners=[], dropped=0, identifier=itertools.count().__next__)
    thread_work = Delivery(session, ClientSettings({}), deque(), units, server)  # type: ignore[arg-type]
    for _ in range(120):  # an hour
        clock.ms, clock.s = clock.ms + 30_000, clock.s + 30
        units.add(NAMED, "tokens", 11)
        thread_work.turn(asked=False)
    number, body = server.outgoing["units"].next_request()
    records = json.loads(body)["units"]
    assert (number, sum(record["count"] for record in records)) == (12, 120 * 11)
    assert {record["end_ms"] - record["start_ms"] for record in records} == {300_000}


def test_units_that_were_dropped_are_counted_apart_from_spans(server: ContractServer) -> None:
    server.set(mode="422")
    ended = train("import carbonbudget as cb\ncb.units(tokens=70, images=5)\nprint(cb.flush(5))", **server.variables)
    assert ended.output == "True\n"
    assert "75 or more units were dropped" in ended.errors
    assert "spans were dropped" not in ended.errors


def test_a_full_line_of_units_gives_up_the_oldest_record_and_counts_what_it_was_worth() -> None:
    line = OutgoingRecords("units")
    for number in range(5_003):
        line.add(None, "{}", worth=number)
    assert line.dropped == 0 + 1 + 2


def test_calls_wait_for_nobody_who_adds_them_up() -> None:
    """Another thread has the lock and does not go on: what is counted meanwhile is added up later."""
    units = UnitCounts(NOW_MS)
    with units._adding:
        counting = threading.Thread(target=lambda: [units.add(NAMED, "tokens", 1) for _ in range(1_000)])
        counting.start()
        counting.join(10)
        assert not counting.is_alive()
    assert [record["count"] for _, record in units.take()] == [1_000]
