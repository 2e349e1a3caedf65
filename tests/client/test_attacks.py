"""What a training may do to the library, or a network to both: it goes on, ends as it would, and waits for nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.client.trainings import ContractServer, environment, train

from carbonbudget.client_settings import ClientSettings
from carbonbudget.server_link import ServerAway, ServerLink

IN_TIME_S = 8.0


@contextmanager
def silent() -> Iterator[str]:
    """A server that accepts connections and never answers; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_fork_in_the_middle_of_a_span_and_of_a_request_ends_in_both(server: ContractServer) -> None:
    """The parent's connection is open in the child as well: neither sends over that of the other."""
    ended = train(
        """
        import carbonbudget as cb, os
        with cb.track("first"): pass
        print(cb.flush(5), flush=True)
        children = []
        with cb.track("around"):
            for number in range(3):
                child = os.fork()
                if child == 0:
                    with cb.track("in a child", number): pass
                    cb.flush(5)
                    os._exit(0)
                children.append(child)
                with cb.track("beside", number): pass
            codes = [os.waitpid(child, 0)[1] for child in children]
        print(codes, cb.flush(5))
        """,
        **server.variables,
    )
    assert ended.output == "True\n[0, 0, 0] True\n", ended.errors
    names = sorted(span["name"] for span in server.spans())
    assert names == ["around", *["beside"] * 3, "first", *["in a child"] * 3]


def test_os_exit_inside_a_span_is_as_fast_and_keeps_its_code(tmp_path: Path) -> None:
    log = tmp_path / "spans.jsonl"
    with silent() as url:
        ended = train(
            """
            import carbonbudget as cb, os
            with cb.track("whole"): pass
            while not os.path.exists(os.environ["CARBONBUDGET_LOG"]): cb.flush(0.1)
            with cb.track("open"):
                os._exit(7)
            """,
            CARBONBUDGET_SERVER_URL=url, CARBONBUDGET_TOKEN_FILE="/etc/hostname", CARBONBUDGET_LOG=str(log),
        )  # fmt: skip
    assert (ended.code, ended.errors) == (7, "")
    assert [line.count('"name":"whole"') for line in log.read_text().splitlines()] == [1]


def test_a_thousand_threads_each_have_their_spans_and_share_one_thread_of_the_library(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, threading
        threading.stack_size(256 * 1024)
        begin, shared, wrong = threading.Barrier(1_001), cb.track("shared"), []
        def work(number):
            begin.wait()
            with shared as span, cb.track("own", number) as own:
                if cb.current_spans() != (span, own): wrong.append(number)
            if span.end_ms is None or own.end_ms is None: wrong.append(number)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1_000)]
        for thread in threads: thread.start()
        begin.wait()
        for thread in threads: thread.join()
        ours = [thread for thread in threading.enumerate() if thread.name == "carbonbudget"]
        print(wrong, len(ours), cb.flush(20))
        """,
        **server.variables,
    )
    assert ended.output == "[] 1 True\n", ended.errors
    spans = server.spans()
    assert len(spans) == 2_000
    assert sorted(span["step"] for span in spans if span["name"] == "own") == list(range(1_000))


def test_no_span_waits_for_a_server_that_accepts_and_never_answers() -> None:
    with silent() as url:
        ended = train(
            """
            import carbonbudget as cb, time
            with cb.track("a"): pass
            cb.flush(0.2)  # the thread waits for the answer from here on
            slowest = 0.0
            for step in range(200):
                cb.progress(step, 200)
                start = time.monotonic()
                with cb.track("step", step): pass
                slowest = max(slowest, time.monotonic() - start)
            print(slowest < 5, cb.flush(0.1))  # who waits for this server waits ten seconds
            """,
            CARBONBUDGET_SERVER_URL=url, CARBONBUDGET_TOKEN_FILE="/etc/hostname",
        )  # fmt: skip
    assert (ended.code, ended.output) == (0, "True False\n"), ended.errors
    assert ended.seconds < IN_TIME_S


def test_huge_names_runs_and_counts_cost_bounded_memory_and_reach_the_server(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        huge = "\\N{SNOWMAN}" * 1_000_000
        cb.init(run=huge, model=huge)
        for step in range(20):
            with cb.track(huge, 10**30): pass
        cb.units(**{huge: 10**20, "a": 1})
        cb.progress(10**40, 10**50, huge)
        print(cb.flush(5))
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    seen = server.seen()
    assert {(len(span["name"]), len(span["run"]), span.get("step")) for span in seen["spans"]} == {(120, 250, None)}
    assert [unit["name"] for unit in seen["units"]] == ["a"]


def test_a_clock_that_jumps_back_makes_no_reversed_span_and_no_pause(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, time
        real, back_ns = time.time_ns, 0
        time.time_ns = lambda: real() - back_ns
        time.time = lambda: time.time_ns() / 1e9
        with cb.track("before"): pass
        with cb.track("across"):
            back_ns = 3600 * 10**9
        with cb.track("after"): pass
        cb.units(tokens=1)
        back_ns = 0
        cb.units(tokens=1)
        print(cb.flush(5))
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    seen = server.seen()
    assert len(seen["spans"]) == 3
    assert all(one["start_ms"] <= one["end_ms"] for one in [*seen["spans"], *seen["units"]])


@pytest.mark.parametrize("handled", [False, True])
def test_a_sigterm_during_the_last_post_ends_the_process_at_once(handled: bool) -> None:
    """Without a handler the signal ends it; with one that exits, the exit has its two seconds at most."""
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))" if handled else ""
    code = f"""
        import carbonbudget as cb, signal, sys
        {handler}
        with cb.track("a"): pass
        print("begun", flush=True)
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        variables = environment(
            CARBONBUDGET_SERVER_URL=f"http://127.0.0.1:{listening.getsockname()[1]}",
            CARBONBUDGET_TOKEN_FILE="/etc/hostname",
        )
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            listening.settimeout(20)
            connection, _ = listening.accept()  # the last post has begun: the interpreter is at its end
            with connection:
                start = time.monotonic()
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=20)
                seconds = time.monotonic() - start
    assert seconds < IN_TIME_S
    # An exit in a handler while the interpreter is ending anyway is ignored, with a line of Python's own.
    assert process.returncode in ((0, 9, 120) if handled else (-signal.SIGTERM,)), errors
    assert b"carbonbudget/" not in errors or handled


def test_a_log_in_a_folder_that_is_read_only_stops_no_training(tmp_path: Path) -> None:
    """As root the folder's mode is no obstacle, so that the training runs as nobody."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    become = "import os\nif os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    ended = train(
        "import carbonbudget as cb\n" + become + "with cb.track('a'): pass\nprint(cb.flush(5))",
        CARBONBUDGET_LOG=str(folder / "spans.jsonl"),
    )
    assert (ended.code, ended.output) == (0, "False\n"), ended.errors
    assert "cannot be written" in ended.errors
    assert os.listdir(folder) == []


def test_a_connection_is_kept_for_several_requests_and_replaced_when_the_server_closed_it(tmp_path: Path) -> None:
    """Also while a request is under way on it: the answer to that one is asked for again."""
    token, requests = tmp_path / "token", []
    token.write_text("token-1")

    def serve(listening: socket.socket) -> None:
        for answered in (2, 3):  # of each connection; then it is closed, with or without a further request
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                for _ in range(answered):
                    requests.append(lines.readline())
                    while lines.readline() != b"\r\n":
                        pass
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        listening.close()

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listening,))
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    link = ServerLink(ClientSettings({"CARBONBUDGET_SERVER_URL": url, "CARBONBUDGET_TOKEN_FILE": str(token)}))
    assert [link.ask("GET", f"/v1/self?ids={number}") for number in range(5)] == [{}] * 5
    thread.join(10)
    assert [line.split()[1] for line in requests] == [f"/v1/self?ids={number}".encode() for number in range(5)]
    with pytest.raises(ServerAway):  # once it is away for good it is asked no more than twice
        link.ask("GET", "/v1/self")
    link.close()


def test_an_old_connection_is_replaced_before_the_server_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    monkeypatch.setattr("carbonbudget.server_link.time.monotonic", lambda: now_s)
    link = ServerLink(ClientSettings({"CARBONBUDGET_SERVER_URL": "http://127.0.0.1:1"}))

    class Kept:
        closed = False

        def close(self) -> None:
            self.closed = True

    for age_s, idle_s, is_closed in ((299, 64, False), (301, 1, True), (100, 66, True)):
        kept = Kept()
        link._connection = kept  # type: ignore[assignment] # as much of one as is used
        link._opened_s, link._used_s = now_s - age_s, now_s - idle_s
        link._close_if_old()
        assert kept.closed is is_closed
