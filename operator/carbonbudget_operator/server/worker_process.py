"""A worker process: it answers people's questions one after the other, over read-only connections to the ledger.

`python -m carbonbudget_operator.server.worker_process FD` is the template, the process that workers are forked from.
It loads the code once, and forks a worker whenever the server sends it a socket on FD. A worker therefore starts in
milliseconds and shares the template's memory. The template ends when the server's end of FD closes, however the
server ended. The kernel kills the workers when the template ends.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.ledger_engine import (
    LedgerError,
    bound_statements,
    ledger_errors,
    open_ledger,
    read_only,
)
from carbonbudget_operator.ledger.shared_snapshot import SharedSnapshot
from carbonbudget_operator.logs import stderr_handler
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.server.ledger_refusal import ledger_away
from carbonbudget_operator.server.question import Question
from carbonbudget_operator.server.worker_messages import pack_answer, pack_refusal, receive_question
from carbonbudget_operator.server.worker_pools import STATEMENT_MARGIN_SECONDS
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG: Final = 1
_NICE: Final = 10
_MIB: Final = 2**20
_ROW_BYTES: Final = 700
_SHARED_SECONDS: Final = 0.2  # a snapshot stays open so long after a question, for the next one
_COME_AGAIN_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Setup:
    """What the template is started with. `answers` makes the object that answers, from the worker's queries."""

    url: str
    settings: Settings
    log_level: str = "info"
    log_format: str = "text"
    answers: Callable[[BudgetUseQueries, Settings], LedgerAnswers] = LedgerAnswers


def main() -> None:
    """The template: fork a worker for each socket that the server sends, until the server is gone."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends it to the whole process group: the server alone reacts to it
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        setup = receive_question(control)
        if setup is not None:
            _fork_on_demand(control, setup)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server is gone


def _fork_on_demand(control: socket.socket, setup: Setup) -> None:
    logging.basicConfig(handlers=[stderr_handler(setup.log_format)], level=setup.log_level.upper())
    answers = _answers(setup)
    gc.collect()
    gc.freeze()
    ended = {signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    control.sendall(b"r")
    template = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        # The handle is opened before the worker can be reaped: its number cannot be another process's by then.
        signal.pthread_sigmask(signal.SIG_BLOCK, ended)
        pid = -1
        try:
            pid = os.fork()
            if pid == 0:
                control.close()
                _work(socket.socket(fileno=descriptors[0]), answers, setup.settings, template)
            handle = os.pidfd_open(pid)
        except OSError as error:  # no process, memory or descriptor is left: the workers that run go on
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
            control.sendall((error.strerror or "unknown error").encode())  # without a handle
        else:
            socket.send_fds(control, [str(pid).encode()], [handle])
            os.close(handle)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ended)
            os.close(descriptors[0])


def serve(connection: socket.socket, answers: LedgerAnswers, memory_mib: int) -> None:
    """Answer questions until the server closes the connection, or the memory limit is reached."""
    shared = SharedSnapshot(answers.queries.book.engine)
    while True:
        refusal: Refusal | None = None
        if shared.is_open and not select.select([connection], [], [], _SHARED_SECONDS)[0]:
            shared.end()
        try:
            question = receive_question(connection)
            if question is None:
                return
            connection.sendall(pack_answer(_answer(answers, question, shared)))
        except Refusal as error:
            error.__traceback__ = None  # it refers to all that the answer was made of
            refusal = error
        except MemoryError:
            question = None  # answered below, where nothing refers any more to what took the memory
        else:
            continue
        if refusal is None:
            _limit_memory(None)
            connection.sendall(pack_refusal(out_of_memory(memory_mib)))
            return
        connection.sendall(pack_refusal(refusal))


def out_of_memory(memory_mib: int) -> Refusal:
    """The refusal of a question that needs more memory than a worker may take."""
    reason = (
        f"the answer needs more than {memory_mib} MiB of memory, which is the limit (server.questions.memory_mib): "
        "ask about a shorter time, or in parts"
    )
    return Refusal(503, "memory", reason, _COME_AGAIN_SECONDS)


def _answer(answers: LedgerAnswers, question: Question, shared: SharedSnapshot) -> bytes:
    try:
        engine = answers.queries.book.engine
        with ledger_errors(engine):
            bound_statements(engine, question.seconds + STATEMENT_MARGIN_SECONDS)
            shared.begin_question(question.asked_at, not question.is_long)
            keep = False
            try:
                answer = answers.answer(question)
                keep = question.others_wait
            finally:
                if not keep:  # after an error too: it may have left the snapshot unusable
                    shared.end()
            return answer
    except LedgerError as error:
        raise ledger_away(error) from None
    except (Refusal, MemoryError):
        raise
    except Exception:
        _log.exception("a question of kind %s fails", question.kind)
        reason = "this question meets a defect of the server: report it with the traceback in the server's log"
        raise Refusal(500, "defect", reason) from None


def _answers(setup: Setup) -> LedgerAnswers:
    """All that a worker needs, without a connection: workers open theirs after the fork."""
    questions = setup.settings.server.questions
    # Caches that live longer than a question may take a quarter of the memory.
    rows = questions.memory_mib * _MIB // 4 // _ROW_BYTES
    engine = open_ledger(setup.url)
    reading = read_only(engine, questions.seconds + STATEMENT_MARGIN_SECONDS)
    engine.dispose()
    return setup.answers(BudgetUseQueries(ValuedReader(reading, setup.settings, rows // 2), rows // 2), setup.settings)


def _work(connection: socket.socket, answers: LedgerAnswers, settings: Settings, template: int) -> None:
    """The worker, until its end: it never returns to the template's code."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != template:
            return
        os.nice(_NICE)
        _prefer_for_oom_kill()
        memory_mib = settings.server.questions.memory_mib
        _limit_memory(_virtual_bytes() + memory_mib * _MIB)
        serve(connection, answers, memory_mib)
        code = 0
    except OSError:
        pass  # the server is gone
    except BaseException:
        _log.exception("a worker process for people's questions ends by an error")
    finally:
        os._exit(code)


def _limit_memory(size: int | None) -> None:
    """Let this process have `size` bytes of address space; None: as many as before."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard if size is None or 0 <= hard < size else size
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _virtual_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _prefer_for_oom_kill() -> None:
    """Let the kernel kill a worker, and not the server, where the container runs out of memory all the same."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # not allowed in every container


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
