"""What a server goes through: killed in the middle of commits, a disk that is full. Nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.disk import fill, small_disk
from tests.ledger.reports import HOUR, a_report, book, booked
from tests.postgres import PostgresServer

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import hours_with_facts, read_hour
from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.ledger.writer import LedgerWriter

# `CARBONBUDGET_KILLS=100` kills as often as a bad month would.
KILLS = int(os.environ.get("CARBONBUDGET_KILLS", "5"))
KILLED = """
import sys
from carbonbudget_operator.ingest.node_report_body import parse_report
from carbonbudget_operator.ledger.booking import Booker, CheckedReport
from carbonbudget_operator.ledger.ledger_engine import open_ledger
booker = Booker(open_ledger(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    booker.book([CheckedReport(*parse_report(line))])
    print("stored", flush=True)
"""


def total_uj(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return sum(
            domain.measured_uj
            for hour in hours_with_facts(connection, 0, 2**40)
            for item in read_hour(connection, "default", hour)
            for domain in item.domains.values()
        )


def defects(engine: sa.Engine) -> list[str]:
    *_, last = check_ledger(engine)
    return list(last.defects)


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_server_killed_again_and_again_leaves_whole_commits_and_resends_count_once(
    engine: sa.Engine, url: str
) -> None:
    """The agent's side: what was not acknowledged is sent again, to the next server."""
    chance = random.Random(11)
    waiting = [encode_report(a_report(HOUR + 60 * i, pods={"p": 300, f"q{i}": 7})) for i in range(40 * KILLS)]
    acknowledged = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("".join(line + "\n" for line in waiting[acknowledged : acknowledged + 40]))
            process.stdin.flush()
            assert process.stdout.readline() == "stored\n"
            time.sleep(chance.random() * 0.03)  # somewhere in a commit
            process.kill()
            acknowledged += 1 + process.stdout.read().count("stored\n")
        assert defects(engine) == []
        stored = total_uj(engine)
        assert stored % 1007 == 0  # whole reports
        assert acknowledged <= stored // 1007 <= acknowledged + 1  # at most the one that nobody heard of
    fates = book(Booker(engine), *(a_report(HOUR + 60 * i, pods={"p": 300, f"q{i}": 7}) for i in range(40 * KILLS)))
    assert fates.count(BookingResult.DUPLICATE) == stored // 1007
    assert total_uj(engine) == 1007 * 40 * KILLS
    assert defects(engine) == []


@pytest.fixture(params=["sqlite", "postgresql"])
def on_small_disk(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """An empty database's URL, and the small disk that it lies on."""
    base = Path(tempfile.mkdtemp(prefix="cb-disk-"))
    base.chmod(0o711)
    point = base / "disk"
    try:
        with small_disk(point, "24m"):
            if request.param == "sqlite":
                yield f"sqlite:///{point}/ledger.db", point
                return
            server: PostgresServer = request.getfixturevalue("postgres")
            place = point / "space"
            place.mkdir()
            shutil.chown(place, "postgres")
            server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            url = server.database("TABLESPACE small")
            yield url, point
            server.execute(f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)")
            server.execute("DROP TABLESPACE small")
    finally:
        shutil.rmtree(base)


async def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_stored_and_it_goes_on_when_there_is_room(
    on_small_disk: tuple[str, Path], open_engine: Callable[[str], sa.Engine], caplog: pytest.LogCaptureFixture
) -> None:
    url, disk = on_small_disk
    engine = open_engine(url)
    writer = LedgerWriter(engine)
    reports = [a_report(HOUR + 60 * i, pods={f"p{i}-{j}": 10 for j in range(200)}) for i in range(60)]
    assert await booked(writer, reports[0]) is BookingResult.STORED
    ballast = fill(disk)
    refused: dict[int, str] = {}
    stored = 1
    for index, report in enumerate(reports[1:], 1):
        try:
            assert await booked(writer, report) is BookingResult.STORED
            stored += 1
        except LedgerError as error:
            refused[index] = str(error)
    assert refused
    assert all(reason.startswith("the ledger cannot store: ") for reason in refused.values())
    assert total_uj(engine) == 2700 * stored
    assert len([record for record in caplog.records if "ledger: " in record.message]) == 1  # once
    ballast.unlink()
    for index in refused:
        assert await booked(writer, reports[index]) is BookingResult.STORED
    writer.close()
    assert total_uj(engine) == 2700 * len(reports)
    assert defects(engine) == []
    engine.dispose()
