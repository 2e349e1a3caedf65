"""A ledger that an earlier version wrote is taken over whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.ledger.facts import PodGroup
from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
from carbonbudget_operator.ledger.schema_migration import (
    OLDEST_SCHEMA,
    downgrade,
    migrate,
    require_schema,
)
from carbonbudget_operator.ledger.schema_revisions import migrations, revisions
from carbonbudget_operator.ledger.valued_rows import LOCATION_UG, NAMES, UNSPLIT_UG
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

NO_GROUP = PodGroup("", "", {})


def facts(engine: sa.Engine) -> list[tuple[object, ...]]:
    """All of it, to compare: one group is one object only within one reading."""
    found: list[tuple[object, ...]] = []
    with engine.connect() as connection:
        for hour in hours_with_facts(connection, 0, 2**40):
            for item in read_hour(connection, "default", hour):
                named = [(g.group.namespace, g.group.workload, str(g.group.labels), g) for g in item.groups]
                pods = [(*name, replace(group, group=NO_GROUP)) for *name, group in named]
                found.append((item.node, item.start, item.end, item.domains, sorted(pods, key=lambda pod: pod[:3])))
    return found


def write_as_0001(source: sa.Engine, target: sa.Engine) -> None:
    """The same facts in the tables of the first schema."""
    with source.connect() as old, target.begin() as new:
        config = migrations()
        config.attributes["connection"] = new
        command.upgrade(config, "0001")
        tables = sa.MetaData()
        tables.reflect(new)
        spans = {row.node_id: row for row in old.execute(sa.select(schema.node_span))}
        for name in ("node", "label_set", "pod", "node_windows", "node_hour", "pod_hour", "pod_energy"):
            columns = tables.tables[name].c.keys()
            for row in old.execute(sa.select(schema.metadata.tables[name])).mappings():
                values = {key: value for key, value in row.items() if key in columns}
                if name == "node":
                    span = spans[row["id"]]
                    values |= {"first_start": span.first_start, "last_end": span.last_end}
                new.execute(sa.insert(tables.tables[name]), values)


@pytest.fixture
def former(new_empty_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]) -> tuple[sa.Engine, str]:
    """What was booked, and a ledger of the first schema that holds it."""
    source, url = open_engine(new_empty_url()), new_empty_url()
    reports = [a_report(HOUR + 1800 * i, f"n{n}", {f"p{n}": 70, f"q{i}": 5}) for i in range(3) for n in range(2)]
    assert set(book(Booker(source), *reports)) == {BookingResult.STORED}
    target = open_ledger(url)
    write_as_0001(source, target)
    target.dispose()
    return source, url


def test_every_fact_of_the_first_schema_is_kept_and_booking_goes_on(
    former: tuple[sa.Engine, str], open_engine: Callable[[str], sa.Engine]
) -> None:
    source, url = former
    engine = open_engine(url)
    assert facts(engine) == facts(source)
    with engine.connect() as connection, source.connect() as other:
        assert data_through(node_spans(connection, "default")) == data_through(node_spans(other, "default"))
        assert hours_with_facts(connection, 0, 2**40).keys() == hours_with_facts(other, 0, 2**40).keys()
    # A window that comes again is no new one; a new pod on a new node gets ids of its own.
    again, fresh = a_report(HOUR, "n0", {"p0": 70, "q0": 5}), a_report(HOUR + 60, "n9", {"new": 9})
    assert book(Booker(engine), again, fresh) == [BookingResult.DUPLICATE, BookingResult.STORED]
    *_, checked = check_ledger(engine)
    assert (checked.windows, checked.defects) == (7, [])


def test_the_slices_of_a_nodes_hour_are_joined_and_former_cuts_are_everybodys(
    new_empty_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    """Schema 0005 split facts of nodes too, and its cuts had no namespace."""
    source, url, at = open_engine(new_empty_url()), new_empty_url(), HOUR + 1800
    with source.begin() as connection:
        connection.execute(sa.insert(schema.cut), [{"at": at, "namespace": "*"}])
    reports = [a_report(HOUR + 600 * i, pods={"p": 70, f"q{i}": 5}) for i in range(6)]
    assert set(book(Booker(source), *reports)) == {BookingResult.STORED}
    target = open_ledger(url)
    with source.connect() as old, target.begin() as new:
        config = migrations()
        config.attributes["connection"] = new
        command.upgrade(config, "0005")
        tables = sa.MetaData()
        tables.reflect(new)
        for name in (
            "node",
            "node_span",
            "label_set",
            "pod",
            "node_windows",
            "hour_revision",
            "pod_hour",
            "pod_energy",
        ):
            for row in old.execute(sa.select(schema.metadata.tables[name])).mappings():
                new.execute(sa.insert(tables.tables[name]), dict(row))
        for row in old.execute(sa.select(schema.node_fact)).mappings():
            counts = {key: value for key, value in row.items() if key.endswith(("_uj", "_ms"))}
            first = {key: value // 3 for key, value in counts.items()}
            rest = {key: value - first[key] for key, value in counts.items()}
            new.execute(sa.insert(tables.tables["node_hour"]), [{**row, **first}, {**row, **rest, "start": at}])
        new.execute(sa.insert(tables.tables["cut"]), [{"at": at}, {"at": HOUR + 90_001}])
        closed = {"cluster": "default", "period": "2025-10", "closed_at": 1, "digest": "d", "report": "{}"}
        new.execute(sa.insert(tables.tables["closed_report"]), closed)
    target.dispose()
    engine = open_engine(url)
    assert facts(engine) == facts(source)
    with engine.connect() as connection:
        assert connection.execute(sa.select(schema.cut.c.at, schema.cut.c.namespace)).all() == [(at, "*")]
        assert connection.scalars(sa.select(schema.node_fact.c.start)).all() == [HOUR]
        assert connection.scalars(sa.select(schema.closed_report.c.report)).all() == ["{}"]
    assert book(Booker(engine), reports[0], a_report(HOUR + 60, pods={"p": 9})) == [
        BookingResult.DUPLICATE,
        BookingResult.STORED,
    ]
    *_, checked = check_ledger(engine)
    assert checked.defects == []


@pytest.mark.parametrize(
    ("basis", "factor", "column"),
    [
        ("lifecycle", "DE 329.65 g/kWh (lifecycle, Ember, 2025; zone)", "unsplit_ug"),
        ("direct", "US-VA 244.76 g/kWh (direct, eGRID, 2023; zone)", "direct_ug"),
        (
            "direct",
            "WORLD 458.29 g/kWh (lifecycle, no direct figure is bundled, Ember; world mean)",
            "unsplit_ug",
        ),
    ],
)
def test_sealed_rows_are_by_direct_factors_only_where_they_were_valued_by_one(
    new_empty_url: Callable[[], str], basis: str, factor: str, column: str
) -> None:
    engine = open_ledger(new_empty_url())
    with engine.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        tables = sa.MetaData()
        tables.reflect(connection)

        def put(name: str, **values: object) -> None:
            connection.execute(sa.insert(tables.tables[name]).values(values))

        put("derivation", id=1, digest=b"d", description=f'carbon {{"basis":"{basis}"}}')
        put("factor_set", id=1, digest=b"f", factors=json.dumps([factor, "noMarketFactor: the location's stands in"]))
        for derivation_id in (1, 2):  # the second holds nothing that is sealed
            figures = dict.fromkeys(NAMES[:14], 1) | {"location_dynamic_ug": 100, "location_idle_ug": 20}
            put("valued_row", derivation_id=derivation_id, level=0, start=HOUR, group_id=1, end=HOUR + 3600,
                factor_set_id=1, **figures)  # fmt: skip
        put("sealed_hour", cluster="default", hour=HOUR, derivation_id=1, sealed_at=1)
    migrate(engine)
    with engine.connect() as connection:
        c = schema.valued_row.c
        columns = ("direct_ug", "upstream_ug", "unsplit_ug", "stood_in_ug")
        rows = connection.execute(sa.select(*(c[name] for name in columns)).order_by(c.derivation_id)).all()
    whole = {column: 121, "stood_in_ug": 3}
    assert [tuple(row) for row in rows] == [tuple(whole.get(name, 0) for name in columns), (0, 0, 0, 0)]
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "expected"),
    [  # direct, upstream, unsplit and stood-in micrograms of 100 by location; 200 by market; the facility had 1,000 uJ
        ((0, 0, 100, 0), (0, 0, 1000, 0, 0)),
        ((0, 0, 100, 200), (0, 0, 0, 0, 0)),
        ((0, 0, 100, 50), (0, 0, 750, 0, 0)),
        ((80, 20, 0, 50), (1000, 1000, 1000, 40, 10)),
        ((100, 0, 0, 200), (1000, 0, 1000, 200, 0)),
        ((45, 15, 40, 50), (600, 600, 750, 0, 0)),
    ],
)
def test_sealed_rows_cover_energy_by_the_share_of_their_emissions(
    new_empty_url: Callable[[], str], given: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    engine = open_ledger(new_empty_url())
    with engine.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0021")
        tables = sa.MetaData()
        tables.reflect(connection)
        figures = dict.fromkeys(NAMES[:18], 0) | {"location_idle_ug": 100, "market_idle_ug": 200, "facility_uj": 1000}
        figures |= dict(zip(NAMES[14:18], given, strict=True))
        for derivation_id in (1, 2):  # the second holds nothing that is sealed
            row = {"derivation_id": derivation_id, "level": 0, "start": HOUR, "group_id": 1, "end": HOUR + 3600}
            connection.execute(sa.insert(tables.tables["valued_row"]).values({**row, "factor_set_id": 1, **figures}))
        sealed = {"cluster": "default", "hour": HOUR, "derivation_id": 1, "sealed_at": 1}
        connection.execute(sa.insert(tables.tables["sealed_hour"]).values(sealed))
    migrate(engine)
    with engine.connect() as connection:
        c = schema.valued_row.c
        rows = connection.execute(sa.select(*(c[name] for name in NAMES[18:])).order_by(c.derivation_id)).all()
    assert [tuple(row) for row in rows] == [expected, (0, 0, 0, 0, 0)]
    engine.dispose()


def test_a_ledger_that_is_not_there_is_told_with_where_it_may_be(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(LedgerError, match=r"no ledger at .*none.db: name another by --ledger, or .* server's pod"):
        require_schema(engine)
    engine.dispose()


def test_a_ledger_that_is_behind_is_refused_until_it_is_migrated(former: tuple[sa.Engine, str]) -> None:
    engine = open_ledger(former[1])
    with pytest.raises(LedgerError, match=r"schema 0001, and this command needs 0022: ") as error:
        require_schema(engine)
    image, migration = (
        str(error.value).find(part) for part in ("use the image that the server runs", "ledger migrate")
    )
    assert 0 < image < migration
    assert "only if no server runs on this ledger, `carbonbudget ledger migrate`" in str(error.value)
    assert migrate(engine) == "0022"
    require_schema(engine)
    engine.dispose()


def test_a_ledger_of_a_later_version_is_not_to_be_migrated(new_empty_url: Callable[[], str]) -> None:
    engine = open_ledger(new_empty_url())
    try:
        migrate(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(LedgerError) as error:
            require_schema(engine)
        found = "the ledger has schema 9999 of a later version, and this command has 0022"
        assert str(error.value) == f"{found}: use the image that the server runs"
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:geheim@[::1/db",
        "postgresql+psycopg://u:geh@eim@h:54x/db",
        "postgresql+psycopg://u:geheim@h:port/db",
        "postgresql+psycopg://u:geheim@127.0.0.1:1/db",
        "postgresql+psycopg://127.0.0.1:1/db?password=geheim",
        f"postgresql+psycopg://u:geheim@{'h' * 70}.x/db",
        "postgresql+psycopg://u:geheim@h\x00/db",
        "postgres://u:geheim@h/db",
        "mysql://u:geheim@h/db",
        "u:geheim@h/db",
        "geheim",
        "",
    ],
)
def test_a_ledger_that_cannot_be_opened_is_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(LedgerError) as error:
        migrate(open_ledger(url))
    assert "geheim" not in str(error.value)
    assert "eim@" not in str(error.value)
    assert str(error.value).isprintable()


def test_a_ledger_is_not_taken_back_to_what_no_version_can_use(
    open_engine: Callable[[str], sa.Engine], new_empty_url: Callable[[], str]
) -> None:
    engine = open_engine(new_empty_url())
    for wrong in ("0005", "0007", "base", "-1", ""):
        with pytest.raises(LedgerError, match="is no schema that a ledger can be taken back to: "):
            downgrade(engine, wrong)
    require_schema(engine)


def test_an_empty_database_is_not_taken_back(new_empty_url: Callable[[], str]) -> None:
    engine = open_ledger(new_empty_url())
    try:
        with pytest.raises(LedgerError, match="has schema none, which is not later than 0008: nothing to take back"):
            downgrade(engine, "0008")
    finally:
        engine.dispose()


def _columns(engine: sa.Engine) -> dict[str, set[str]]:
    """Each table with its columns and indexes."""
    looked = sa.inspect(engine)
    return {
        table: {column["name"] for column in looked.get_columns(table)}
        | {f"index {index['name']}" for index in looked.get_indexes(table)}
        for table in looked.get_table_names()
    }


def test_a_ledger_taken_back_has_the_earlier_schema_and_every_fact_and_comes_up_again(
    new_empty_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    engine = open_engine(new_empty_url())
    assert set(book(Booker(engine), *(a_report(HOUR + 60 * i, "n0", {"p": 70}) for i in range(3)))) == {
        BookingResult.STORED
    }
    before = facts(engine)
    known = revisions()
    for revision in known[1 : known.index(OLDEST_SCHEMA) + 1]:
        assert downgrade(engine, revision) == revision
        fresh = open_ledger(new_empty_url())
        with fresh.begin() as connection:
            config = migrations()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        assert _columns(engine) == _columns(fresh), revision
        fresh.dispose()
    assert migrate(engine) == known[0]
    require_schema(engine)
    assert facts(engine) == before


def test_a_migration_that_fails_half_way_leaves_the_ledger_as_it_was(
    new_empty_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    engine = open_engine(new_empty_url())
    before = _columns(engine)

    def fail(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.strip().startswith("DROP TABLE selected_label"):  # the last step, after others were done
            raise sa.exc.OperationalError(statement, {}, Exception("disk full"))

    sa.event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(LedgerError, match="disk full"):
        downgrade(engine, OLDEST_SCHEMA)
    sa.event.remove(engine, "before_cursor_execute", fail)
    assert _columns(engine) == before
    require_schema(engine)


@pytest.mark.parametrize("sealed_hours", [0, 1])
def test_a_ledger_taken_back_and_brought_up_again_has_the_direct_and_upstream_parts_again(
    new_empty_url: Callable[[], str], open_engine: Callable[[str], sa.Engine], sealed_hours: int
) -> None:
    """What was kept loses its parts on the way down: it is made anew, and what was sealed has one of them."""
    engine, settings = open_engine(new_empty_url()), Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
    assert set(book(Booker(engine), *(a_report(HOUR + 3600 * i, "n0", {"p": 10**9}) for i in range(3)))) == {
        BookingResult.STORED
    }

    def upkeep(sealed: int) -> None:
        deriver = UpkeepSteps(ValuedReader(engine, settings), 35, 25)
        while deriver.step(HOUR + 38 * 86_400) is not None:
            pass
        for _ in range(sealed):
            assert deriver.seal(HOUR + 38 * 86_400) is not None

    def location_and_unsplit_ug() -> tuple[int, int]:
        rows = list(ValuedReader(engine, settings).rows(HOUR, HOUR + 3 * 3600))
        return sum(sum(row.figures[LOCATION_UG]) for row in rows), sum(row.figures[UNSPLIT_UG] for row in rows)

    upkeep(sealed_hours)
    before = location_and_unsplit_ug()
    assert before[0] == before[1] > 0
    assert downgrade(engine, OLDEST_SCHEMA) == OLDEST_SCHEMA
    migrate(engine)
    assert location_and_unsplit_ug() == before
    upkeep(0)
    assert location_and_unsplit_ug() == before
    *_, checked = check_ledger(engine)
    assert checked.defects == []
