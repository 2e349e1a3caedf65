"""`carbonbudget-run --run exp-42 -- python train.py`: one span around a process that is not changed itself."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from carbonbudget.tracked_span import TrackedSpan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_PASSED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")
_FROM_THE_TERMINAL = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGWINCH")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code, or 128 and the signal's number if a signal ended it."""
    options, command = read_arguments(arguments)
    given = {"RUN": options.run, "MODEL": options.model, "MODEL_VERSION": options.model_version}
    # The command's own spans, if it has any, belong to the same run.
    os.environ.update({f"CARBONBUDGET_{name}": value for name, value in given.items() if value})
    span = TrackedSpan(options.name or os.path.basename(command[0]))
    try:
        return _run(command)
    finally:
        span.end()  # sent at the exit of this process


def read_arguments(arguments: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options and the command behind them; ends the process if they cannot be read."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: list[str] = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("the command is missing: carbonbudget-run -- python train.py")
    return options, command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carbonbudget-run", description="Runs a command inside one carbonbudget span and keeps its exit code."
    )
    parser.add_argument("--run", help="name of the run; the pod's label carbonbudget.dev/run has precedence")
    parser.add_argument("--model", help="name of the model")
    parser.add_argument("--model-version", help="version of the model")
    parser.add_argument("--name", help="name of the span; without it the program's name")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")
    return parser


def _run(command: list[str]) -> int:
    waiting: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is None:
            waiting.append(number)
        elif not (signal.Signals(number).name in _FROM_THE_TERMINAL and _terminal_sends_it()):
            child.send_signal(number)

    # Before the child starts: a signal in between is passed on as soon as it runs. What is ignored, as SIGHUP under
    # nohup, stays so, for the command as well.
    for number in [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        sys.stderr.write(f"carbonbudget-run: {command[0]} cannot be started: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126
    for number in waiting:
        child.send_signal(number)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _terminal_sends_it() -> bool:
    """Whether the terminal has sent the signal to the child as well: both are in its foreground group."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
