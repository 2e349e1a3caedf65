"""Templates of worker processes for tests, each forked from one process that has loaded their code.

A started server makes its template by a new Python, which loads the code in 0.7 s of CPU time. Hundreds of tests make a
server's application in their own process; for them what runs is the same, but for who forked it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback

import pytest

from carbonbudget_operator.server import worker_process, worker_queue

_ENVIRONMENT_BYTES = 100_000
_one_at_a_time = threading.Lock()


class ForkedTemplate:
    """A template that is no child of this process: it is ended and waited for by its handle."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid, self._handle = pid, handle

    def kill(self) -> None:
        """End it."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended

    def wait(self) -> None:
        """Wait for its end. To be called once."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        poll.poll()
        os.close(self._handle)


@functools.cache
def _loaded() -> socket.socket:
    """The process that has loaded the code, by the socket to it; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def fork_template(descriptor: int) -> ForkedTemplate:
    """In place of `worker_queue.start_template`; it has this process's environment and standard error."""
    with _one_at_a_time:
        socket.send_fds(_loaded(), [json.dumps(dict(os.environ)).encode()], [descriptor, 2])
        answered, handles, _, _ = socket.recv_fds(_loaded(), 20, 1)
    if not handles:
        raise OSError("the process that templates are forked from has ended: run these tests again")
    return ForkedTemplate(int(answered), handles[0])


@pytest.fixture(scope="session", autouse=True)
def forked_templates() -> None:
    """For all tests of this process; `new_templates` is for those of the start itself."""
    worker_queue.start_template = fork_template


@pytest.fixture
def new_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates are made as a started server makes them."""
    monkeypatch.setattr(worker_queue, "start_template", START_TEMPLATE)


START_TEMPLATE = worker_queue.start_template


def _fork_on_demand(control: socket.socket) -> None:
    gc.freeze()
    signal.signal(signal.SIGCHLD, lambda *_: worker_process._reap())
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, _ENVIRONMENT_BYTES, 2)
        if not text:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os.environ.clear()
            os.environ.update(json.loads(text))
            sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))  # as a new Python does
            os.dup2(descriptors[1], 2)
            sys.argv = ["worker_process", str(descriptors[0])]
            code = 1
            try:
                worker_process.main()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        handle = os.pidfd_open(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        socket.send_fds(control, [str(pid).encode()], [handle])
        for one in (handle, *descriptors):
            os.close(one)


if __name__ == "__main__":
    _fork_on_demand(socket.socket(fileno=int(sys.argv[1])))
