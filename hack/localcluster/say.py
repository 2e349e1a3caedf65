"""Output of the scripts: one line for each step with its duration, and one sentence for an error."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_S = 15.0


class ClusterError(Exception):
    """An error that a person must correct. The message is one sentence: what is wrong and what to do."""


def line(text: str) -> None:
    print(text, flush=True)


@contextmanager
def step(text: str, heartbeat: bool = False) -> Iterator[None]:
    """Prints the start and the duration of a step; with `heartbeat` also that it is still running."""
    started = time.monotonic()
    line(f"  {text} ...")
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            line(f"    still at it: {text}, {time.monotonic() - started:.0f} s")

    if heartbeat:
        threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    line(f"    done in {time.monotonic() - started:.1f} s")


def run_main(main: object, argv: list[str]) -> int:
    """Runs `main(argv)`; turns a ClusterError into a sentence and Ctrl-C into exit code 130."""
    try:
        return int(main(argv))  # type: ignore[operator]
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no error message at exit
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130
