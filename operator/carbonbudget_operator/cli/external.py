"""`carbonbudget external import, list, remove`: figures that others measured, kept beside ours."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_on_unknown_answer,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import OutputFormat, fail
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.printable import numbered

app = typer.Typer(
    help="Import figures that others measured, beside ours.",
    no_args_is_help=True,
    add_completion=False,
)
_MAX_REASON: Final = 500
_COLUMNS: Final = (
    "source", "sha256", "name", "figures", "start", "end", "imported_at", "imported_by", "removed_at", "removed_by",
    "reason",
)  # fmt: skip


class ExternalFormat(StrEnum):
    """Whose file it is."""

    CODECARBON = "codecarbon"
    CARBONTRACKER = "carbontracker"
    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"


@app.command("import")
@with_source_options
def import_file(
    where: SourceOptions,
    file: Annotated[Path, typer.Argument(help="The file, as the source wrote it.")],
    form: Annotated[ExternalFormat, typer.Option("--format", help="Whose file it is.")],
    time_zone: Annotated[
        str, typer.Option(help="Zone of times without one (codecarbon, carbontracker): Europe/Berlin. Default UTC.")
    ] = "",
    timezone: Annotated[str, typer.Option(hidden=True, help="As --time-zone, which it was called first.")] = "",
    month: Annotated[str, typer.Option(help="Month of azure rows without a date: 2026-01.")] = "",
    account: Annotated[str, typer.Option(help="What azure rows without a subscription are about.")] = "",
    scope: Annotated[str, typer.Option(help="Scope that an azure report was asked for: 1, 2-market, 3.")] = "",
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table or json.")] = OutputFormat.TABLE,
) -> None:
    """Import a file, all of it or nothing. Reports show its figures beside ours."""
    from carbonbudget_operator.external.file_rows import MAX_BYTES
    from carbonbudget_operator.external.import_request import ImportRequest

    if output is OutputFormat.CSV:
        fail("--output must be table or json", code=2)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}", code=2)
    if len(content) > MAX_BYTES:
        fail(f"{file} is larger than {MAX_BYTES} bytes: import it in parts", code=2)
    if time_zone and timezone:
        fail("--timezone is --time-zone by its earlier name: give one of them", code=2)
    request = ImportRequest(form.value, file.name, time_zone or timezone, month, account, scope)
    with exit_without_answer():
        found = where.source().import_external(content, request)
    if output is OutputFormat.JSON:
        print(json.dumps(found, indent=2))
        return
    with exit_on_unknown_answer():
        _print_imported(found)


@app.command("list")
@with_source_options
def list_files(
    where: SourceOptions,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """List the imported files, and those that were removed again."""
    with exit_without_answer():
        found = where.source().external_files()
    if output is OutputFormat.JSON:
        print(json.dumps(found, indent=2))
        return
    with exit_on_unknown_answer():
        _print_list([*found["items"], *found["removed"]], output)


@app.command("remove")
@with_source_options
def remove_file(
    where: SourceOptions,
    name: Annotated[str, typer.Argument(help="SOURCE/SHA256 as `external list` prints it; 8 digits are enough.")],
    reason: Annotated[str, typer.Option(help="Why: it stays on record.")],
) -> None:
    """Remove the figures of an imported file. What was removed, by whom and why stays on record."""
    source, found_hash, sha256 = name.partition("/")
    if not source or not found_hash or not sha256 or len(source) > 32 or not 8 <= len(sha256) <= 64:
        fail(f"write SOURCE/SHA256 with at least 8 digits, as `carbonbudget external list` does, not {name!r}", code=2)
    if not reason.strip() or len(reason) > _MAX_REASON:
        fail(f"--reason must say why, in at most {_MAX_REASON} characters", code=2)
    with exit_without_answer():
        gone = where.source().remove_external(source, sha256, reason)
    with exit_on_unknown_answer():
        print(
            printable_cell(
                f"{gone['source']}/{gone['sha256']}: {gone['figures']} figures are removed; the removal stays on record"
            )
        )


def _print_imported(found: dict[str, Any]) -> None:
    span = f"{date_of(found['start'])} to {date_of(found['end'])}"
    figures = numbered(found["figures"], "figure", "figures")
    print(printable_cell(f"{found['source']}/{found['sha256']}: {figures}, {span}"))
    if found["superseded"]:
        one, many = "row is an earlier state or an older model", "rows are earlier states or older models"
        print(f"{numbered(found['superseded'], one, many)} of other rows: not imported")
    if found["rounded"]:
        rounded = numbered(found["rounded"], "figure has", "figures have")
        print(f"{rounded} digits below 1 ug or 1 uJ: rounded to the nearest, the text is kept")


def _print_list(files: list[dict[str, Any]], output: OutputFormat) -> None:
    if output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(csv_cells(one.get(column, "") for column in _COLUMNS) for one in files)
        return
    if not files:
        print("no file is imported: `carbonbudget external import` imports one", file=sys.stderr)
    for one in files:
        line = f"{one['source']}/{one['sha256']}  {one['figures']} figures  {one['name']}  imported on "
        line += f"{date_of(one['imported_at'])} by {one['imported_by']}"
        if "removed_at" in one:
            line += f"  removed on {date_of(one['removed_at'])} by {one['removed_by']}, reason: {one['reason']}"
        print(printable_cell(line))
