"""What GET /api/v1/runs costs in a worker, by number of workloads, on a ledger of 7 days whose hours are all stored.

One in ten workloads has a run. `list_ms` is the whole cluster's list of 7 days, `tenant_ms` that of one of 50
namespaces, `one_ms` one run with its hours, `version_ms` what an answer costs that has not changed (304). Medians of
five, in milliseconds of CPU; the answer as JSON is included.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa
from benchmarks.emissions_cost import milliseconds
from benchmarks.figures import Figures, arguments, show
from benchmarks.query_cost import DAY, END
from tests.ledger.reports import a_report
from tests.ledger.reports import book as book_reports

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit
from carbonbudget_operator.run_labels import MODEL, RUN
from carbonbudget_operator.server.public.run_answers import run_answer, runs_answer, runs_answer_version
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.unit_calendar import signatures, unit_end
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

START = END - 7 * DAY


def fill(engine: sa.Engine, book: ValuedReader, workloads: int) -> None:
    """Stored units of all levels of 7 days; each workload has a row in each."""
    hours = dict.fromkeys(range(START, END, 3600), 1)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.hour_revision), [{"hour": hour, "revision": 1} for hour in hours])
    labels = [
        {RUN: f"r{w}", MODEL: f"m{w % 40}"} if w % 10 == 0 else {"project": f"p{w % 400}"} for w in range(workloads)
    ]
    for (level, start), signature in signatures(hours).items():
        end = unit_end(start, level)
        if end > END:
            continue
        rows = [
            ValuedRow(
                start, end, "", "Scope 2", f"team-{w % 50}", f"Job/w{w}", labels[w], [10**9 + w] * COLUMNS,
                frozenset({"DE 330 g/kWh"}),
            )
            for w in range(workloads)
        ]  # fmt: skip
        book.derived.save(ValuedUnit(level, start, rows, [(start, end, 1)]), end, signature)


def asked(namespaces: list[str] | None, run: str = "") -> Mapping[str, Any]:
    """A request's parameters, as the route passes them on."""
    return {
        "start": START, "end": END, "namespaces": namespaces, "labels": [], "unlabelled": False, "limit": 1_000,
        "cursor": "", "format": "json", "run": run,
    }  # fmt: skip


def measure(url: str, workloads: int) -> Figures:
    """One ledger."""
    engine = open_ledger(url)
    migrate(engine)
    fill(engine, ValuedReader(engine, Settings()), workloads)
    book_reports(Booker(engine), a_report(END))  # the data reach up to here
    book = ValuedReader(engine, Settings())
    found: Figures = {
        "workloads": workloads,
        "list_ms": milliseconds(lambda: runs_answer(book, asked(None))),
        "tenant_ms": milliseconds(lambda: runs_answer(book, asked(["team-0"]))),
        "one_ms": milliseconds(lambda: run_answer(book, asked(["team-0"], "r0"))),
        "version_ms": milliseconds(lambda: runs_answer_version(book, asked(None))),
    }
    engine.dispose()
    return found


def main() -> None:
    """Both sizes, on SQLite."""
    given = arguments(__doc__ or "")
    found = []
    for workloads in (500,) if given.quick else (500, 5_000):
        with tempfile.TemporaryDirectory() as directory:
            found.append(measure(f"sqlite:///{directory}/ledger.db", workloads))
    show(found, given.json)


if __name__ == "__main__":
    main()
