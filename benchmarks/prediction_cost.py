"""What predictions cost with 1,000 pods that tell their progress: of each pod alone, and for the controller's question.

Each pod has done 50 of 200 epochs of a minute, as spans with counters, on nodes of 30 pods. The ledger holds two hours.
`one_ms` is of a prediction that is made of a pod alone; `post_ms` is the mean over the posts of all pods, one a minute
each for ten minutes, of which `made_percent` asked a worker process: the 30 pods of a node are a run. The controller's
question is a budget for each namespace with all of its workloads: after a start it makes as many predictions as fit
into a second, then all are known for five minutes. Filling the ledger is not measured; times are CPU time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show, yardstick_ms
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.energy_so_far import EnergySoFar
from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.answers.progress_prediction import ProgressPredictions
from carbonbudget_operator.answers.workload_prediction import WorkloadPredictions
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.span_store import DAY, Post, ProgressPoint, SpanStore
from carbonbudget_operator.server.known_predictions import KnownPredictions
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.spans.span_bodies import ProgressAnswer
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

PODS, MINUTES, EPOCHS, ALL_EPOCHS = 30, 120, 50, 200
NOW = HOUR + MINUTES * 60
_POSTS = 10  # of each pod
LABELS = {"carbonbudget.dev/run": "exp-42"}


def uid(node: int, pod: int) -> str:
    """Of a pod."""
    return f"pod-{node}-{pod}"


def fill(ledger: str, nodes: int) -> ValuedReader:
    """Windows of all pods, their spans and their progress."""
    engine = open_ledger(ledger)
    migrate(engine)
    booker, store = Booker(engine), SpanStore(engine, "default", 10**9)
    for minute in range(MINUTES):
        at = HOUR + 60 * minute
        uses = [{uid(node, pod): 300_000_000 + minute + pod for pod in range(PODS)} for node in range(nodes)]
        book(
            booker,
            *(
                a_report(at, f"node-{node}", use, labels=LABELS, namespace=f"team-{node}")
                for node, use in enumerate(uses)
            ),
        )
    first_ms = (NOW - 60 * EPOCHS) * 1000
    for node in range(nodes):
        for pod in range(PODS):
            name = uid(node, pod)
            edges = [first_ms + 60_000 * number for number in range(EPOCHS + 1)]
            spans = [
                Span(f"s{n}", "epoch", n, edges[n], edges[n + 1] - 1, (n * 10**7, n * 10**7 + 9 * 10**6))
                for n in range(EPOCHS)
            ]
            posts = [Post(f"team-{node}", name, name, "exp-42", spans)]
            posts += [
                Post(f"team-{node}", name, name, progress=ProgressPoint("epoch", n, ALL_EPOCHS, edge))
                for n, edge in enumerate(edges)
            ]
            store.store(posts, NOW)
    return ValuedReader(engine, Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0)))


def posts(predictions: ProgressPredictions, nodes: int) -> tuple[float, int]:
    """Seconds of CPU time that the prediction of a post costs on average, and per cent of posts that had one made."""
    known, made, began = KnownPredictions(), 0, time.process_time()
    for minute in range(_POSTS):
        now, done = NOW + 60 * minute, EPOCHS + minute
        point = ProgressPoint("epoch", done, ALL_EPOCHS, now * 1000)
        for node in range(nodes):
            for pod in range(PODS):
                if known.find(uid(node, pod), point, now) is None:
                    found = predictions.predict(f"team-{node}", uid(node, pod), point, now)
                    answer = ProgressAnswer(prediction=found)
                    known.put(uid(node, pod), point, now, answer.model_dump_json().encode())
                    made += 1
    count = _POSTS * nodes * PODS
    return (time.process_time() - began) / count, made * 100 // count


def measure(nodes: int) -> Figures:
    """One ledger on SQLite with `nodes` times 30 pods."""
    with tempfile.TemporaryDirectory() as folder:
        reader = fill(f"sqlite:///{folder}/ledger.db", nodes)
        predictions, each_s = PodPredictions(reader), []
        predictions.predict(uid(0, 0), "epoch", NOW)  # values the hours, once for all
        for node in range(nodes):
            for pod in range(PODS):
                began = time.process_time()
                if predictions.predict(uid(node, pod), "epoch", NOW) is None:
                    raise SystemExit(f"there is no prediction for pod {uid(node, pod)}")
                each_s.append(time.process_time() - began)
        so_far = EnergySoFar(reader)
        of_runs = WorkloadPredictions(reader, predictions, time.process_time)
        posts_s, made = posts(ProgressPredictions(reader, predictions, of_runs, so_far), nodes)
        queries = BudgetUseQueries(reader)
        asked = [
            BudgetQuery(
                id=f"q{node}", namespaces=[f"team-{node}"], start=HOUR - DAY, end=HOUR + DAY, workloads=2 * PODS
            )
            for node in range(nodes)
        ]
        workloads, requests_s, expected = WorkloadPredictions(reader, predictions, time.process_time), [], 0
        plain_s = 0.0
        while len(requests_s) < 100:
            began = time.process_time()
            answers = queries.budgets(asked)
            plain_s, began = time.process_time() - began, time.process_time()
            workloads.add(asked, answers, NOW)
            requests_s.append(time.process_time() - began)
            before = expected
            expected = sum(use.expected_ug is not None for answer in answers for use in answer.workloads)
            if expected == before:  # nothing was made anew
                break
        reader.engine.dispose()
    each_s.sort()
    return {
        "pods": len(each_s),
        "one_ms": round(statistics.median(each_s) * 1000, 1),
        "one_p99_ms": round(each_s[len(each_s) * 99 // 100] * 1000, 1),
        "all_pods_once_s": round(sum(each_s), 2),
        "post_ms": round(posts_s * 1000, 2),
        "made_percent": made,
        "requests_until_all": len(requests_s) - 1,
        "first_request_s": round(requests_s[0], 2),
        "request_when_known_s": round(requests_s[-1], 2),
        "request_without_s": round(plain_s, 2),
        "with_expectation": expected,
        "yardstick_ms": round(yardstick_ms(), 1),
    }


def main() -> None:
    """990 pods; --quick: 60."""
    given = arguments(__doc__ or "")
    show([measure(nodes) for nodes in ((2,) if given.quick else (2, 33))], given.json)


if __name__ == "__main__":
    main()
