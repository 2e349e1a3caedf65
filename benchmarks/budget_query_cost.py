"""What the controller's question about all budgets costs the server, at 10, 100 and 1,000 budgets.

A month of 5,000 workloads in 100 namespaces, its hours kept as the server keeps them but for the last one, which is
made from facts as in a running cluster. Budgets pick by label in one namespace; half of them begin in another time
zone; every fiftieth is for the whole cluster's namespaces at once. Each asks for its ten largest workloads and for what
was settled an hour ago.

`first` is a server's first answer; `hour` one after another hour was kept (what was added up is added up anew);
`warm` the median of five as they come each minute, each after new reports of the open hour, whose own valuing is told
apart as `open_hour` and taken off. `four_weeks` is /v1/budgets/hours over 28 days for all of them, asked once an hour.
Milliseconds of CPU, so that a busy machine does not count; `warm_wall_ms` is the time on the clock.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa
from benchmarks.figures import Figures, arguments, show

from carbonbudget_core.node_report import Allocatable, DomainUse, NodeInfo, NodeReport, PodRequests, PodUsage
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.hourly_use import hourly_use
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, BudgetWishes
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, CheckedReport
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow, ValuedUnit
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.unit_calendar import signatures, unit_end
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY, HOUR = 86_400, 3600
START = 1_761_955_200  # 2025-11-01
NOW = START + 27 * DAY + 14 * HOUR
NAMESPACES = 100
PODS_A_NODE = 30


def row(start: int, end: int, workload: int, figure: int) -> ValuedRow:
    """One workload's."""
    namespace = f"team-{workload % NAMESPACES}"
    labels = {"project": f"p{workload // NAMESPACES % 10}", "app": f"w{workload}"}
    figures = [figure + column for column in range(COLUMNS)]
    return ValuedRow(
        start, end, "", "Scope 2", namespace, f"Pod/w{workload}", labels, figures, frozenset({"DE 330 g/kWh"})
    )


def fill(
    engine: sa.Engine, book: ValuedReader, workloads: int, every_hour: bool, begins: int = START, ends: int = NOW
) -> None:
    """Kept units until the hour before the last; of hours inside whole days only if they are asked for."""
    with engine.begin() as connection:
        for hour in range(begins, ends, HOUR):
            connection.execute(sa.insert(schema.hour_revision).values(hour=hour, revision=1))
    for done, ((level, start), signature) in enumerate(signatures(dict.fromkeys(range(begins, ends, HOUR), 1)).items()):
        end = unit_end(start, level)
        if end > ends or (level == HOURS and not every_hour and start < ends - ends % DAY):
            continue
        rows = [row(start, end, w, (w + 1) * 10**7 * (end - start) // HOUR) for w in range(workloads)]
        book.derived.save(ValuedUnit(level, start, rows, [(start, end, 1)]), end, signature)
        if done % 200 == 0:
            print(f".. {workloads} workloads: {done} units looked at", file=sys.stderr, flush=True)


def report_open_hour(booker: Booker, workloads: int, window: int) -> None:
    """One window of all nodes in the hour that is open."""
    start = NOW + 60 * window
    arrivals = []
    for node in range(-(-workloads // PODS_A_NODE)):
        pods = tuple(
            PodUsage(
                uid=f"u{w}", namespace=f"team-{w % NAMESPACES}", name=f"w{w}",
                labels={"project": f"p{w // NAMESPACES % 10}", "app": f"w{w}"}, energy_uj={"cpu": 10**6 + w},
                cpu_us=10**5, requests=PodRequests(100, 10**8, 0), duration_ms=60_000,
            )
            for w in range(node * PODS_A_NODE, min(workloads, (node + 1) * PODS_A_NODE))
        )  # fmt: skip
        total = sum(pod.energy_uj["cpu"] for pod in pods) + 10**9
        domain = DomainUse("cpu", "model", "wall", 60_000, total, 10**9, 0, 0, total, total)
        info = NodeInfo(threads=16, allocatable=Allocatable(16_000, 10**11, 0))
        report = NodeReport("default", f"n{node}", "boot", start, start + 60, (domain,), pods, info, 0, start)
        arrivals.append(CheckedReport(report, f"{window:08}".encode()))
    booker.book(arrivals)


def questions(budgets: int, projects: int) -> list[BudgetQuery]:
    """As the controller asks them."""
    found = []
    for index in range(budgets):
        whole = index % 50 == 9
        namespaces = ["*"] if whole else [f"team-{index % NAMESPACES}"]
        selector = LabelSelector(match_labels={"project": f"p{index // NAMESPACES % projects}"})
        begins = START - (HOUR if index % 2 else 0)  # midnight in Paris
        found.append(
            BudgetQuery(
                id=f"b{index}", namespaces=namespaces, selector=selector, start=begins, end=begins + 30 * DAY,
                wishes=BudgetWishes(settled_through=NOW - HOUR), workloads=10,
            )
        )  # fmt: skip
    return found


class Clock:
    """Since it was made: CPU time of this process, and the time on the clock."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        """In milliseconds."""
        return (time.process_time() - self._cpu) * 1000, (time.perf_counter() - self._wall) * 1000


def timed(queries: BudgetUseQueries, asked: list[BudgetQuery]) -> tuple[float, float]:
    clock = Clock()
    assert all(answer.used_ug for answer in queries.budgets(asked))
    return clock.read()


def measure(engine: sa.Engine, budgets: int, workloads: int, windows: int) -> Figures:
    """One number of budgets on the ledger; `windows` tells which of the open hour are in already."""
    book, booker, asked = (
        ValuedReader(engine, Settings()),
        Booker(engine),
        questions(budgets, min(10, workloads // NAMESPACES)),
    )
    queries = BudgetUseQueries(book)
    first, _ = timed(queries, asked)
    warm, opened = [], []
    for window in range(5):
        report_open_hour(booker, workloads, windows + window)
        with engine.connect() as connection:
            units = book.units(connection, NOW, NOW + HOUR)
            clock = Clock()
            for key, (signature, kept) in units.items():
                book.unit(connection, key, signature, kept)
            opened.append(clock.read()[0])
        warm.append(timed(queries, asked))
    again = BudgetUseQueries(book)  # as after another hour was kept: units are known, what was added up is not
    hour, _ = timed(again, asked)
    clock = Clock()
    hourly_use(book, [query.model_copy(update={"start": NOW - 28 * DAY, "end": NOW}) for query in asked])
    return {
        "budgets": budgets,
        "workloads": workloads,
        "first_ms": round(first),
        "hour_ms": round(hour),
        "warm_ms": round(statistics.median(cpu for cpu, _ in warm)),
        "warm_wall_ms": round(statistics.median(wall for _, wall in warm)),
        "open_hour_ms": round(statistics.median(opened)),
        "four_weeks_ms": round(clock.read()[0]),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """All numbers of budgets on one ledger."""
    given = arguments(__doc__ or "")
    workloads = 500 if given.quick else 5_000
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        engine = open_ledger(f"sqlite:///{directory}/ledger.db")
        migrate(engine)
        fill(engine, ValuedReader(engine, Settings()), workloads, every_hour=True)
        report_open_hour(Booker(engine), workloads, 0)
        for index, budgets in enumerate((10, 100, 1_000)):
            found.append(measure(engine, budgets, workloads, 1 + 5 * index))
        engine.dispose()
    show(found, given.json)


if __name__ == "__main__":
    main()
