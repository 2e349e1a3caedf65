"""Imports, ranks, forks and ends of processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.client.trainings import ContractServer, train


def test_outside_a_cluster_it_does_nothing_and_says_so_once() -> None:
    ended = train()
    assert (ended.code, ended.output) == (0, "trained True\n")
    assert ended.errors == (
        "carbonbudget: nothing is tracked: neither CARBONBUDGET_SERVER_URL nor CARBONBUDGET_LOG is set\n"
    )


@pytest.mark.parametrize("variables", [{"CARBONBUDGET_DISABLED": "1"}, {"LOCAL_RANK": "1"}, {"SLURM_LOCALID": "3"}])
def test_a_disabled_library_and_other_ranks_are_silent_and_send_nothing(
    server: ContractServer, variables: dict[str, str]
) -> None:
    ended = train(**server.variables, **variables)
    assert (ended.code, ended.output, ended.errors) == (0, "trained True\n", "")
    assert server.seen()["requests"] == []


def test_rank_0_of_a_pod_sends_also_when_it_is_not_rank_0_of_the_run(server: ContractServer) -> None:
    train(**server.variables, LOCAL_RANK="0", RANK="8")
    assert len(server.spans()) == 6


def test_neither_import_nor_init_uses_the_network_or_a_thread_or_a_slow_module(server: ContractServer) -> None:
    ended = train(
        """
        import sys, threading
        seen = []
        sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)
        import carbonbudget as cb
        cb.init(run="a")
        slow = {"ssl", "http", "json", "typing", "inspect", "logging"}
        print(seen, threading.active_count(), slow & set(sys.modules))
        """,
        **server.variables,
    )
    assert ended.output == "[] 1 set()\n", ended.errors


def test_a_span_does_not_import_slow_modules_in_the_thread_that_it_is_in(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, sys, threading
        importers = {}
        class Finder:
            def find_spec(self, name, path=None, target=None):
                importers.setdefault(name, threading.current_thread().name)
        sys.meta_path.insert(0, Finder())
        with cb.track("a"): pass
        cb.flush(5)
        print(importers["ssl"], importers["carbonbudget.delivery"])
        """,
        **server.variables,
    )
    assert ended.output == "carbonbudget carbonbudget\n", ended.errors


def test_a_fork_sends_each_span_once_and_its_own_too(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, os
        cb.init(run="forked")
        with cb.track("before"): pass
        with cb.track("around"):
            child = os.fork()
            if child == 0:
                assert cb.current_spans() == ()
                with cb.track("in the child"): pass
                print("child", cb.flush(5), flush=True)
        if child == 0:
            os._exit(0)
        print("parent", os.waitpid(child, 0)[1], cb.flush(5))
        """,
        **server.variables,
    )
    assert ended.output == "child True\nparent 0 True\n", ended.errors
    spans = server.spans()
    assert sorted(span["name"] for span in spans) == ["around", "before", "in the child"]
    assert {span["run"] for span in spans} == {"forked"}


def test_a_fork_at_the_first_span_deadlocks_nobody(server: ContractServer) -> None:
    """The thread is importing just then."""
    ended = train(
        """
        import carbonbudget as cb, os
        children = []
        for number in range(5):
            with cb.track("a"): pass
            child = os.fork()
            if child == 0:
                import ssl, json, http.client, csv
                with cb.track("b"): pass
                cb.flush(5)
                os._exit(0)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
        """,
        **server.variables,
        timeout=20,
    )
    assert ended.output == "[0, 0, 0, 0, 0]\n", ended.errors
    assert sorted(span["name"] for span in server.spans()) == ["a"] * 5 + ["b"] * 5


def test_a_fork_while_the_thread_looks_for_gpus_leaves_the_child_its_own_import(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("import os, time\nos.write(int(os.environ['PIPE']), b'.')\ntime.sleep(0.5)\n")
    ended = train(
        f"""
        import carbonbudget as cb, os, signal, sys
        sys.path.insert(0, {str(tmp_path)!r})
        exists = os.path.exists
        os.path.exists = lambda path: path == "/dev/nvidiactl" or exists(path)
        begun, end = os.pipe()
        os.environ["PIPE"] = str(end)
        with cb.track("a"): pass
        os.read(begun, 1)
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            import pynvml
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        """,
        CARBONBUDGET_LOG=str(tmp_path / "log"),
    )
    assert ended.output == "0\n", ended.errors


def test_what_the_thread_needs_later_is_imported_before_a_fork_may_come(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, sys
        from carbonbudget.tracking_session import SESSION
        with cb.track("a"): pass
        SESSION.before_fork()
        before = set(sys.modules)
        print(cb.flush(5), sorted(set(sys.modules) - before))
        """,
        **server.variables,
    )
    assert ended.output == "True []\n", ended.errors


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_send_theirs_when_they_end(
    tmp_path: Path, server: ContractServer, method: str
) -> None:
    program = tmp_path / "work.py"
    program.write_text(
        "import carbonbudget as cb, multiprocessing as mp\n"
        "def work(number):\n    with cb.track('work', number): pass\n"
        "if __name__ == '__main__':\n"
        f"    context = mp.get_context({method!r})\n"
        "    workers = [context.Process(target=work, args=(number,)) for number in range(2)]\n"
        "    [worker.start() for worker in workers]; [worker.join() for worker in workers]\n"
        "    print([worker.exitcode for worker in workers])\n"
    )
    ended = train(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", **server.variables)
    assert ended.output == "[0, 0]\n", ended.errors
    assert sorted(span["step"] for span in server.spans()) == [0, 1]


@pytest.mark.parametrize("also", ["threading", "multiprocessing.util"])
def test_the_exit_takes_at_most_two_seconds(server: ContractServer, also: str) -> None:
    """Where multiprocessing is imported, as PyTorch does, it asks as well as the interpreter."""
    server.set(mode="slow")
    ended = train(
        f"""
        import atexit, time
        atexit.register(lambda: print(time.monotonic() - start < 2))
        import {also}
        import carbonbudget as cb
        with cb.track("a"): pass
        start = time.monotonic()
        """,
        **server.variables,
    )
    # Functions of atexit run last in, first out: ours, registered at the import, runs before the one above.
    assert (ended.code, ended.output) == (0, "True\n")
    assert ended.seconds > 1


def test_the_exit_code_and_the_error_of_a_training_stay_its_own(server: ContractServer) -> None:
    ended = train("import carbonbudget as cb\nwith cb.track('a'):\n    raise SystemExit(17)", **server.variables)
    assert ended.code == 17
    ended = train("import carbonbudget as cb\nwith cb.track('a'):\n    1 / 0", **server.variables)
    assert ended.code == 1
    assert "carbonbudget/" not in ended.errors
    assert [span["name"] for span in server.spans()] == ["a", "a"]


def test_init_may_name_another_run_and_another_place(tmp_path: Path, server: ContractServer) -> None:
    log = tmp_path / "spans.jsonl"
    train(
        f"""
        import carbonbudget as cb, os
        cb.init(run="one")
        with cb.track("a"): pass
        cb.init(run="two")
        with cb.track("b"): pass
        os.environ["CARBONBUDGET_LOG"] = {str(log)!r}
        del os.environ["CARBONBUDGET_SERVER_URL"]
        cb.init(run="three")
        with cb.track("c"): pass
        """,
        **server.variables,
    )
    assert [(span["run"], span["name"]) for span in server.spans()] == [("one", "a"), ("two", "b")]
    assert [json.loads(line)["run"] for line in log.read_text().splitlines()] == ["three"]


def test_a_signal_handler_may_track_whatever_it_interrupts(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, signal
        def handler(*_):
            with cb.track("in the handler"): pass
            cb.progress(1, 2)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for step in range(20_000):
            with cb.track("step", step): pass
            cb.progress(step, 20_000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(cb.current_spans())
        """,
        **server.variables,
    )
    assert (ended.code, ended.output) == (0, "()\n")


def test_closed_standard_streams_stop_nothing(server: ContractServer) -> None:
    server.set(mode="500")
    ended = train(
        """
        import sys, os
        sys.stderr.close(); sys.stdout.close(); os.close(1); os.close(2)
        import carbonbudget as cb
        with cb.track("a"): pass
        cb.flush(2)
        """,
        **server.variables,
    )
    assert (ended.code, ended.errors) == (0, "")
