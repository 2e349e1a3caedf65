"""Runs by their label: what all pods of a run emitted, over Jobs and restarts. For GET /api/v1/runs.

A run is a namespace and a value of the label `carbonbudget.dev/run`. Its figures are sums of the same rows as those of
every other answer, so runs and the rest of a namespace add up to the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import sqlalchemy as sa

from carbonbudget_operator.answers.emission_series import COMPONENTS, Amounts
from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Range
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans
from carbonbudget_operator.ledger.labelled_pods import labelled_pods
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.seal import sealed_until
from carbonbudget_operator.ledger.valued_rows import EMBODIED_HIGH_UG, EMBODIED_LOW_UG, FACILITY_UJ, ValuedRow
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE, STAGES
from carbonbudget_operator.valued_hours.reading_plans import ReadingPlans
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

State = Literal["provisional", "final"]
RunKey = tuple[str, str, str]  # namespace and run; without a run the model, else ""
_ALL = tuple(range(len(COMPONENTS)))


@dataclass(frozen=True, slots=True)
class RunsQuery:
    """What is asked for. `labels`: pods that have all of these count; `namespaces`: None for the whole cluster.

    `unlabelled` adds pods that have no run, by model. `after` leaves out all runs up to that one.
    """

    window: Range
    namespaces: frozenset[str] | None
    labels: tuple[tuple[str, str], ...] = ()
    unlabelled: bool = False
    after: RunKey | None = None
    limit: int = 1_000

    @property
    def containing(self) -> str:
        """A text that the labels as JSON of every group that counts contain; empty where there is none."""
        for key, value in self.labels:
            if key == RUN:
                return f'"{key}":"{value}"'
        return "" if self.unlabelled else f'"{RUN}":'

    def key_of(self, namespace: str, labels: Mapping[str, str]) -> RunKey | None:
        """Which run pods of this namespace and these labels are of; None where they do not count."""
        if any(labels.get(key) != value for key, value in self.labels):
            return None
        if run := labels.get(RUN):
            return namespace, run, ""
        return (namespace, "", labels.get(MODEL, "")) if self.unlabelled else None


@dataclass(slots=True)
class RunSummary:
    """One run. `start` and `end` are of the hours (or parts, where budgets split them) in which it had pods.

    Of an hour that is not over, `end` is the latest report. `pods` is how many there were; None where the facts of its
    first hours are not stored any more.
    """

    namespace: str
    run: str
    models: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    stages: set[str] = field(default_factory=set)
    pods: int | None = None
    start: int = 0
    end: int = 0
    amounts: Amounts = field(default_factory=Amounts)
    embodied_low_ug: int = 0
    embodied_high_ug: int = 0
    facility_uj: int = 0

    @property
    def key(self) -> RunKey:
        """The run's place in the order. Pods without a run are apart by model, of which they have one at most."""
        return self.namespace, self.run, "" if self.run else next(iter(self.models), "")

    def add(self, row: ValuedRow) -> None:
        """Add a row of its pods."""
        self.amounts.add(row.figures, _ALL)
        self.embodied_low_ug += row.figures[EMBODIED_LOW_UG]
        self.embodied_high_ug += row.figures[EMBODIED_HIGH_UG]
        self.facility_uj += row.figures[FACILITY_UJ]
        for names, key in ((self.models, MODEL), (self.versions, MODEL_VERSION), (self.stages, STAGE)):
            if value := row.labels.get(key):
                names.add(value)

    def extend(self, start: int, end: int) -> None:
        """Note that the run had pods in [start, end) too."""
        self.start, self.end = min(self.start or start, start), max(self.end, end)

    def state(self, through: int) -> State:
        """Final where every node reported its last hour to the end: its share of idle and overhead is then settled."""
        return "final" if covered_range(self.end - 1, self.end)[1] <= through else "provisional"


@dataclass(frozen=True, slots=True)
class RunSummaries:
    """Runs in order of namespace and name; `total` is of all of them, whichever page this is.

    `stages`: the total by the stage of the pods, in the order of `STAGES`; "" last, for all other pods.
    """

    data_through: int
    covers: Range
    runs: list[RunSummary]
    total: RunSummary
    stages: dict[str, RunSummary]
    more: bool


def run_summaries(reader: ValuedReader, query: RunsQuery) -> RunSummaries:
    """Read, add up by run, and cut to the page."""
    window = covered_range(*query.window)
    with snapshot(reader.engine) as connection:
        through = data_through(node_spans(connection, reader.cluster))
        plans = reader.plans(connection, *window)
        found: dict[RunKey, RunSummary] = {}
        by_stage = {stage: RunSummary("", "") for stage in (*STAGES, "")}
        for row in reader.rows_in(connection, plans, *window, namespaces=query.namespaces):
            if not row.special and (key := query.key_of(row.namespace, row.labels)) is not None:
                found.setdefault(key, RunSummary(*key[:2])).add(row)
                stage = row.labels.get(STAGE, "")
                by_stage[stage if stage in by_stage else ""].add(row)
        for namespace, labels, start, end in reader.extents(
            connection, plans, *window, query.namespaces, query.containing
        ):
            if (key := query.key_of(namespace, labels)) in found:
                found[key].extend(start, end)
        pods = _pods(reader, connection, query, window)
        known_from = sealed_until(connection, reader.cluster, *window)  # pods of earlier hours are forgotten
    total = RunSummary("", "", pods=len(set().union(*pods.values())))
    for key, run in found.items():
        run.pods = len(pods[key]) if key in pods and run.start >= known_from else None
        _add(total, run)
    keys = [key for key in sorted(found) if query.after is None or key > query.after]
    page = [found[key] for key in keys[: query.limit]]
    stages = {stage: summary for stage, summary in by_stage.items() if summary != RunSummary("", "")}
    return RunSummaries(through, window, page, total, stages, len(keys) > len(page))


def run_hours(reader: ValuedReader, query: RunsQuery) -> tuple[RunSummaries, list[RunSummary]]:
    """The one run that the query's labels name, and its hours in order of time, each as a summary."""
    summaries = run_summaries(reader, query)
    hours: dict[int, RunSummary] = {}
    if summaries.runs:
        run = summaries.runs[0]
        with snapshot(reader.engine) as connection:
            plans = reader.plans(connection, *summaries.covers)
            for row in _hour_rows(reader, connection, plans, query, covered_range(run.start, run.end)):
                hour = hours.setdefault(row.start - row.start % 3600, RunSummary(run.namespace, run.run))
                hour.add(row)
                hour.extend(row.start, row.end)
    return summaries, [hours[start] for start in sorted(hours)]


def runs_version(reader: ValuedReader, query: RunsQuery, shown_as: str) -> str:
    """A digest that changes whenever the answer may: with facts, settings, question, and whom it is about."""
    window = covered_range(*query.window)
    with snapshot(reader.engine) as connection:
        revisions = sorted(hours_with_facts(connection, *window).items())
        through = data_through(node_spans(connection, reader.cluster))
        sealed = sealed_until(connection, reader.cluster, *window)
    who = None if query.namespaces is None else sorted(query.namespaces)
    parts = [window, who, query.labels, query.unlabelled, query.after, query.limit, shown_as, min(through, window[1])]
    parts.append(sealed)
    return blake2b(repr([*parts, revisions, reader.derived.description]).encode(), digest_size=16).hexdigest()


def _hour_rows(
    reader: ValuedReader, connection: sa.Connection, plans: ReadingPlans, query: RunsQuery, span: Range
) -> Iterator[ValuedRow]:
    for row in reader.hour_rows(connection, plans, *span, query.namespaces, query.containing):
        if query.key_of(row.namespace, row.labels) is not None:
            yield row


def _pods(reader: ValuedReader, connection: sa.Connection, query: RunsQuery, window: Range) -> dict[RunKey, set[str]]:
    """The uids of each run's pods: a pod whose labels changed is one pod of each run that it was of."""
    found: dict[RunKey, set[str]] = {}
    for uid, namespace, labels in labelled_pods(
        connection, reader.cluster, *window, query.namespaces, query.containing
    ):
        if (key := query.key_of(namespace, labels)) is not None:
            found.setdefault(key, set()).add(uid)
    return found


def _add(total: RunSummary, run: RunSummary) -> None:
    total.amounts.merge(run.amounts)
    total.embodied_low_ug += run.embodied_low_ug
    total.embodied_high_ug += run.embodied_high_ug
    total.facility_uj += run.facility_uj
    total.extend(run.start, run.end)
