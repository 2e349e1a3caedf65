"""People's questions: a queue, and the worker processes that answer them, started when they are needed.

A worker that takes too long, or whose asker ended the connection, is killed, and the next question gets a new one. So a
question never takes longer than its limit, and never takes the server's own memory or interpreter.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, ParamSpec, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.question import VERSION_BYTES, Question
from carbonbudget_operator.server.turns import Turns
from carbonbudget_operator.server.worker_messages import LENGTHS, MAX_HEAD, pack_question, unpack_refusal
from carbonbudget_operator.server.worker_pools import run_within
from carbonbudget_operator.server.worker_process import Setup

_P = ParamSpec("_P")
_T = TypeVar("_T")
_START_SECONDS: Final = 60.0
_FORK_SECONDS: Final = 60.0  # a fork that does not answer ends all workers; a slow machine is no reason
_ANSWER_BYTES: Final = 200  # a process id, or the reason why there is none
_COME_AGAIN_SECONDS: Final = 30


class Worker:
    """One worker process, and the connection to it.

    `handle` is a file descriptor of the process (pidfd): unlike a process id, it never refers to another process.
    """

    def __init__(self, pid: int, handle: int, connection: socket.socket) -> None:
        self.pid = pid
        self._handle: int | None = handle
        self._connection = connection
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.idle_since = 0.0

    @property
    def runs(self) -> bool:
        """Whether the process runs."""
        if self._handle is None:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(0)

    async def ask(self, question: Question) -> bytes:
        """The answer.

        Raises:
            Refusal: the worker's.
            EOFError, OSError: the process ended.
            ValueError: the worker sent something that is no answer.
        """
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(sock=self._connection)
        reader, writer = self._streams
        writer.write(pack_question(replace(question, parsed=None)))
        await writer.drain()
        head, body = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
        if head > MAX_HEAD or body > question.allowance.answer_bytes + VERSION_BYTES:
            raise ValueError(f"a worker announced {head} and {body} bytes")
        if head:
            raise unpack_refusal(await reader.readexactly(head))
        return await reader.readexactly(body)

    def kill(self) -> None:
        """End the process, whatever it does, and close the connection. A second call does nothing."""
        if self._handle is None:
            return
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended
        os.close(self._handle)
        self._handle = None
        if self._streams is None:
            self._connection.close()
        else:
            self._streams[1].close()


class TemplateProcess(Protocol):
    """A process that was started: what a `subprocess.Popen` can do of it."""

    pid: int

    def kill(self) -> None:
        """End it."""

    def wait(self) -> object:
        """Wait for its end."""


def start_template(descriptor: int) -> TemplateProcess:
    """A new Python that becomes the template; `descriptor` is its end of the socket between us. Raises OSError."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "carbonbudget_operator.server.worker_process", str(descriptor)],
        pass_fds=[descriptor], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


class Template:
    """The process that workers are forked from. Its methods block: they are called in one thread."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: TemplateProcess | None = None
        self._control: socket.socket | None = None

    def fork(self) -> Worker:
        """A new worker. Raises OSError."""
        if self._control is None:
            self._control = self._start()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
            answered, handles, _, _ = socket.recv_fds(self._control, _ANSWER_BYTES, 1)
            if not answered:
                raise OSError("the process that workers are forked from has ended")
        except OSError:
            ours.close()
            self.close()  # the next question starts another
            raise
        if not handles:  # it could not fork, and sent the reason
            ours.close()
            raise OSError(answered.decode(errors="replace"))
        return Worker(int(answered), handles[0], ours)

    def close(self) -> None:
        """End it, and with it all workers."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = start_template(theirs.fileno())
        ours.settimeout(_START_SECONDS)
        try:
            ours.sendall(pack_question(self._setup))
            if ours.recv(1) != b"r":
                raise OSError("the process that workers are forked from did not start: the server's log has the reason")
        except OSError:
            ours.close()
            self.close()
            raise
        ours.settimeout(_FORK_SECONDS)
        return ours


class QuestionQueue:
    """Answers readers' questions in worker processes, within the limits of the settings `server.questions`."""

    def __init__(self, setup: Setup, registry: CollectorRegistry) -> None:
        self._limits = limits = setup.settings.server.questions
        name = "people's questions"
        self._turns = Turns(name, limits.workers, limits.at_once_each, limits.waiting, limits.wait_seconds)
        longest = max(1, limits.workers - 1)  # reports that take minutes leave a worker to other questions
        self._long = Turns("reports of periods", longest, limits.at_once_each, 8, limits.wait_seconds)
        self._template = Template(setup)
        self._idle: list[Worker] = []
        self._ending: asyncio.TimerHandle | None = None
        # Both block, and one must not wait for the other: a fork can take seconds.
        self._forking = ThreadPoolExecutor(1, thread_name_prefix="workers")
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="people")
        self.workers: set[Worker] = set()
        gauge = Gauge(
            "carbonbudget_question_workers", "Processes that answer people's questions, now.", registry=registry
        )
        gauge.set_function(lambda: len(self.workers))
        self._killed = Counter(
            "carbonbudget_question_workers_ended", "Processes that ended in a question, by reason.", ["reason"],
            registry=registry,
        )  # fmt: skip
        for reason in ("time", "memory", "gone", "asker"):
            self._killed.labels(reason)

    @asynccontextmanager
    async def turn(self, who: str, long: bool = False) -> AsyncIterator[None]:
        """The caller's turn. A report that takes minutes first waits for other reports. Raises Refusal."""
        if not long:
            async with self._turns.turn(who):
                yield
            return
        async with self._long.turn(who), self._turns.turn(who):
            yield

    @asynccontextmanager
    async def paused(self, seconds: float) -> AsyncIterator[None]:
        """Send no question to a worker until the block ends. It begins when none has one, at most after `seconds`.

        Beside a report that takes minutes it begins at once.
        """
        async with self._turns.paused(0.0 if self._long.has_running else seconds):
            yield

    async def run(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
        """Call a short function in a thread.

        Raises:
            Refusal: 503 if it takes longer than a question may.
        """
        seconds = self._limits.seconds
        return await run_within(
            self._parsing, seconds, lambda _: _too_long(seconds, long=False), lambda: work(*args, **options)
        )

    async def answer(self, question: Question, long: bool = False) -> bytes:
        """The answer as JSON, from one of the workers. The start of a worker is a part of the question's time.

        Raises:
            Refusal: the worker's; 503 if it takes too long, or no worker starts, or it ends.
        """
        seconds = self._limits.report_seconds if long else self._limits.seconds
        worker: Worker | None = None
        reason = "asker"  # while nothing else is known, the asker ended the connection
        try:
            async with asyncio.timeout(seconds):
                worker = self._take() or await self._start()
                answer = await worker.ask(
                    replace(question, seconds=seconds, is_long=long, others_wait=self._turns.has_waiting)
                )
            reason = ""
        except TimeoutError:
            reason = "time"
            raise (
                _no_start(f"it did not start within {seconds} s") if worker is None else _too_long(seconds, long)
            ) from None
        except Refusal as refusal:
            reason = "memory" if refusal.kind == "memory" else ""
            raise
        except (EOFError, OSError, ValueError):
            reason = "gone"
            raise _ended() from None
        finally:
            if worker is not None and reason:
                self._killed.labels(reason).inc()
                self._end(worker)
            elif worker is not None:
                self._make_idle(worker)
        return answer

    async def start(self) -> None:
        """Have a worker before the first question, within the limit of workers. Raises Refusal."""
        async with self._turns.turn("the server's start"):
            if not self.workers:
                self._make_idle(await self._start())

    def close(self) -> None:
        """End all processes."""
        if self._ending is not None:
            self._ending.cancel()
        for worker in list(self.workers):
            self._end(worker)
        self._idle.clear()
        self._forking.submit(self._template.close).result()
        self._forking.shutdown()
        self._parsing.shutdown()

    def _take(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.runs:
                return worker
            self._end(worker)
        return None

    def _make_idle(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        worker.idle_since = loop.time()
        self._idle.append(worker)
        if self._ending is None:
            self._ending = loop.call_later(self._limits.idle_seconds, self._end_idle)

    def _end_idle(self) -> None:
        """End the workers that have been idle for too long. `_idle` is in order of time: its last one is used first."""
        loop = asyncio.get_running_loop()
        border = loop.time() - self._limits.idle_seconds
        for worker in [worker for worker in self._idle if worker.idle_since <= border]:
            self._idle.remove(worker)
            self._end(worker)
        self._ending = None
        if self._idle:
            at = self._idle[0].idle_since + self._limits.idle_seconds
            self._ending = loop.call_at(at, self._end_idle)

    def _end(self, worker: Worker) -> None:
        self.workers.discard(worker)
        worker.kill()

    async def _start(self) -> Worker:
        forked = asyncio.get_running_loop().run_in_executor(self._forking, self._template.fork)
        try:
            worker = await asyncio.shield(forked)
        except asyncio.CancelledError:
            forked.add_done_callback(_kill_forked)
            raise
        except OSError as error:
            raise _no_start(str(error)) from None
        self.workers.add(worker)
        return worker


def _kill_forked(forked: asyncio.Future[Worker]) -> None:
    """End a worker whose question was given up before it had started."""
    if not forked.cancelled() and forked.exception() is None:
        forked.result().kill()


def _no_start(why: str) -> Refusal:
    return Refusal(
        503, "worker", f"no process could be started to answer it: {why}: try again later", _COME_AGAIN_SECONDS
    )


def _too_long(seconds: int, long: bool) -> Refusal:
    setting = "report_seconds" if long else "seconds"
    reason = (
        f"the answer takes longer than {seconds} s, which is the limit (server.questions.{setting}): "
        "ask about a shorter time, or in parts"
    )
    return Refusal(503, "time", reason, _COME_AGAIN_SECONDS)


def _ended() -> Refusal:
    reason = "the process that made the answer ended: try again; if it ends again, ask about a shorter time"
    return Refusal(503, "worker", reason, _COME_AGAIN_SECONDS)
