"""Answers questions from the ledger as JSON, in the operator's threads and in people's worker processes alike.

The server has authorized the caller before. Nothing here writes to the ledger.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from carbonbudget_operator.answers import report_closing
from carbonbudget_operator.answers.allocation_groups import (
    GroupingError,
    allocation_json,
    group_rows,
    needs_nodes,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.answers.budget_use import BudgetUseQueries, TooManyWorkloads
from carbonbudget_operator.answers.energy_so_far import EnergySoFar
from carbonbudget_operator.answers.hourly_use import hourly_use
from carbonbudget_operator.answers.intensity_change import intensity_change
from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.answers.pod_spans import PodSpansReader
from carbonbudget_operator.answers.progress_prediction import ProgressPredictions
from carbonbudget_operator.answers.projection_table import ProjectionTable
from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.answers.time_ranges import covered_range, parse_time_range
from carbonbudget_operator.answers.workload_prediction import RunRest, WorkloadPredictions
from carbonbudget_operator.api.budget_query_bodies import (
    BudgetAnswers,
    BudgetQueries,
    HourlyAnswers,
    RunAnswers,
    RunQueries,
)
from carbonbudget_operator.api.report_bodies import ClosePeriod
from carbonbudget_operator.api.target_query_bodies import TargetQueries
from carbonbudget_operator.external.file_formats import read_external_file
from carbonbudget_operator.external.import_errors import ExternalFileError
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.external_figure import pack_file
from carbonbudget_operator.ledger.external_figure_store import listed
from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.server.public.budget_series import series_answer
from carbonbudget_operator.server.public.cluster_answers import nodes_answer, reports_answer
from carbonbudget_operator.server.public.emission_answer import emission_answer, emission_version
from carbonbudget_operator.server.public.external_answer import external_answer
from carbonbudget_operator.server.public.grid_answers import factors_answer, intensity_answer
from carbonbudget_operator.server.public.opencost_answer import opencost_answer, opencost_version
from carbonbudget_operator.server.public.public_parameters import TOO_MANY_ROWS
from carbonbudget_operator.server.public.row_formats import TooManyRows
from carbonbudget_operator.server.public.run_answers import run_answer, runs_answer, runs_answer_version
from carbonbudget_operator.server.public.status_answer import status_answer
from carbonbudget_operator.server.question import Question
from carbonbudget_operator.server.routes.budgets import check_hours, check_questions, check_spans
from carbonbudget_operator.server.routes.namespace_queries import check_order
from carbonbudget_operator.server.routes.query_handling import parse
from carbonbudget_operator.server.routes.reports import encoded, refused
from carbonbudget_operator.server.routes.targets import check_targets
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.spans.span_bodies import ProgressAnswer
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_Body = TypeVar("_Body", bound=BaseModel)


class LedgerAnswers:
    """Answers questions from one ledger. Threads share it."""

    def __init__(self, queries: BudgetUseQueries, settings: Settings) -> None:
        self.queries, self.settings = queries, settings
        self.projections = ProjectionTable(queries.book)
        units = SelectedUnits(
            settings.cluster, settings.server.spans.result_days, has_prometheus=bool(settings.units.url)
        )
        labels = settings.units.namespace_label, settings.units.pod_label
        self.targets = TargetFigures(queries, units, functools.partial(digest_of, reserved=labels))
        self.pods, so_far = PodSpansReader(queries.book), EnergySoFar(queries.book)
        predictions = PodPredictions(queries.book, so_far)
        self.workloads = WorkloadPredictions(queries.book, predictions)
        self.predictions = ProgressPredictions(queries.book, predictions, self.workloads, so_far)

    def answer(self, question: Question) -> bytes:
        """The answer as JSON, within the question's allowance; with `known`, after its version. Raises Refusal."""
        if question.known is None:
            return self._text(question)
        # The version is read before the answer: an answer may be newer than its version, and is then sent again.
        version = _VERSIONS[question.kind](self.queries.book, question.given)
        return version if version.decode() in question.known else version + b"\n" + self._text(question)

    def _text(self, question: Question) -> bytes:
        try:
            text = _KINDS[question.kind](self, question)
        except TooManyRows:
            raise Refusal(422, "unanswerable", TOO_MANY_ROWS) from None
        most = question.allowance.answer_bytes
        if len(text) > most:
            reason = f"the answer has {len(text)} bytes, at most {most} are sent at once: ask in parts"
            raise Refusal(422, "unanswerable", reason)
        return text


def _asked(kind: type[_Body], question: Question) -> _Body:
    """The question's body, which the server has parsed for the operator alone. Raises Refusal."""
    asked = question.parsed
    return asked if isinstance(asked, kind) else parse(kind, question.body)


def _budgets(answers: LedgerAnswers, question: Question) -> bytes:
    asked = _asked(BudgetQueries, question)
    check_questions(asked.queries, question.allowance)
    check_spans(asked.queries, question.allowance)
    # Both are read before the answers, which may be of later figures and never of earlier ones.
    through = answers.queries.data_through()
    figures = answers.queries.figures_through(through)
    try:
        found = answers.queries.budgets(asked.queries, question.allowance.workloads)
    except TooManyWorkloads as error:
        raise Refusal(422, "unanswerable", str(error)) from None
    answers.workloads.add(asked.queries, found, question.now)
    pods: Mapping[str, int] = question.given.get("pods_without_agent", {})
    if pods:
        in_all = sum(pods.values())
        for asked_for, its in zip(asked.queries, found, strict=True):
            names = set(asked_for.namespaces)
            its.pods_without_agent = in_all if EVERY_NAMESPACE in names else sum(pods.get(name, 0) for name in names)
    return BudgetAnswers(data_through=through, figures_through=figures, answers=found).model_dump_json().encode()


def _targets(answers: LedgerAnswers, question: Question) -> bytes:
    asked = _asked(TargetQueries, question)
    check_targets(asked.queries, question.allowance)
    return answers.targets.answers(asked.queries).model_dump_json().encode()


def _hours(answers: LedgerAnswers, question: Question) -> bytes:
    asked = _asked(BudgetQueries, question)
    check_questions(asked.queries, question.allowance)
    check_hours(asked.queries, question.allowance)
    book = answers.queries.book
    found, (first, permille) = hourly_use(book, asked.queries), intensity_change(book, question.now)
    return HourlyAnswers(answers=found, change_from=first, change_permille=permille).model_dump_json().encode()


def _runs(answers: LedgerAnswers, question: Question) -> bytes:
    asked = _asked(RunQueries, question)
    question.allowance.check("questions", len(asked.queries))
    for run in asked.queries:
        check_order(run.id, run.start, run.end)
    through, found = RunQueriesAnswerer(answers.queries.book).answers(asked.queries)
    return RunAnswers(data_through=through, answers=found).model_dump_json().encode()


def _projection(answers: LedgerAnswers, question: Question) -> bytes:
    return answers.projections.table(question.now).model_dump_json().encode()


def _allocation(answers: LedgerAnswers, question: Question) -> bytes:
    given = question.given
    try:
        fields, filters = parse_group_by(given["group_by"]), parse_filter(given["filter"])
    except GroupingError as error:
        raise Refusal(400, "malformed", str(error)) from None
    span = covered_range(given["start"], given["end"])
    found = allocation_json(
        group_rows(answers.queries.book.rows(*span, needs_nodes(fields, filters)), fields, filters), span
    )
    return json.dumps(found | {"cluster": answers.settings.cluster, "settings": answers.settings.source}).encode()


def _report(answers: LedgerAnswers, question: Question) -> bytes:
    period, start, end = (question.given[name] for name in ("period", "start", "end"))
    span = refused(lambda: parse_time_range(period)) if period else (start, end)
    if span[0] >= span[1]:
        raise Refusal(400, "malformed", "give period, or from and to, and from before to")
    engine = answers.queries.book.engine
    made = refused(
        lambda: report_closing.period_report(
            engine, answers.settings, span, question.now, period, compare=bool(question.given.get("compare"))
        )
    )
    return json.dumps(made).encode()


def _closures(answers: LedgerAnswers, _: Question) -> bytes:
    return json.dumps(report_closing.closures(answers.queries.book.engine, answers.settings.cluster)).encode()


def _closed(answers: LedgerAnswers, question: Question) -> bytes:
    period, cluster = question.given["period"], answers.settings.cluster
    return encoded(refused(lambda: report_closing.find_closure(answers.queries.book.engine, cluster, period)))


def _prepare(answers: LedgerAnswers, question: Question) -> bytes:
    """The closure of a period, which the server then stores."""
    asked, engine = parse(ClosePeriod, question.body), answers.queries.book.engine
    return encoded(
        refused(lambda: report_closing.prepare(engine, answers.settings, asked.period, question.now, asked.incomplete))
    )


def _emissions(answers: LedgerAnswers, question: Question) -> bytes:
    return emission_answer(answers.queries.book, question.given)


def _public_runs(answers: LedgerAnswers, question: Question) -> bytes:
    return runs_answer(answers.queries.book, question.given)


def _public_run(answers: LedgerAnswers, question: Question) -> bytes:
    def rest_of_run(namespace: str, run: str) -> RunRest | None:
        return answers.workloads.rest_of_run(namespace, run, question.now)

    return run_answer(answers.queries.book, question.given, rest_of_run)


def _opencost(answers: LedgerAnswers, question: Question) -> bytes:
    return opencost_answer(answers.queries.book, question.given)


def _intensity(answers: LedgerAnswers, question: Question) -> bytes:
    return intensity_answer(answers.queries.book, question.given, question.now)


def _factors(answers: LedgerAnswers, question: Question) -> bytes:
    return factors_answer(answers.queries.book, question.given, question.now, answers.settings.source)


def _nodes(answers: LedgerAnswers, question: Question) -> bytes:
    return nodes_answer(answers.queries.book, question.given)


def _reports(answers: LedgerAnswers, question: Question) -> bytes:
    return reports_answer(answers.queries.book, question.given)


def _budget_series(answers: LedgerAnswers, question: Question) -> bytes:
    return series_answer(answers.queries, question.given, question.now)


def _external_sums(answers: LedgerAnswers, question: Question) -> bytes:
    with answers.queries.book.engine.connect() as connection:
        return external_answer(connection, answers.settings.cluster, question.given)


def _status(answers: LedgerAnswers, question: Question) -> bytes:
    return status_answer(answers.queries, answers.settings, question.given, question.now)


def _external_files(answers: LedgerAnswers, _: Question) -> bytes:
    with answers.queries.book.engine.connect() as connection:
        return json.dumps(listed(connection, answers.settings.cluster)).encode()


def _external_parse(_: LedgerAnswers, question: Question) -> bytes:
    """What a file of external figures holds; the server stores it."""
    try:
        return pack_file(read_external_file(question.body, ImportRequest(**question.given), question.now))
    except ExternalFileError as error:
        raise Refusal(400, "malformed", str(error)) from None


def _pod_spans(answers: LedgerAnswers, question: Question) -> bytes:
    given = question.given
    found = answers.pods.answer(given["uid"], question.now, given["from_ms"], given["to_ms"], frozenset(given["ids"]))
    return json.dumps(given["none"]).encode() if found is None else found.model_dump_json().encode()


def _pod_prediction(answers: LedgerAnswers, question: Question) -> bytes:
    given = question.given
    found = answers.predictions.predict(given["namespace"], given["uid"], ProgressPoint(*given["point"]), question.now)
    return ProgressAnswer(prediction=found).model_dump_json().encode()


_KINDS: Final[Mapping[str, Callable[[LedgerAnswers, Question], bytes]]] = {
    "budgets": _budgets,
    "hours": _hours,
    "targets": _targets,
    "runs": _runs,
    "projection": _projection,
    "allocation": _allocation,
    "report": _report,
    "closures": _closures,
    "closed": _closed,
    "prepare": _prepare,
    "emissions": _emissions,
    "public_runs": _public_runs,
    "public_run": _public_run,
    "opencost": _opencost,
    "intensity": _intensity,
    "factors": _factors,
    "nodes": _nodes,
    "reports": _reports,
    "budget_series": _budget_series,
    "external_sums": _external_sums,
    "status": _status,
    "external_files": _external_files,
    "external_parse": _external_parse,
    "pod_spans": _pod_spans,
    "pod_prediction": _pod_prediction,
}
# What changes whenever the answer may, for a fraction of its cost.
_VERSIONS: Final[Mapping[str, Callable[[ValuedReader, Mapping[str, Any]], bytes]]] = {
    "emissions": emission_version,
    "public_runs": runs_answer_version,
    "opencost": opencost_version,
}
