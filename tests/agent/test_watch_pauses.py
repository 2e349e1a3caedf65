"""How often the agent comes back to the API server: with pauses that grow, however a watch or a list ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.pod_api import Api, Clock, a_pod, event, until

from carbonbudget_agent.https_client import Endpoint, StatusError, retry_after_seconds
from carbonbudget_agent.pods import pod_watch
from carbonbudget_agent.pods.kubelet import KubeletPods
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.backoff import Backoff


class Pauses(threading.Event):
    """Counts the pauses instead of taking them; after `most` of them it is set."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.asked: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0)
        if len(self.asked) >= self._most:
            self.set()
        return super().wait(0.001)


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.watches.extend([[]] * 50)
    made.shutdown()
    thread.join()
    made.server_close()


def run(api: Api, most: int = 9) -> list[float]:
    """The pauses until there were so many."""
    pauses = Pauses(most)
    endpoint = Endpoint(f"http://127.0.0.1:{api.server_port}", None, None, timeout_s=5)
    watched = WatchedPods(endpoint, "node-1", WorkCounters(), pauses)
    until(pauses.is_set)
    watched._thread.join()
    return pauses.asked


def ends_well(api: Api) -> None:
    api.watches = [[]] * 20


def ends_in_a_piece_of_an_event(api: Api) -> None:
    api.raw_watches = [b'{"type": "ADDED", "obj'] * 20


def says_that_the_version_is_too_old(api: Api) -> None:
    api.watches = [[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]] * 20


def ends_after_an_event(api: Api) -> None:
    api.watches = [[event("ADDED", a_pod(f"u{n}"), str(n))] for n in range(20)]


def refuses_watches(api: Api) -> None:
    api.watch_answer = (429, {})


def refuses_lists(api: Api) -> None:
    api.answer = (429, b"")


def answers_watches_with_410(api: Api) -> None:
    api.watch_answer = (410, {})


def answers_garbage(api: Api) -> None:
    api.raw_watches = [b"garbage"] * 20


ENDS: list[Callable[[Api], None]] = [
    ends_well, ends_in_a_piece_of_an_event, says_that_the_version_is_too_old, ends_after_an_event, refuses_watches,
    refuses_lists, answers_watches_with_410, answers_garbage,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_however_a_watch_or_a_list_ends_at_once_the_pauses_double_up_to_a_minute(
    api: Api, end: Callable[[Api], None]
) -> None:
    end(api)
    pauses = run(api)
    for number, pause in enumerate(pauses):
        longest = min(2**number, 60)
        assert longest / 2 <= pause <= longest
    watches = [path for path in api.paths if "watch=1" in path]
    assert len(watches) <= len(pauses)
    assert len(api.paths) - len(watches) <= len(pauses)


@pytest.mark.parametrize("end", [ends_well, ends_after_an_event, refuses_watches])
def test_a_list_is_asked_for_only_where_the_watch_cannot_go_on(api: Api, end: Callable[[Api], None]) -> None:
    end(api)
    run(api)
    assert sum("watch=1" not in path for path in api.paths) == 1


def test_a_watch_goes_on_behind_the_last_event_that_came_though_it_broke_afterwards(api: Api) -> None:
    api.raw_watches = [b'{"type": "ADDED", "object": {"metadata": {"uid": "u9", "name": "x", "namespace": "t", '
                       b'"resourceVersion": "8"}}}\n']  # fmt: skip
    api.watch_answer = (503, {})
    run(api, 4)
    versions = [path.partition("resourceVersion=")[2].partition("&")[0] for path in api.paths if "watch=1" in path]
    assert versions[0] == "5"
    assert set(versions[1:]) == {"8"}


@pytest.mark.parametrize("held", [True, False])
def test_the_pauses_begin_anew_only_after_a_watch_that_held(
    api: Api, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_watch, "_HELD_SECONDS", 0 if held else 30)
    ends_well(api)
    pauses = run(api, 5)
    assert (max(pauses) <= 1) is held


@pytest.mark.parametrize("of_lists", [True, False])
def test_the_wait_that_the_api_server_asks_for_is_kept(api: Api, of_lists: bool) -> None:
    headers = {"Retry-After": "100"}
    if of_lists:
        api.answer, api.answer_headers = (429, b""), headers
    else:
        api.watch_answer = (429, headers)
    assert all(100 <= pause <= 110 for pause in run(api, 3))


def test_a_kubelet_that_refuses_is_asked_again_after_the_wait_that_it_asks_for(api: Api) -> None:
    clock, counts = Clock(), WorkCounters()
    kubelet = KubeletPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", counts, clock)
    kubelet.pods()
    api.answer, api.answer_headers = (429, b""), {"Retry-After": "60"}
    for second in range(1, 70):
        clock.seconds = 1000.0 + second
        kubelet.expect([f"new-{second}"])
        kubelet.pods()
    assert counts.pod_errors <= 2
    api.answer = None
    clock.seconds += 70
    kubelet.pods()
    assert counts.pod_errors <= 2


NOW = 1_796_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("120", 120),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=45), usegmt=True), 45),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) - timedelta(hours=1), usegmt=True), 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("nan", 0),
        ("9" * 30, 0),
        ("Tue, 99 Nov 2026 08:00:00 GMT", 0),
        ("\u0661\u0662", 12),
    ],
)
def test_a_wait_is_asked_for_in_seconds_or_as_a_date(text: str, seconds: int) -> None:
    assert retry_after_seconds(text, NOW) == seconds


@given(st.text(max_size=60))
def test_any_other_text_asks_for_a_wait_that_is_no_harm(text: str) -> None:
    assert 0 <= retry_after_seconds(text, NOW) <= 10**9


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), max_size=30))
def test_a_pause_is_never_shorter_than_was_asked_nor_longer_than_the_bounds(steps: list[tuple[int, bool]]) -> None:
    backoff = Backoff(1.0, 60.0)
    for asked, works in steps:
        if works:
            backoff.reset()
        pause = backoff.pause_seconds(asked)
        assert max(0.5, min(asked, 600)) <= pause <= max(60, min(asked, 600) * 1.1)


def test_a_status_other_than_200_says_what_was_asked(api: Api) -> None:
    api.answer, api.answer_headers = (503, b""), {"Retry-After": "9"}
    with pytest.raises(StatusError, match="503") as caught:
        next(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None).stream("/pods"))
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 9)


def test_a_pod_that_began_in_a_pause_ends_the_pause(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause after an outage may be longer than a window, and what has no name when it closes is unseen."""
    monkeypatch.setattr(pod_watch, "_FIRST_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(pod_watch, "_SOONEST_SECONDS", 0.05)
    api.watches = [[], [event("ADDED", a_pod("u9"), "9")]]
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    assert watched.wait_listed(10)

    def named() -> bool:
        watched.expect({"u1", "u9"})
        return "u9" in watched.pods()

    until(named)
    watched.close()


class LongUntilReset(Backoff):
    """The pauses of an outage that lasts: a minute each, until they begin anew."""

    def __init__(self, first_seconds: float, most_seconds: float) -> None:
        super().__init__(first_seconds, most_seconds)
        self._anew = False

    def pause_seconds(self, asked_seconds: int = 0) -> float:
        return 0.01 if self._anew else 60.0

    def reset(self) -> None:
        self._anew = True


def _too_old(api: Api) -> None:
    """As an API server that has restarted answers a version from before."""
    api.watches = [[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]]


def _refuses_two_lists(api: Api) -> None:
    """As an API server that has just begun to listen."""
    api.raw_watches, api.answer = [b"garbage"], (503, b"")


@pytest.mark.parametrize("fails", [_too_old, _refuses_two_lists])
def test_a_pod_that_began_in_a_pause_has_a_name_soon_though_the_attempt_after_the_pause_fails(
    api: Api, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Api], None]
) -> None:
    monkeypatch.setattr(pod_watch, "Backoff", LongUntilReset)
    monkeypatch.setattr(pod_watch, "_SOONEST_SECONDS", 0.0)
    api.watches = [[]]
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    until(lambda: watched._tried > 0)
    fails(api)
    api.items = [a_pod("u1"), a_pod("u9")]

    def named() -> bool:
        if sum("watch=1" not in path for path in api.paths) > 2:
            api.answer = None
        watched.expect({"u1", "u9"})
        return "u9" in watched.pods()

    until(named)
    watched.close()


def test_a_version_that_is_too_old_is_followed_by_a_list_at_once_and_a_second_time_by_a_pause(api: Api) -> None:
    api.watches = [[], *[[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]] * 20]
    pauses = run(api, 2)
    kinds = ["watch" if "watch=1" in path else "list" for path in api.paths]
    assert kinds[:5] == ["list", "watch", "watch", "list", "watch"]
    assert len(pauses) == 2


def test_a_time_that_the_server_asked_for_is_not_cut_short(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_watch, "_SOONEST_SECONDS", 0.0)
    api.watch_answer = (429, {"Retry-After": "60"})
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    until(lambda: any("watch=1" in path for path in api.paths))
    asked = len(api.paths)
    for number in range(100):
        watched.expect({f"new-{number}"})
    assert not watched._wake.is_set()
    assert len(api.paths) == asked
    watched.close()
