"""What budgets select by is known to every server behind one ledger, within bounds, until no budget asks any more."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.selected_labels import STORED_SECONDS, Asked, SelectedLabels
from carbonbudget_operator.ledger.writer import LedgerWriter

OpenWriter = Callable[..., LedgerWriter]
PROJECT: Asked = (["team-a"], "project", ["x"])


@pytest.fixture
def server(engine: sa.Engine) -> Iterator[OpenWriter]:
    """A new server on the ledger: it has loaded what is selected, and has not been asked by any budget."""
    made: list[LedgerWriter] = []

    def start(now: int = HOUR) -> LedgerWriter:
        made.append(LedgerWriter(engine))
        made[-1].load_selected_labels(now)
        return made[-1]

    yield start
    for writer in made:
        writer.close()


def stored(engine: sa.Engine) -> Counter[tuple[str, bool]]:
    """How many keys a namespace has, by whether budgets over several ask by them."""
    c = schema.selected_label.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(c.namespace, c.several).where(c.value == "*"))
        return Counter((row.namespace, row.several) for row in rows)


def test_a_server_that_starts_has_what_another_one_was_asked_by(server: OpenWriter) -> None:
    server().select_labels([PROJECT, (["a", "b"], "model", []), (["*"], "kind", ["k"])], HOUR)
    labels = server().selected_labels
    assert labels.keys("team-a") == {"project", "kind"}
    assert (labels.keys("a"), labels.keys("b"), labels.keys("c")) == ({"model", "kind"}, {"model", "kind"}, {"kind"})
    assert labels.names("team-a", "project", "x")
    assert not labels.names("team-a", "project", "y")
    assert labels.names("c", "kind", "k")
    assert labels.keys_of_several("team-a") == {"kind"}


def test_a_server_that_runs_has_it_after_its_next_look_also_where_clocks_differ(server: OpenWriter) -> None:
    asked, other = server(), server()
    other.load_selected_labels(HOUR + 60)
    asked.select_labels([PROJECT], HOUR - 200)
    other.load_selected_labels(HOUR + 120)
    assert other.selected_labels.names("team-a", "project", "x")


def test_it_is_forgotten_eight_days_after_a_budget_last_asked(engine: sa.Engine, server: OpenWriter) -> None:
    first = server()
    first.select_labels([PROJECT, (["team-b"], "model", ["m"])], HOUR)
    for day in range(1, 9):
        first.select_labels([(["team-b"], "model", ["m", f"m{day}"])], HOUR + 86_400 * day)
    for writer in (first, server()):
        writer.load_selected_labels(HOUR + STORED_SECONDS)
        assert writer.selected_labels.keys("team-a") == {"project"}
        writer.load_selected_labels(HOUR + STORED_SECONDS + 1)
        assert writer.selected_labels.keys("team-a") == set()
        assert writer.selected_labels.names("team-b", "model", "m8")
    assert stored(engine) == {("team-b", False): 1}
    last = first.selected_labels
    first.load_selected_labels(HOUR + 2 * STORED_SECONDS)
    assert (last.keys("team-b"), last.names("team-b", "model", "m8")) == ({"model"}, True)
    assert not last.names("team-b", "model", "m7")
    first.load_selected_labels(HOUR + 3 * STORED_SECONDS)
    assert (last.keys("team-b"), stored(engine)) == (set(), {})


def test_what_is_asked_each_minute_is_written_once_an_hour(server: OpenWriter) -> None:
    writer = server()
    written = []
    for minute in range(180):
        news = writer.selected_labels.news([PROJECT], HOUR + 60 * minute)
        written.append(len(news))
        writer.select_labels([PROJECT], HOUR + 60 * minute)
    assert [minute for minute, rows in enumerate(written) if rows] == [0, 60, 120]


def test_a_namespace_that_asks_by_too_much_takes_no_room_from_others_and_changes_nothing_each_minute(
    engine: sa.Engine, server: OpenWriter
) -> None:
    writer = server()
    writer.select_labels([(["team-a", "team-b"], "project", ["x"]), (["team-b"], "model", ["m"])], HOUR)
    flood: list[Asked] = [(["team-a"], f"k{n}", [f"v{n}-{i}" for i in range(64)]) for n in range(1_000)]
    writer.select_labels(flood, HOUR + 60)
    assert stored(engine) == {("team-a", False): 256, ("team-a", True): 1, ("team-b", True): 1, ("team-b", False): 1}
    with engine.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).where(schema.selected_label.c.namespace == "team-a"))
    assert rows is not None
    assert rows <= 4_096 + 256 + 2
    for minute in range(2, 60):
        assert writer.selected_labels.news(flood, HOUR + 60 * minute) == []
    for labels in (writer.selected_labels, server().selected_labels):
        assert len(labels.keys("team-a")) == 257
        assert labels.keys("team-b") == {"project", "model"}


def test_the_latest_keys_of_a_namespace_push_out_those_that_are_not_asked_any_more(
    engine: sa.Engine, server: OpenWriter
) -> None:
    writer = server()
    writer.select_labels([(["team-a"], f"old{n}", []) for n in range(200)], HOUR)
    writer.select_labels([(["team-a"], f"new{n}", []) for n in range(200)], HOUR + 60)
    for labels in (writer.selected_labels, server(HOUR + 60).selected_labels):
        keys = labels.keys("team-a")
        assert len(keys) == 256
        assert sum(key.startswith("new") for key in keys) == 200
    assert stored(engine) == {("team-a", False): 256}


@pytest.mark.parametrize(
    "asked",
    [
        (["team-a"], "no key", ["x"]),
        (["team-a"], "k" * 400, []),
        (["team-a"], "nul\0", []),
    ],
)
def test_a_key_that_no_label_can_have_is_not_kept(engine: sa.Engine, server: OpenWriter, asked: Asked) -> None:
    server().select_labels([asked, (["team-a"], "good", ["no value", "\0", "v" * 64, "y"])], HOUR)
    labels = server().selected_labels
    assert labels.keys("team-a") == {"good"}
    assert [labels.names("team-a", "good", value) for value in ("no value", "\0", "v" * 64, "y")] == [
        False, False, False, True,
    ]  # fmt: skip


def test_what_the_ledger_could_not_take_is_new_again(engine: sa.Engine, server: OpenWriter) -> None:
    writer = server()
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE selected_label RENAME TO away"))
    with pytest.raises(sa.exc.SQLAlchemyError):
        writer.select_labels([PROJECT], HOUR)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO selected_label"))
    writer.select_labels([PROJECT], HOUR + 60)
    assert server().selected_labels.keys("team-a") == {"project"}


def test_servers_that_are_asked_at_once_lose_nothing(engine: sa.Engine, server: OpenWriter) -> None:
    writers = [server() for _ in range(4)]
    asked: list[list[Asked]] = [
        [([f"team-{n}"], "project", [f"x{n}", f"y{w}"]) for n in range(20)] for w in range(len(writers))
    ]
    threads = [
        threading.Thread(target=writer.select_labels, args=(its[:: 1 - 2 * (number % 2)], HOUR))
        for number, (writer, its) in enumerate(zip(writers, asked, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = server().selected_labels
    for n in range(20):
        assert labels.keys(f"team-{n}") == {"project"}
        assert all(labels.names(f"team-{n}", "project", value) for value in (f"x{n}", "y0", "y1", "y2", "y3"))


_ASKED = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2, unique=True),
        st.sampled_from(["k1", "k2", "k3"]),
        st.lists(st.sampled_from(["v1", "v2"]), max_size=2),
    ),
    max_size=4,
)


@settings(max_examples=100)
@given(st.lists(_ASKED, max_size=6))
def test_all_that_was_asked_within_the_bounds_is_known(rounds: list[list[Asked]]) -> None:
    labels = SelectedLabels()
    for number, asked in enumerate(rounds):
        labels.take(labels.news(asked, 60 * number))
        labels.expire(60 * number)
    for namespaces, key, values in (one for asked in rounds for one in asked):
        for namespace in namespaces:
            assert key in labels.keys(namespace if namespace != "*" else "any")
            assert all(labels.names(namespace, key, value) for value in values)
