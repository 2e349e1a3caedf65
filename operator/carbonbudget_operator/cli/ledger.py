"""`carbonbudget ledger`: migrate, check, backup, restore, import."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carbonbudget_operator.cli.common_options import Config, code_of, fail
from carbonbudget_operator.cli.output_files import written_whole
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(no_args_is_help=True, help="Check, copy and migrate the ledger.", add_completion=False)
Url = Annotated[
    str | None, typer.Option("--ledger", envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL of the ledger.")
]


def _settings(config: Path | None, ledger: str | None) -> Settings:
    return load_settings(config, {"server": {"ledger": ledger}})


@app.command()
def migrate(
    to: Annotated[
        str | None,
        typer.Option("--to", help="Take it back to this earlier schema, before an older version is installed again."),
    ] = None,
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Make the ledger's tables, or bring them up to date. With --to: take them back. Stop the servers first."""
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
    from carbonbudget_operator.ledger.schema_migration import downgrade, require_ledger_file
    from carbonbudget_operator.ledger.schema_migration import migrate as run

    settings = _settings(config, ledger)
    try:
        engine = open_ledger(settings.server.ledger)
        if to is not None:
            require_ledger_file(engine)
        schema = run(engine) if to is None else downgrade(engine, to)
    except LedgerError as error:
        fail(str(error), code_of(error))
    print(f"the ledger has schema {schema}")


@app.command()
def check(config: Config = None, ledger: Url = None) -> None:
    """Check that everything stored adds up, to the microjoule. Exit code 1 if not."""
    from rich.console import Console

    from carbonbudget_operator.ledger.consistency import CheckResult, check_ledger
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
    from carbonbudget_operator.ledger.schema_migration import require_schema

    result, settings = CheckResult(), _settings(config, ledger)
    try:
        engine = open_ledger(settings.server.ledger, may_be_standby=True)
        require_schema(engine)
        with ledger_errors(engine), Console(stderr=True).status("checking") as status:
            for result in check_ledger(engine):
                status.update(f"checking: {result.slices} node slices")
    except LedgerError as error:
        fail(str(error), code_of(error))
    for defect in result.defects:
        print(printable_cell(defect))
    print(
        f"{result.nodes} nodes, {result.windows} windows, {result.slices} node slices, {result.pods} pods, "
        f"{result.measured_uj} uJ: "
        + ("conserves to the microjoule" if not result.defects else f"{len(result.defects)} do not add up")
    )
    if result.defects:
        raise typer.Exit(1)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="SQLite file to write; it must not be there yet.")],
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Copy the whole ledger, from either database, into an SQLite file. A server may go on meanwhile."""
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
    from carbonbudget_operator.ledger.ledger_engine import printable_url as url_of
    from carbonbudget_operator.ledger.schema_migration import require_schema

    settings = _settings(config, ledger)
    try:
        source = open_ledger(settings.server.ledger, may_be_standby=True)
        try:
            require_schema(source)
            with written_whole(file) as partial:
                _copy(source, f"sqlite:///{partial}")
        finally:
            source.dispose()
    except LedgerError as error:
        fail(str(error), code_of(error))
    print(printable_cell(f"{file} is a backup of {url_of(source)}"))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Copy a backup into an empty ledger on either database. Stop the servers first."""
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
    from carbonbudget_operator.ledger.schema_migration import require_schema

    settings = _settings(config, ledger)
    if not file.is_file():
        fail(f"there is no backup at {file}", code=2)
    try:
        source = open_ledger(f"sqlite:///{file}")
        try:
            require_schema(source)
            _copy(source, settings.server.ledger)
        finally:
            source.dispose()
    except LedgerError as error:
        fail(str(error), code_of(error))
    print(f"{file} is restored; check it with `carbonbudget ledger check`")


def _copy(source: Engine, url: str) -> None:
    from rich.console import Console

    from carbonbudget_operator.ledger.ledger_copy import copy_ledger
    from carbonbudget_operator.ledger.ledger_engine import open_ledger
    from carbonbudget_operator.ledger.schema_migration import migrate as run

    target = open_ledger(url)
    try:
        run(target)
        with Console(stderr=True).status("copying") as status:
            for table, rows in copy_ledger(source, target):
                status.update(f"copying: {table}, {rows} rows")
    finally:
        target.dispose()


@app.command(name="import")
def import_reports(
    file: Annotated[Path, typer.Argument(help="Node reports, one JSON a line.")],
    any_age: Annotated[bool, typer.Option("--any-age", help="Take old windows too, to look into a record.")] = False,
    config: Config = None,
    ledger: Url = None,
) -> None:
    """Book node reports from a file. They are checked like those from the network; exit code 1 if any was refused."""
    from rich.console import Console

    from carbonbudget_operator.ingest.node_report_body import parse_report, unpack
    from carbonbudget_operator.ingest.refusal import Refusal
    from carbonbudget_operator.ingest.report_checks import check_report_is_possible, require_booked
    from carbonbudget_operator.ledger.booking import Booker, CheckedReport
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
    from carbonbudget_operator.ledger.schema_migration import migrate as run
    from carbonbudget_operator.ledger.selected_labels import StoredLabels

    settings = _settings(config, ledger)
    counts = dict.fromkeys(("stored", "duplicate", "refused"), 0)
    days = 1_000_000 if any_age else settings.server.pod_days
    try:
        engine = open_ledger(settings.server.ledger)
        run(engine)
        booker = Booker(engine, settings.server.max_label_values, settings.server.max_node_watts)
        with (
            ledger_errors(engine),
            engine.connect() as connection,
        ):  # as a server has them: the bound on labels leaves them alone
            StoredLabels(engine.dialect, booker.selected_labels).load(connection, int(time.time()))
        longest = settings.server.max_report_bytes
        with file.open("rb") as lines, ledger_errors(engine), Console(stderr=True).status("importing") as status:
            for number, line in enumerate(iter(lambda: lines.readline(longest + 2), b""), 1):
                if not line.strip():
                    continue
                try:
                    report, digest = parse_report(unpack(line.strip(), "", longest))
                    watts = settings.server.max_node_watts
                    check_report_is_possible(report, settings.cluster, watts, int(time.time()), days)
                    (result,) = booker.book([CheckedReport(report, digest)])
                    require_booked(result, report)
                    counts[result.value] += 1
                except Refusal as refusal:
                    counts["refused"] += 1
                    print(f"{file}:{number}: {refusal.reason}")
                status.update(f"importing: line {number}")
    except OSError as error:
        fail(f"{file}: {error.strerror}", code=2)
    except LedgerError as error:
        fail(str(error), code_of(error))
    print(", ".join(f"{count} {fate}" for fate, count in counts.items()))
    if counts["refused"]:
        raise typer.Exit(1)
