"""What pods post decides nothing of what a target's question costs, and no question waits for another one's reading."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from tests.answers.counted import MICRO, pods_count
from tests.answers.test_target_figures import CHAT, FIRST, HOUR, SEARCH, a_query, figures
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers import selected_units
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger.booking import Booker

IMAGES = ClusterUnitSource(client="images")
SPAN = (FIRST, FIRST + 30 * HOUR)


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Two days of one pod in each of two namespaces, which both counted in their first hour."""
    for name in ("team-a", "team-b"):
        for hour in (0, 1, 25):
            book(Booker(engine), a_report(FIRST + hour * HOUR, f"n-{name}", {name: 10**9}, labels={"app": "web"},
                                          namespace=name))  # fmt: skip
        book(Booker(engine), a_report(FIRST + 31 * HOUR, f"n-{name}", {}))
        pods_count(engine, name, name, (10, FIRST, FIRST + 60))
    return engine


@pytest.fixture
def days_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], int]]:
    """The namespaces and the day of each reading of posted units."""
    seen: list[tuple[set[str], int]] = []
    read = selected_units.posted_units

    def reading(connection: Any, cluster: str, name: str, names: Any, start: int, end: int) -> Any:
        seen.append((set(names), (start - FIRST) // (24 * HOUR)))
        return read(connection, cluster, name, names, start, end)

    monkeypatch.setattr(selected_units, "posted_units", reading)
    return seen


def units(kept: TargetFigures, namespace: str = "team-a", **more: object) -> tuple[int, int]:
    (answer,) = kept.answers([a_query(SPAN, source=IMAGES, namespaces=[namespace], **more)]).answers
    return answer.spans[0].units_micro, answer.spans[0].known_hours


def test_a_day_is_read_again_only_when_something_was_posted_for_it(
    filled: sa.Engine, days_read: list[tuple[set[str], int]]
) -> None:
    kept = figures(filled)
    assert units(kept) == units(kept) == (10 * MICRO, 30)
    assert days_read == [({"team-a"}, 0)], "the second day has no counts, and the first one is remembered"
    pods_count(filled, "team-a", "team-a", (5, FIRST + 25 * HOUR, FIRST + 25 * HOUR + 9))
    assert units(kept) == units(kept) == (15 * MICRO, 30)
    assert days_read[1:] == [({"team-a"}, 1)]
    pods_count(filled, "team-a", "team-a", (1, FIRST + HOUR, FIRST + HOUR + 9))  # comes late
    pods_count(filled, "team-a", "team-a", (9, FIRST, FIRST + 9), name="tokens")
    assert units(kept) == (16 * MICRO, 30)
    assert days_read[2:] == [({"team-a"}, 0)]
    assert units(figures(filled)) == (16 * MICRO, 30), "what is remembered is what is read"


def test_what_a_namespace_posts_has_no_other_ones_day_read(
    filled: sa.Engine, days_read: list[tuple[set[str], int]]
) -> None:
    kept = figures(filled)
    both = [units(kept, name) for name in ("team-a", "team-b")]
    days_read.clear()
    pods_count(filled, "team-b", "team-b", (5, FIRST, FIRST + 10))
    assert units(kept) == both[0]
    assert days_read == []
    assert units(kept, "team-b") == (15 * MICRO, 30)


def test_new_reports_of_an_hour_have_its_day_read_again(
    filled: sa.Engine, days_read: list[tuple[set[str], int]]
) -> None:
    """A pod without facts in the hour belongs to no selection until its report comes."""
    kept = figures(filled)
    pods_count(filled, "late", "team-a", (7, FIRST, FIRST + 10))
    assert units(kept, selector=SEARCH) == (0, 30)
    book(Booker(filled), a_report(FIRST + 120, "n-late", {"late": 5}, labels={"app": "api"}))
    book(Booker(filled), a_report(FIRST + 31 * HOUR, "n-late", {}))
    assert units(kept, selector=SEARCH) == (7 * MICRO, 30)
    assert units(kept, selector=CHAT) == (10 * MICRO, 30)


def test_a_question_does_not_wait_for_anothers_reading(filled: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = figures(filled)
    begun, go = threading.Event(), threading.Event()
    read = selected_units.posted_units

    def slow(connection: Any, cluster: str, name: str, names: Any, start: int, end: int) -> Any:
        if "team-b" in names:
            begun.set()
            assert go.wait(30)
        return read(connection, cluster, name, names, start, end)

    monkeypatch.setattr(selected_units, "posted_units", slow)
    found: list[tuple[int, int]] = []
    other = threading.Thread(target=lambda: found.append(units(kept, "team-b")))
    other.start()
    try:
        assert begun.wait(30)
        mine: list[tuple[int, int]] = []
        asking = threading.Thread(target=lambda: mine.append(units(kept)), daemon=True)
        asking.start()
        asking.join(20)
        assert mine == [(10 * MICRO, 30)]
    finally:
        go.set()
        other.join(30)
    assert found == [(10 * MICRO, 30)]
