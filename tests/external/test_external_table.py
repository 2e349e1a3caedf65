"""The table of external figures, on both databases: whole files or nothing, never twice, and never in a sum of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.external.given import LOG, NOW, content, read, read_file
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.external_summary import external_summary
from carbonbudget_operator.answers.report_closing import period_report
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.external_figure import ExternalFigure, ExternalFile
from carbonbudget_operator.ledger.external_figure_store import (
    ExternalConflict,
    NoExternalFile,
    figures_touching,
    listed,
    remove_file,
    store_file,
)
from carbonbudget_operator.ledger.ledger_copy import copy_ledger
from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.ledger.schema_migration import downgrade, migrate
from carbonbudget_operator.settings import Settings

OCTOBER, NOVEMBER = (1_759_276_800, 1_761_955_200), (1_761_955_200, 1_764_547_200)


def store(engine: sa.Engine, *files: ExternalFile) -> None:
    for file in files:
        store_file(engine, "default", file, NOW, "somebody")


def kept(engine: sa.Engine) -> list[ExternalFigure]:
    with engine.connect() as connection:
        return [figure for _, _, figure in figures_touching(connection, "default", 0, 2**40)]


def removed(engine: sa.Engine, name: str) -> dict[str, object]:
    return remove_file(engine, "default", *name.split("/"), now=NOW + 9, by="an admin", reason="wrong account")


def test_every_figure_of_a_file_is_kept_as_it_was_read(engine: sa.Engine) -> None:
    files = [
        read_file("codecarbon", "codecarbon-3.csv"), read_file("carbontracker", LOG), read_file("aws", "aws-v3.csv"),
        read_file("gcp", "gcp.jsonl"), read_file("azure", "azure-monthly.json"),
    ]  # fmt: skip
    store(engine, *files)
    assert kept(engine) == [figure for file in files for figure in file.figures]
    with engine.connect() as connection:
        items = listed(connection, "default")["items"]
        assert listed(connection, "another") == {"items": [], "removed": []}
    assert [(item["source"], item["sha256"], item["figures"]) for item in items] == [  # type: ignore[attr-defined]
        (file.source, file.sha256, len(file.figures)) for file in files
    ]


def test_a_file_is_imported_once(engine: sa.Engine) -> None:
    file = read_file("aws", "aws-v3.csv")
    store(engine, file)
    with pytest.raises(ExternalConflict, match=f"this file was imported before, as aws/{file.sha256}"):
        store(engine, replace(file, name="another name"))
    assert len(kept(engine)) == len(file.figures)


def test_a_file_that_overlaps_an_imported_one_is_refused_with_both_lines_and_leaves_nothing(engine: sa.Engine) -> None:
    former = read_file("aws", "aws-v3.csv")
    store(engine, former)
    lines = content("aws-v3.csv").decode().splitlines(keepends=True)
    fresh = lines[1].replace("AmazonEC2", "AmazonEKS")
    with pytest.raises(ExternalConflict, match=r"line 3 states .* as line 2 of aws-v3.csv") as said:
        store(engine, read("aws", "".join((lines[0], fresh, lines[1]))))
    assert f"external remove aws/{former.sha256}" in str(said.value)
    assert kept(engine) == list(former.figures)
    with engine.connect() as connection:
        assert len(listed(connection, "default")["items"]) == 1  # type: ignore[arg-type]
    store(engine, read("aws", lines[0] + fresh))  # what is new in it can be imported


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [
        (0, 100, False),
        (0, 101, True),
        (100, 200, True),
        (150, 160, True),
        (50, 300, True),
        (199, 300, True),
        (200, 300, False),
    ],
)
def test_two_figures_of_one_series_overlap_where_they_share_a_second(
    engine: sa.Engine, start: int, end: int, overlaps: bool
) -> None:
    figure = ExternalFigure("gcp", "1", "a", "i", 100, 200, 5, None, "m", 2, "5 g")
    store(engine, ExternalFile("gcp", "a" * 64, "", (figure,)))
    again = replace(figure, start=start, end=end)
    for digit, series in enumerate((replace(again, account="b"), replace(again, item="j"), replace(again, scope="3"))):
        store(engine, ExternalFile("gcp", str(digit) * 64, "", (series,)))  # another series never overlaps
    other = ExternalFile("gcp", "b" * 64, "", (again,))
    if not overlaps:
        store(engine, other)
        return
    with pytest.raises(ExternalConflict):
        store(engine, other)


def test_a_file_whose_last_figure_cannot_be_stored_leaves_nothing(engine: sa.Engine) -> None:
    file = read_file("aws", "aws-v3.csv")
    broken = replace(file, figures=(*file.figures, file.figures[0]))  # its key is there already
    with pytest.raises(sa.exc.IntegrityError):
        store(engine, broken)
    assert kept(engine) == []
    store(engine, file)


def test_of_several_that_import_the_same_file_at_once_one_does(
    url: str, open_engine: Callable[[str], sa.Engine]
) -> None:
    file, said = read_file("aws", "aws-v3.csv"), list[str]()
    engines = [open_engine(url) for _ in range(4)]
    start = threading.Barrier(4)

    def importing(engine: sa.Engine) -> None:
        start.wait(30)
        try:
            store(engine, file)
            said.append("imported")
        except ExternalConflict:
            said.append("conflict")

    threads = [threading.Thread(target=importing, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == ["conflict"] * 3 + ["imported"]
    assert kept(engines[0]) == list(file.figures)


def test_a_removal_stays_on_record_and_the_file_can_be_imported_again(engine: sa.Engine) -> None:
    file, other = read_file("aws", "aws-v3.csv"), read_file("gcp", "gcp.jsonl")
    store(engine, file, other)
    gone = removed(engine, f"aws/{file.sha256[:8]}")
    assert (gone["sha256"], gone["removed_by"], gone["reason"]) == (file.sha256, "an admin", "wrong account")
    assert kept(engine) == list(other.figures)
    store(engine, file)
    with engine.connect() as connection:
        found = listed(connection, "default")
    assert found["removed"] == [gone]
    assert len(found["items"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["aws/00000000", "gcp/{sha}", "aws/{sha}0", "aws/%%%%%%%%", "aws/________", "aws/ABCDEFAB"]
)
def test_what_is_not_imported_cannot_be_removed(engine: sa.Engine, name: str) -> None:
    file = read_file("aws", "aws-v3.csv")
    store(engine, file)
    with pytest.raises(NoExternalFile):
        removed(engine, name.format(sha=file.sha256))
    assert len(kept(engine)) == len(file.figures)


def test_a_name_that_several_files_have_removes_none(engine: sa.Engine) -> None:
    figure = ExternalFigure("gcp", "1", "a", "i", 100, 200, 5, None, "m", 2, "5 g")
    for last in "ab":
        store(engine, ExternalFile("gcp", "c" * 63 + last, "", (replace(figure, item=last),)))
    with pytest.raises(NoExternalFile, match="several files have the name"):
        removed(engine, "gcp/cccccccc")
    assert len(kept(engine)) == 2


def test_sums_are_by_source_scope_and_method_and_what_only_reaches_in_is_apart(engine: sa.Engine) -> None:
    store(engine, read_file("aws", "aws-v3.csv"), read_file("codecarbon", "codecarbon-3.csv"))
    with engine.connect() as connection:
        october = external_summary(connection, "default", *OCTOBER)
        november = external_summary(connection, "default", *NOVEMBER)
        half = external_summary(connection, "default", OCTOBER[0], OCTOBER[1] - 86_400)
        assert external_summary(connection, "default", NOVEMBER[1], NOVEMBER[1] + 5) == []
    assert {row["scope"]: row["emissions_g"] for row in october} == {
        "1": "2000", "2-location": "300000.000001", "2-market": "20000", "3-location": "98000", "3-market": "98000",
    }  # fmt: skip
    (runs,) = november
    assert (runs["figures"], runs["emissions_ug"], runs["energy_uj"]) == (2, 100_212_346, 1_095_613_200_000)
    assert (runs["method"], runs["accounts"], runs["energy_kwh"]) == ("CodeCarbon 3, machine", 2, "0.304337")
    for row in half:
        assert (row["figures"], row["emissions_g"], row["from"]) == (0, "0", None)
        assert row["partly_figures"] == 2
    assert next(row["partly_g"] for row in half if row["scope"] == "1") == "2000"


def test_sums_are_exact_where_a_database_s_integers_would_overflow(engine: sa.Engine) -> None:
    figures = tuple(
        ExternalFigure("gcp", "1", "a", f"i{n}", 100, 200, 10**18, 9 * 10**18, "m", n, "1 Mt") for n in range(20)
    )
    store(engine, ExternalFile("gcp", "d" * 64, "", figures))
    with engine.connect() as connection:
        (row,) = external_summary(connection, "default", 0, 1000)
    assert (row["emissions_ug"], row["energy_uj"]) == (20 * 10**18, 180 * 10**18)


def test_a_report_shows_them_beside_its_own_figures_which_they_do_not_change(engine: sa.Engine) -> None:
    book(Booker(engine), *(a_report(OCTOBER[0] + 60 * minute) for minute in range(60)))
    settings = Settings()
    before = period_report(engine, settings, OCTOBER, NOW, "2025-10")
    assert "external" not in before
    store(engine, read_file("aws", "aws-v3.csv"))
    after = period_report(engine, settings, OCTOBER, NOW, "2025-10")
    assert len(after.pop("external")) == 5
    assert after == before


def test_a_backup_holds_them(
    engine: sa.Engine, new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    files = [read_file("aws", name) for name in ("aws-v3.csv", "aws-v2.csv")]
    store(engine, *files)
    removed(engine, f"aws/{files[1].sha256}")
    target = open_engine(new_url())
    assert dict(copy_ledger(engine, target))["external_figure"] == len(files[0].figures)
    assert kept(target) == kept(engine)
    with engine.connect() as one, target.connect() as other:
        assert listed(one, "default") == listed(other, "default")
    store(target, files[1])  # its numbers go on behind the copied ones


def test_retention_forgets_a_file_when_all_its_figures_are_older(engine: sa.Engine) -> None:
    store(engine, read_file("aws", "aws-v3.csv"), read_file("azure", "azure-monthly.json"))
    drop_before(engine, OCTOBER[1] - 3600, BatchDeleter(engine, rest=lambda _: None))
    assert {figure.source for figure in kept(engine)} == {"aws", "azure"}
    assert len(kept(engine)) == 12  # September's figure too: its file reaches into October
    drop_before(engine, OCTOBER[1], BatchDeleter(engine, rest=lambda _: None))
    assert kept(engine) == []
    with engine.connect() as connection:
        assert listed(connection, "default")["items"] == []
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.external_figure)) == 0


def test_a_downgrade_forgets_no_imported_file_unasked(engine: sa.Engine) -> None:
    file = read_file("aws", "aws-v3.csv")
    store(engine, file)
    with pytest.raises(LedgerError, match="1 files of external figures are imported"):
        downgrade(engine, "0012")
    assert kept(engine) == list(file.figures)
    removed(engine, f"aws/{file.sha256}")
    assert downgrade(engine, "0012") == "0012"
    assert migrate(engine) == "0022"
    store(engine, file)
