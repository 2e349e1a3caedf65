"""Answers of worker processes that do on purpose what a large question may do; which, the question's id says."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.server.question import Question
from carbonbudget_operator.settings import Settings


class SlowAnswers(LedgerAnswers):
    """`slow` waits for ever in Python, `sleep` in the database, `large` takes memory, `die` ends the process.

    `settings` answers with what PostgreSQL has set for the worker's connection.
    """

    def answer(self, question: Question) -> bytes:
        asked = json.loads(question.body)["queries"][0]["id"] if question.body else ""
        if asked == "slow":
            while True:  # as a computation does: it takes the processor and leaves no gap
                sum(range(10_000))
        if asked == "sleep":
            with self.queries.book.engine.connect() as connection:
                connection.exec_driver_sql("SELECT pg_sleep(3600)")
        if asked == "settings":
            with self.queries.book.engine.connect() as connection:
                names = ("statement_timeout", "client_connection_check_interval", "default_transaction_read_only")
                return json.dumps([connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]).encode()
        if asked == "large":
            taken = [bytes(2**20) for _ in range(4096)]
            return b"%d" % len(taken)
        if asked == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if asked == "write":
            with self.queries.book.engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE mine (a INTEGER)")
        return super().answer(question)


class OneForkOnly(SlowAnswers):
    """In the process that workers are forked from no second one can be."""

    def __init__(self, queries: BudgetUseQueries, settings: Settings) -> None:
        super().__init__(queries, settings)
        fork = os.fork

        def once() -> int:
            os.fork = _no_more
            return fork()

        os.fork = once


def _no_more() -> int:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


if __name__ == "__main__":  # a server that has a question under way: it says which processes it has
    import asyncio

    from prometheus_client import CollectorRegistry

    from carbonbudget_operator.server.question import QueryAllowance
    from carbonbudget_operator.server.wiring import make_pools
    from carbonbudget_operator.server.worker_process import Setup

    async def ask() -> None:
        _, people = make_pools(Setup(sys.argv[1], Settings(), answers=SlowAnswers), CollectorRegistry())
        body = json.dumps({"queries": [{"id": "slow"}]}).encode()
        allowance = QueryAllowance(1, 1, 1, 1, 1000)
        asking = asyncio.create_task(people.answer(Question("budgets", 0, allowance, body)))
        while not people.workers:  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(0.01)
        assert people._template._process is not None
        print(people._template._process.pid, *(worker.pid for worker in people.workers), flush=True)
        await asking

    from tests.server.slow import SlowAnswers  # by its name for another process, not __main__'s

    # A shell starts what runs in its background with SIGINT ignored. The server sets its own handler in any case.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(ask())
