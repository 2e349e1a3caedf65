"""The table of figures that others measured: files are imported whole, listed, and removed whole.

Our own tables and sums never read it. A file is stored in one transaction, or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, ids_of
from carbonbudget_operator.ledger.external_figure import ExternalFigure, ExternalFile
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

_ROWS: Final = 5_000
_FOR_EVER: Final = 2**62
_LEAST_PREFIX: Final = 8
_FILE: Final = ("source", "sha256", "name", "imported_at", "imported_by", "figures")


class ExternalConflict(Exception):
    """The file, or a part of it, was imported before; one sentence says which and what to do."""


class NoExternalFile(Exception):
    """There is no such file, or several; one sentence says so."""


def store_file(engine: sa.Engine, cluster: str, file: ExternalFile, now: int, by: str) -> None:
    """Import a file in one transaction. `now` is the UTC second, `by` who imports it.

    Raises:
        ExternalConflict: the same file is imported, or a figure overlaps an imported one of its series.
    """
    table = schema.external_file
    with write_transaction(engine, AdvisoryLock.EXTERNAL_FILES) as connection:
        former = connection.execute(
            sa.select(table.c.imported_at, table.c.imported_by).where(
                table.c.cluster == cluster, table.c.source == file.source, table.c.sha256 == file.sha256
            )
        ).first()
        if former is not None:
            raise ExternalConflict(
                f"this file was imported before, as {file.source}/{file.sha256}: nothing is imported"
            )
        inserted = connection.execute(
            sa.insert(table).values(
                cluster=cluster, source=file.source, sha256=file.sha256, name=file.name, imported_at=now,
                imported_by=by, figures=len(file.figures), rounded=file.rounded, superseded=file.superseded,
                start=file.start, end=file.end,
            )
        ).inserted_primary_key  # fmt: skip
        assert inserted is not None
        file_id = int(inserted[0])
        for at in range(0, len(file.figures), _ROWS):
            rows = [_row(cluster, file_id, figure) for figure in file.figures[at : at + _ROWS]]
            connection.execute(sa.insert(schema.external_figure), rows)
        _refuse_overlap(connection, file_id)


def _row(cluster: str, file_id: int, figure: ExternalFigure) -> dict[str, object]:
    series = hashlib.sha256(json.dumps([cluster, *figure.series]).encode()).digest()[:16]
    return {
        "file_id": file_id, "line": figure.line, "scope": figure.scope, "series": series, "account": figure.account,
        "item": figure.item, "start": figure.start, "end": figure.end, "emissions_ug": figure.emissions_ug,
        "energy_uj": figure.energy_uj, "method": figure.method, "stated": figure.stated,
    }  # fmt: skip


def _refuse_overlap(connection: sa.Connection, file_id: int) -> None:
    """Raise ExternalConflict if a figure of the new file overlaps one of another file."""
    new, old, file = schema.external_figure.alias("new"), schema.external_figure.alias("old"), schema.external_file
    found = connection.execute(
        sa.select(new.c.line, old.c.line.label("former"), file.c.source, file.c.sha256, file.c.name)
        .join(old, sa.and_(old.c.series == new.c.series, old.c.start < new.c.end, old.c.end > new.c.start))
        .join(file, file.c.id == old.c.file_id)
        .where(new.c.file_id == file_id, old.c.file_id != file_id)
        .order_by(new.c.line)
        .limit(1)
    ).first()
    if found is not None:
        raise ExternalConflict(
            f"line {found.line} states emissions of the same account, item and time as line {found.former} of "
            f"{found.name or 'a file'}, which was imported before: nothing is imported. `carbonbudget external remove "
            f"{found.source}/{found.sha256}` removes the figures of that file"
        )


def list_files(connection: sa.Connection, cluster: str) -> list[dict[str, object]]:
    """All imported files, the oldest import first."""
    c = schema.external_file.c
    columns = [c[name] for name in (*_FILE, "rounded", "superseded", "start", "end")]
    rows = connection.execute(sa.select(*columns).where(c.cluster == cluster).order_by(c.imported_at, c.id))
    return [dict(row) for row in rows.mappings()]


def list_removals(connection: sa.Connection, cluster: str) -> list[dict[str, object]]:
    """All files whose figures were removed, the oldest removal first."""
    c = schema.external_removal.c
    columns = [c[name] for name in (*_FILE, "removed_at", "removed_by", "reason")]
    rows = connection.execute(sa.select(*columns).where(c.cluster == cluster).order_by(c.id))
    return [dict(row) for row in rows.mappings()]


def listed(connection: sa.Connection, cluster: str) -> dict[str, object]:
    """`items`: all imported files; `removed`: all whose figures were removed."""
    return {"items": list_files(connection, cluster), "removed": list_removals(connection, cluster)}


def remove_file(
    engine: sa.Engine, cluster: str, source: str, sha256: str, now: int, by: str, reason: str
) -> dict[str, object]:
    """Remove a file's figures and keep the record of it; what was removed. `sha256` may be its first 8 digits or more.

    Raises:
        NoExternalFile: no imported file has that hash, or several begin with it.
    """
    file, figure = schema.external_file, schema.external_figure
    if len(sha256) < _LEAST_PREFIX or not set(sha256) <= set("0123456789abcdef"):
        raise NoExternalFile(f"name a file by its SHA-256, or at least its first {_LEAST_PREFIX} digits")
    with write_transaction(engine, AdvisoryLock.EXTERNAL_FILES) as connection:
        found = connection.execute(
            sa.select(file)
            .where(file.c.cluster == cluster, file.c.source == source, file.c.sha256.startswith(sha256))
            .limit(2)
        ).all()
        if len(found) != 1:
            what = "several files have" if found else "no imported file has"
            raise NoExternalFile(f"{what} the name {source}/{sha256}: `carbonbudget external list` shows all")
        gone = found[0]._mapping
        connection.execute(sa.delete(figure).where(figure.c.file_id == gone["id"]))
        connection.execute(sa.delete(file).where(file.c.id == gone["id"]))
        kept = {name: gone[name] for name in _FILE} | {"removed_at": now, "removed_by": by, "reason": reason}
        connection.execute(sa.insert(schema.external_removal).values(cluster=cluster, **kept))
    return kept


def figures_touching(
    connection: sa.Connection, cluster: str, start: int, end: int
) -> Iterator[tuple[str, str, ExternalFigure]]:
    """SHA-256 and name of the file, and the figure: all that lie in [start, end), or reach into it."""
    file, figure = schema.external_file, schema.external_figure
    columns = [figure.c[name] for name in ExternalFigure.__dataclass_fields__ if name != "source"]
    rows = connection.execute(
        sa.select(file.c.sha256, file.c.name, file.c.source, *columns)
        .join(figure, figure.c.file_id == file.c.id)
        .where(file.c.cluster == cluster, file.c.start < end, file.c.end > start)
        .where(figure.c.start < end, figure.c.end > start)
        .order_by(file.c.id, figure.c.line, figure.c.scope)
        .execution_options(yield_per=_ROWS)
    )
    for sha256, name, *values in rows:
        yield str(sha256), str(name), ExternalFigure(*values)


def drop_external_before(engine: sa.Engine, instant: int, dropper: BatchDeleter) -> None:
    """Forget the files all of whose figures end before an instant. Raises DeletionUnfinished."""
    file = schema.external_file
    with engine.connect() as connection:
        old = ids_of(connection, sa.select(file.c.id).where(file.c.end <= instant))
    for file_id in old:
        dropper.before(schema.external_figure, _FOR_EVER, prefix={"file_id": file_id})
        dropper.delete([sa.delete(file).where(file.c.id == file_id)])
