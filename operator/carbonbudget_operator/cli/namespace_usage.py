"""`carbonbudget usage`: what pods with some labels used, without a budget."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_on_unknown_answer,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import OutputFormat, check_namespace, fail, instant
from carbonbudget_operator.cli.covered_span import future_sentence
from carbonbudget_operator.cli.service_account import ServiceAccount
from carbonbudget_operator.cli.table_cells import printable_cell


@with_source_options
def usage(
    where: SourceOptions,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Whose pods.")],
    selector: Annotated[str, typer.Option("--selector", "-l", help="Pods with these labels: KEY=VALUE,...")] = "",
    window: Annotated[str, typer.Option(help="today, yesterday, week, lastweek, month, lastmonth, 7d.")] = "",
    start: Annotated[str, typer.Option("--from", help="Start, instead of --window: 2026-11-23.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.  [default: now]")] = "",
    service_account: ServiceAccount = "",
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """Show what a namespace used, by run and model.

    It needs no budget, and is of the last 7 days where no time is given. The rows add up to all that the namespace's
    pods with these labels are charged with.
    """
    from carbonbudget_operator.answers.window_parser import WindowError, parse_window
    from carbonbudget_operator.cli.run_rows import RUN_HEADINGS, largest_first, print_rows
    from carbonbudget_operator.run_labels import parse_labels

    now = int(time.time())
    if (window and (start or end)) or (end and not start):
        fail("give --window, or --from, or --from and --to", code=2)
    try:
        labels = parse_labels(selector)
        span = (instant(start, "--from"), instant(end, "--to") if end else now) if start else None
        span = span or parse_window(window or "7d", now)
    except WindowError as error:
        fail(f"--window: {error}", code=2)
    except ValueError as error:
        fail(f"--selector: {error}", code=2)
    check_namespace("--namespace", namespace)
    if sentence := future_sentence(span[0], now):
        fail(sentence)
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    with exit_without_answer():
        answer = where.source(account=service_account).runs(span, namespace, labels)
    if settings := answer.get("settings"):  # the public API does not name them
        where.announce(settings, output)
    with exit_on_unknown_answer():
        rows = largest_first(answer["rows"])
        if not rows:
            wanted = f" with {printable_cell(selector)}" if selector else ""
            print(f"note: no pod of namespace {namespace}{wanted} is in that time", file=sys.stderr)
        print_rows(answer, rows, RUN_HEADINGS[1:], output, _total(answer))


def _total(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**answer["total"], "run": "total"}
