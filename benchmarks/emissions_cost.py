"""What GET /api/v1/emissions costs in a worker, by number of workloads, on a ledger of 90 days.

`page_ms` is 90 days by namespace and day, as a page shows them; `whole_ms` the same as one sum; `tenant_ms` is 30 days
by workload and day for one of 50 namespaces; `version_ms` is what an answer costs that has not changed (304).
Medians of five, in milliseconds of CPU; the answer as JSON is included.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, rss_mib, show
from benchmarks.query_cost import DAY, END, START, fill
from tests.ledger.reports import a_report
from tests.ledger.reports import book as book_reports

from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.server.public.emission_answer import emission_answer, emission_version
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader


def asked(start: int, by: str, step: str, namespaces: list[str] | None) -> Mapping[str, Any]:
    """A request's parameters, as the route passes them on."""
    return {
        "start": start, "end": END, "by": by, "step": step, "accounting": "Both", "filter": "", "compare": False,
        "include": "Dynamic,Idle,Overhead",
        "limit": 10_000, "cursor": "", "format": "json", "namespaces": namespaces,
    }  # fmt: skip


def milliseconds(work: Callable[[], object]) -> float:
    """The median of five."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        work()
        taken.append((time.process_time() - began) * 1000)
    return round(statistics.median(taken), 1)


def measure(url: str, workloads: int) -> Figures:
    """One ledger."""
    engine = open_ledger(url)
    migrate(engine)
    fill(engine, ValuedReader(engine, Settings()), workloads)
    book_reports(Booker(engine), a_report(END))  # the data reach up to here
    book = ValuedReader(engine, Settings())
    page, whole = asked(START, "namespace", "day", None), asked(START, "namespace", "all", None)
    tenant = asked(END - 30 * DAY, "workload", "day", ["team-7"])
    found: Figures = {
        "workloads": workloads,
        "page_ms": milliseconds(lambda: emission_answer(book, page)),
        "whole_ms": milliseconds(lambda: emission_answer(book, whole)),
        "tenant_ms": milliseconds(lambda: emission_answer(book, tenant)),
        "version_ms": milliseconds(lambda: emission_version(book, page)),
        "rss_mib": rss_mib(os.getpid()),
    }
    engine.dispose()
    return found


def main() -> None:
    """All sizes, on SQLite."""
    given = arguments(__doc__ or "")
    found = []
    for workloads in (500, 5_000) if given.quick else (500, 5_000, 50_000):
        with tempfile.TemporaryDirectory() as directory:
            found.append(measure(f"sqlite:///{directory}/ledger.db", workloads))
    show(found, given.json)


if __name__ == "__main__":
    main()
