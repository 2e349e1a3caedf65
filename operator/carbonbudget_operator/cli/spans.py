"""`carbonbudget spans import`: spans that a training wrote to a file while it could not reach the server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from carbonbudget_operator.cli.answer_source import AnswerSourceError
from carbonbudget_operator.cli.answer_source_options import SourceOptions, exit_on_unknown_answer, with_source_options
from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.cli.span_file import FileSpan, SpanFile, read_span_file
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.printable import numbered

app = typer.Typer(
    help="Import spans that were written to a file.",
    no_args_is_help=True,
    add_completion=False,
)
_MOST_BYTES: Final = 256 * 2**20
_BATCH: Final = 1_000  # spans of a request, and their bytes: below what the server takes
_BATCH_BYTES: Final = 200_000
_SHOWN: Final = 20
_PROGRESS_SECONDS: Final = 2.0


@app.callback()
def _group() -> None:
    """So that `import` stays a word of its own while there is no other."""


@app.command("import")
@with_source_options
def import_spans(
    where: SourceOptions,
    file: Annotated[Path, typer.Argument(help="JSON lines; CSV if the name ends in .csv.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace of the pods.")],
    pod_uid: Annotated[str, typer.Option(help="The pod's uid, for lines that name none.")] = "",
    skip_unreadable: Annotated[bool, typer.Option(help="Import the other lines if some cannot be read.")] = False,
) -> None:
    """Import a file of spans. Nothing is sent before all lines are read."""
    found = _read(file)
    if found.unreadable and not skip_unreadable:
        _show(found.unreadable)
        lines = numbered(len(found.unreadable), "line", "lines")
        fail(f"{file}: {lines} cannot be read, nothing is imported (--skip-unreadable)", code=2)
    _check(file, found.spans, namespace, pod_uid)
    if found.units:
        counts = numbered(found.units, "count of units is", "counts of units are")
        print(f"{counts} not imported: only spans are", file=sys.stderr)
    server = where.server()
    sent = accepted = 0
    refused: list[str] = []
    shown_at = time.monotonic()
    for batch in _batches(found.spans, pod_uid):
        first = batch[0]
        try:
            answer = server.import_spans(
                namespace, first.pod_uid or pod_uid, first.run or None, [span.fields for span in batch]
            )
        except AnswerSourceError as error:
            _show(refused)
            of = numbered(len(found.spans), "span is", "spans are")
            before = f"{sent} of {of} sent. " if sent else "nothing is imported. "
            again = "Run the command again: what is stored is not stored twice" if sent else "Then run it again"
            fail(f"lines {first.line} to {batch[-1].line}: {error}. {before}{again}", error.code)
        with exit_on_unknown_answer():
            sent += len(batch)
            accepted += int(answer["accepted"])
            refused += _refusals(batch, answer["refused"])
        if time.monotonic() - shown_at >= _PROGRESS_SECONDS and sent < len(found.spans):
            shown_at = time.monotonic()
            print(f"{sent} of {numbered(len(found.spans), 'span is', 'spans are')} sent", file=sys.stderr)
    _show(refused)
    print(f"{numbered(accepted, 'span is', 'spans are')} imported; what was stored before is not stored twice")
    if refused:
        of = numbered(len(found.spans), "span is", "spans are")
        fail(f"{len(refused)} of {of} refused; the others are imported")


def _read(file: Path) -> SpanFile:
    try:
        if file.stat().st_size > _MOST_BYTES:
            fail(f"{file} is larger than {_MOST_BYTES // 2**20} MiB: import it in parts", code=2)
        with file.open(encoding="utf-8", errors="strict", newline="") as opened:
            return read_span_file(opened, file.suffix.lower() == ".csv")
    except UnicodeDecodeError:
        fail(f"{file} is no text in UTF-8", code=2)
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}", code=2)


def _check(file: Path, spans: Sequence[FileSpan], namespace: str, pod_uid: str) -> None:
    """End the process if a line is of another namespace, or of no pod."""
    if not spans:
        fail(f"{file} has no spans", code=2)
    for span in spans:
        if span.namespace and span.namespace != namespace:
            other = printable_cell(span.namespace)
            fail(f"line {span.line} is of namespace {other}: import it with -n {other}; nothing is imported", code=2)
        if not span.pod_uid and not pod_uid:
            fail(f"line {span.line} names no pod_uid: name it by --pod-uid; nothing is imported", code=2)


def _batches(spans: Sequence[FileSpan], pod_uid: str) -> Iterator[list[FileSpan]]:
    """Consecutive spans of one pod and run, as many as one request takes."""
    batch: list[FileSpan] = []
    size = 0
    for span in spans:
        length = len(json.dumps(span.fields)) + 2
        is_other = batch and (batch[0].pod_uid or pod_uid, batch[0].run) != (span.pod_uid or pod_uid, span.run)
        if batch and (is_other or len(batch) == _BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(span)
        size += length
    if batch:
        yield batch


def _refusals(batch: Sequence[FileSpan], refused: Sequence[dict[str, str]]) -> list[str]:
    """What the server refuses, by the file's lines. Without an id its sentence names the line of the request."""
    lines = {str(span.fields["id"]): span.line for span in batch}
    said = []
    for one in refused:
        known = lines.get(one["id"])
        where = f"line {known}: " if known else f"from line {batch[0].line} on: "
        said.append(where + one["reason"])
    return said


def _show(sentences: Sequence[str]) -> None:
    for sentence in sentences[:_SHOWN]:
        print(printable_cell(sentence), file=sys.stderr)
    if len(sentences) > _SHOWN:
        print(f"and {len(sentences) - _SHOWN} more", file=sys.stderr)
