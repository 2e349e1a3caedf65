"""A question that the server refuses fails alone, and no request is larger than the server reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.evaluation_bench import BLOCK, HOUR, Bench
from tests.controller.target_bench import TargetBench

from carbonbudget_operator.api.budget_query_bodies import BudgetQueries, BudgetQuery
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.controller.query_sender import _batches
from carbonbudget_operator.controller.question_batches import (
    MOST_BYTES,
    NOT_ASKED_ALONE,
    BatchQuestions,
    batches_by_size,
)
from carbonbudget_operator.server_client import QuestionRefused, ServerUnavailable, UnknownField

LIMIT = 8 * 2**20  # of the server, by default


def a_query(number: int, size: int = 0, letter: str = "x", workloads: int = 0) -> BudgetQuery:
    selector = LabelSelector(match_labels={"app": letter * size}) if size else None
    return BudgetQuery(id=str(number), namespaces=["a"], selector=selector, start=0, end=1, workloads=workloads)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 63, 300_000, 900_000, 1_500_000]), st.sampled_from("x\u00e9\u20ac\U0001f600\x01\""),
            st.sampled_from([0, 100, 1000]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_each_request_is_one_that_the_server_reads_and_the_order_stays(asked: list[tuple[int, str, int]]) -> None:
    queries = [a_query(number, *one) for number, one in enumerate(asked)]
    for batches in (_batches(queries), batches_by_size(queries, 5)):
        assert [query.id for batch in batches for query in batch] == [query.id for query in queries]
        for batch in batches:
            size = len(BudgetQueries(queries=batch).model_dump_json().encode())
            assert size <= MOST_BYTES + 1000 or len(batch) == 1
    assert MOST_BYTES + 1000 < LIMIT


@given(st.integers(0, 40), st.sets(st.integers(0, 40), max_size=5))
async def test_what_is_refused_is_alone_and_all_others_are_answered_once(number: int, bad: set[int]) -> None:
    async def send(part: Sequence[BudgetQuery]) -> list[str]:
        if any(int(query.id) in bad for query in part):
            raise QuestionRefused("played")
        return [query.id for query in part]

    batch = [a_query(n) for n in range(number)]
    found = await BatchQuestions().ask(batch, send)
    assert set(found.refused) == {str(n) for n in bad if n < number}
    answered = [one for part in found.answers for one in part]
    assert answered == [query.id for query in batch if query.id not in found.refused]


async def test_a_server_that_refuses_all_is_not_asked_for_each_question() -> None:
    sent = 0

    async def send(_: Sequence[BudgetQuery]) -> list[str]:
        nonlocal sent
        sent += 1
        raise QuestionRefused("played")

    asking = BatchQuestions()
    for _ in range(3):
        assert len((await asking.ask([a_query(n) for n in range(1000)], send)).refused) == 1000
    assert sent < 200


@given(st.integers(0, 40), st.sets(st.integers(0, 40), max_size=40), st.sets(st.integers(0, 40), max_size=5))
async def test_only_questions_with_a_field_that_the_server_does_not_know_fail_and_none_is_asked_for_them_alone(
    number: int, selecting: set[int], bad: set[int]
) -> None:
    requests = 0

    async def send(part: Sequence[BudgetQuery]) -> list[str]:
        nonlocal requests
        requests += 1
        for index, query in enumerate(part):
            if query.include == ["Idle"]:
                raise UnknownField("the server answered 400", "", f"queries.{index}.include.0")
        if any(int(query.id) in bad for query in part):
            raise QuestionRefused("played")
        return [query.id for query in part]

    batch = [
        BudgetQuery(id=str(n), namespaces=["a"], start=0, end=1, include=["Idle"] if n in selecting else [])
        for n in range(number)
    ]
    found = await BatchQuestions().ask(batch, send)
    asked = set(range(number))
    assert set(found.refused) == {str(n) for n in asked & (selecting | bad)}
    assert [one for part in found.answers for one in part] == [str(n) for n in sorted(asked - selecting - bad)]
    assert not selecting & asked or all("update the server" in found.refused[str(n)] for n in selecting & asked)
    assert requests <= 2 + 2 * 7 * len(bad & asked)


async def test_a_field_of_the_request_itself_that_the_server_does_not_know_is_not_looked_for_in_questions() -> None:
    requests = 0

    async def send(_: Sequence[BudgetQuery]) -> list[str]:
        nonlocal requests
        requests += 1
        raise UnknownField("the server answered 400", "", "region")

    assert len((await BatchQuestions().ask([a_query(n) for n in range(100)], send)).refused) == 100
    assert requests == 1


async def test_what_the_server_says_of_several_questions_is_told_to_none_of_them() -> None:
    """It may name what is in the question of another namespace."""

    async def send(part: Sequence[BudgetQuery]) -> list[str]:
        raise QuestionRefused(f"the server answered 400: {'alone' if len(part) == 1 else 'secret'}")

    asking, told = BatchQuestions(), set[str]()
    for number in (1, 3, 500):
        told |= set((await asking.ask([a_query(n) for n in range(number)], send)).refused.values())
    assert told == {"the server answered 400: alone", NOT_ASKED_ALONE}


async def test_a_server_that_is_away_is_not_asked_in_parts() -> None:
    sent = 0

    async def send(_: Sequence[BudgetQuery]) -> list[str]:
        nonlocal sent
        sent += 1
        raise ServerUnavailable("played")

    with pytest.raises(ServerUnavailable):
        await BatchQuestions().ask([a_query(n) for n in range(10)], send)
    assert sent == 1


def conditions(body: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in body["status"]["conditions"]}


async def test_large_selectors_of_one_namespace_leave_all_budgets_their_figures(bench: Bench) -> None:
    """The played server reads 600,000 bytes. Four budgets ask more than that together, and one alone."""
    large = [bench.add(f"large-{n}", selector={"matchLabels": {"app": f"{n}" * 300_000}}) for n in range(4)]
    too_large = bench.add("too-large", selector={"matchLabels": {"app": "x" * 700_000}})
    others = [bench.add(f"other-{n}") for n in range(20)]
    await bench.evaluate()
    assert {one["status"]["state"] for one in [*large, *others]} == {"WithinBudget"}
    assert conditions(too_large)["DataComplete"] == ("False", "QuestionRefused")
    assert "the server answered 413" in too_large["status"]["message"]
    assert bench.failures() == 1


@pytest.mark.parametrize("refused", ["team-a/bad", "team-a/bad@settled"])
async def test_a_budget_whose_question_is_refused_is_treated_as_if_the_server_were_away(
    bench: Bench, refused: str
) -> None:
    kept, careful = bench.add("kept", thresholds=BLOCK), bench.add("bad", thresholds=BLOCK, onMissingData="Unknown")
    good = bench.add("good", thresholds=BLOCK, onMissingData="Unknown")
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.now += HOUR + 60  # another hour has settled, so that the next evaluation but one asks both questions
    await bench.evaluate()
    bench.world.refuses = {refused, refused.replace("bad", "kept")}
    await bench.evaluate()
    assert conditions(careful)["DataComplete"] == conditions(kept)["DataComplete"] == ("False", "QuestionRefused")
    assert careful["status"]["state"] == kept["status"]["state"] == "Exceeded"
    bench.world.now += 16 * 60  # data are missing after 15 minutes, although others have them
    await bench.evaluate()
    assert careful["status"]["state"] == "Unknown"
    assert kept["status"]["enforcement"]["action"] == good["status"]["enforcement"]["action"] == "Block"
    assert good["status"]["state"] == "Exceeded"
    bench.world.refuses = set()
    await bench.evaluate()
    assert careful["status"]["state"] == kept["status"]["state"] == "Exceeded"
    assert conditions(careful)["DataComplete"] == conditions(kept)["DataComplete"] == ("True", "Complete")


async def test_a_server_that_refuses_every_question_is_asked_few_times_and_all_budgets_say_so(bench: Bench) -> None:
    made = [bench.add(f"b-{n}") for n in range(100)]
    bench.world.refuses = {f"team-a/b-{n}" for n in range(100)}
    await bench.evaluate()
    assert {conditions(one)["DataComplete"] for one in made} == {("False", "QuestionRefused")}
    assert bench.world.requests < 200


async def test_a_target_whose_question_is_refused_is_not_ready_and_the_others_are_evaluated(
    targets: TargetBench,
) -> None:
    bad, good = targets.add("bad"), targets.add("good")
    targets.server.refuses = {"team-a/bad"}
    await targets.evaluate("2025-12-03")
    await targets.evaluate("2025-12-03")
    assert conditions(bad)["Ready"] == ("False", "QuestionRefused")
    assert conditions(good)["Ready"] == ("True", "Evaluated")
    targets.server.refuses = set()
    await targets.evaluate("2025-12-03")
    assert conditions(bad)["Ready"] == ("True", "Evaluated")


async def test_a_profile_that_is_refused_leaves_the_others_theirs(bench: Bench) -> None:
    bench.world.hours_ug = [1] * 24 * 21
    for name in ("bad", "good"):
        bench.add(name)
    await bench.evaluate()
    bench.world.refuses = {"team-a/bad"}
    await bench.loop.profiles.refresh()
    known = bench.loop.profiles._known
    assert known["team-a/good"].week is not None
    assert known["team-a/bad"].week is None
