"""`carbonbudget-run -- COMMAND`: one span, signals passed on, the command's own exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.client.trainings import ContractServer, environment

RUN = (sys.executable, "-m", "carbonbudget.run_command")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=30, check=False
    )


def test_the_command_is_one_span_of_the_named_run(server: ContractServer) -> None:
    code = "import os; print(os.environ['CARBONBUDGET_RUN'], os.environ['CARBONBUDGET_MODEL'])"
    done = run(
        *("--run", "exp-42", "--model", "chatbot", "--name", "training", "--", sys.executable, "-c", code),
        **server.variables,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "exp-42 chatbot\n", "")
    [span] = server.spans()
    assert (span["run"], span["name"]) == ("exp-42", "training")
    assert span["cpu_us"][1] > span["cpu_us"][0]


def test_without_a_name_the_span_has_the_programs(server: ContractServer) -> None:
    run("--", "/bin/true", **server.variables)
    assert [span["name"] for span in server.spans()] == ["true"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("/bin/sh", "-c", "exit 17"), 17),
        (("/bin/sh", "-c", "kill -9 $$"), 137),
        (("/nowhere/train",), 127),
        (("/etc/hostname",), 126),
        (("/bin/sh", "-c", "test $0 = --run", "--run"), 0),
    ],
)
def test_the_exit_code_is_the_commands(server: ContractServer, command: tuple[str, ...], code: int) -> None:
    server.set(mode="503")
    done = run("--", *command, **server.variables)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_hangs_delays_the_end_by_two_seconds_at_most(server: ContractServer) -> None:
    server.set(mode="slow")
    code = "import sys, time; print(time.clock_gettime(time.CLOCK_MONOTONIC)); sys.exit(3)"
    done = run("--", sys.executable, "-c", code, **server.variables)
    ended_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert done.returncode == 3
    # The interpreter's own end is in it, on a busy machine too.
    assert ended_s - float(done.stdout) < 2.5


def test_an_ignored_signal_stays_ignored_for_the_command_as_under_nohup() -> None:
    code = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    command = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *RUN, "--", sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "True\n", done.stderr


def test_a_missing_command_is_explained() -> None:
    done = run("--run", "exp-42")
    assert done.returncode == 2
    assert "the command is missing" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signals_are_passed_on_and_the_span_is_sent(server: ContractServer, tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    program = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(40))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)"
    )
    # Where tests are started in the background of a script, SIGINT is ignored, and stays so.
    usual = ["env", f"--default-signal={signal.Signals(number).name.removeprefix('SIG')}"]
    process = subprocess.Popen(
        [*usual, *RUN, "--name", "stopped", "--", sys.executable, "-c", program],
        env=environment(**server.variables),
        stdin=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, number)
        assert process.wait(20) == 40
    finally:
        process.kill()
        process.wait()
    assert [span["name"] for span in server.spans()] == ["stopped"]
