"""How long the figures of many targets take: their current window, a baseline, the last calendar window.

A ledger on SQLite in a temporary folder: ten models a namespace, each a target with pods of its own, and a counter
that is known in each hour. The times are of the first question after a start, which reads all units; the same one
again; and one of other windows.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import sqlalchemy as sa
from figures import Figures, arguments, show

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.target_query_bodies import TargetQuery, TargetSpan, TargetWishes
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_761_955_200  # 2025-11-01
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
SOURCE = ClusterUnitSource(preset="vLLMOutputTokens")
NODES, PODS = 20, 1


def main() -> None:
    """One row for each number of targets."""
    asked = arguments(__doc__ or "")
    rows: list[Figures] = []
    for targets, days in ((100, 17),) if asked.quick else ((100, 30), (1_000, 30)):
        with tempfile.TemporaryDirectory() as folder:
            engine = open_ledger(f"sqlite:///{Path(folder)}/ledger.db")
            migrate(engine)
            hours = days * 24
            fill(engine, targets, hours, PODS)
            keep(engine, FIRST + (hours + 2) * HOUR)
            units = SelectedUnits(SETTINGS.cluster, 90)
            figures = TargetFigures(BudgetUseQueries(ValuedReader(engine, SETTINGS)), units, digest_of)
            queries = [a_query(number, hours) for number in range(targets)]
            later = [a_query(number, hours - 1) for number in range(targets)]
            rows.append(
                {
                    "targets": targets,
                    "days": days,
                    "first_s": seconds(figures, queries),
                    "again_s": seconds(figures, queries),
                    "other_windows_s": seconds(figures, later),
                    "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                }
            )
            engine.dispose()
    show(rows, asked.json)


def seconds(figures: TargetFigures, queries: Sequence[TargetQuery]) -> float:
    """How long the answer takes."""
    began = time.monotonic()
    figures.answers(queries)
    return round(time.monotonic() - began, 2)


def a_query(number: int, hours: int) -> TargetQuery:
    """The question of one target: the last 7 days, a baseline of the first 7, and the calendar week in between."""
    end = FIRST + hours * HOUR
    spans = [(end - 7 * DAY, end), (FIRST, FIRST + 7 * DAY), (FIRST + 9 * DAY, FIRST + 16 * DAY)]
    return TargetQuery(
        id=str(number), namespaces=[f"team-{number // 10}"], source=SOURCE,
        selector=LabelSelector(match_labels={"app": f"model-{number}"}),
        spans=[TargetSpan(start=start, end=stop) for start, stop in spans], wishes=TargetWishes(workloads=10),
    )  # fmt: skip


def fill(engine: sa.Engine, targets: int, hours: int, pods: int) -> None:
    """Ten models a namespace, on twenty nodes; rows as the writer and the poller leave them."""
    with engine.begin() as connection:

        def insert(table: sa.Table, rows: Iterable[dict[str, object]]) -> None:
            for some in chunks(rows, 20_000):
                connection.execute(sa.insert(table), some)

        insert(schema.node, ({"id": n + 1, "cluster": "default", "name": f"n{n}"} for n in range(NODES)))
        insert(
            schema.node_span,
            ({"node_id": n + 1, "first_start": FIRST, "last_end": FIRST + hours * HOUR} for n in range(NODES)),
        )
        insert(
            schema.label_set,
            (
                {"id": t + 1, "digest": t.to_bytes(16, "big"), "labels": f'{{"app": "model-{t}"}}'}
                for t in range(targets)
            ),
        )
        insert(schema.pod, (
            {"id": t * pods + p + 1, "node_id": t % NODES + 1, "uid": f"{t}-{p}", "label_set_id": t + 1,
             "namespace": f"team-{t // 10}", "name": f"model-{t}-{p}", "last_hour": FIRST + (hours - 1) * HOUR}
            for t in range(targets) for p in range(pods)
        ))  # fmt: skip
        digest = digest_of(SOURCE)
        namespaces = -(-targets // 10)
        insert(
            unit_counter,
            (
                {"id": n + 1, "cluster": "default", "namespace": f"team-{n}", "digest": digest, "expression": "{}"}
                for n in range(namespaces)
            ),
        )
        for at in range(hours):
            hour = FIRST + at * HOUR
            insert(schema.hour_revision, [{"hour": hour, "revision": 1}])
            per_node = [0] * NODES
            for t in range(targets):
                per_node[t % NODES] += pods * (10**9 + t)
            insert(schema.node_fact, (
                {"start": hour, "node_id": n + 1, "domain": "cpu", "method": "rapl", "boundary": "wall",
                 "duration_ms": 3_600_000, "measured_uj": used, "idle_uj": 0, "system_uj": 0, "unseen_uj": 0}
                for n, used in enumerate(per_node) if used
            ))  # fmt: skip
            ids = [(t, p, t * pods + p + 1) for t in range(targets) for p in range(pods)]
            insert(
                schema.pod_fact,
                ({"start": hour, "pod_id": i, "cpu_us": 10**6, "duration_ms": 3_600_000} for _, _, i in ids),
            )
            insert(
                schema.pod_energy,
                (
                    {"start": hour, "pod_id": i, "domain": "cpu", "energy_uj": 10**9 + t, "idle_uj": 0}
                    for t, _, i in ids
                ),
            )
            if at % 24 == 0:
                per_hour = [number for index in range(24) for number in (index, 10**9 + at)]
                insert(unit_day, (
                    {"counter_id": n + 1, "day": hour, "states": "c" * 24, "refused": "", "pods": json.dumps(
                        [(f"team-{n}", f"model-{t}-{p}", per_hour)
                         for t in range(10 * n, min(10 * n + 10, targets)) for p in range(pods)]
                    )}
                    for n in range(namespaces)
                ))  # fmt: skip


def keep(engine: sa.Engine, now: int) -> None:
    """Store the valued units, as upkeep does."""
    steps = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while steps.step(now) is not None:
        pass


if __name__ == "__main__":
    main()
