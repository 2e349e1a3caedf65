"""A request about adjustments that the server refuses is divided: a period or booking that is refused fails alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.objects import NOVEMBER

from carbonbudget_operator.api.adjustment_bodies import (
    Adjustment,
    AdjustmentGroup,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    BudgetPeriod,
)
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.server_client import QuestionRefused, ServerUnavailable

DAY = 86_400


def a_period(number: int) -> BudgetPeriod:
    return BudgetPeriod(
        namespace="team-a", name=f"b{number}", period_start=NOVEMBER, period_end=NOVEMBER + 30 * DAY
    )  # fmt: skip


def a_row(number: int, micrograms: int = 5) -> Adjustment:
    return Adjustment(
        budget=a_period(number), reason="Credit", source="s", micrograms=micrograms, detail="d"
    )  # fmt: skip


class Server:
    """Answers at most `rows` rows at once, as the server refuses a longer answer; `bad`: budgets it never takes."""

    def __init__(self, rows: int = 10**6, bad: frozenset[int] = frozenset()) -> None:
        self.rows, self.bad = rows, {f"b{number}" for number in bad}
        self.booked: list[Adjustment] = []
        self.up = True

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        if not self.up:
            raise ServerUnavailable("the server does not answer: played")
        names = {one.name for one in request.budgets} | {
            each.budget.name for group in request.groups for each in group.adjustments
        }
        if names & self.bad:
            raise QuestionRefused("the server answered 422: played")
        asked = {one.name for one in request.budgets}
        found = [each for each in self.booked if each.budget.name in asked]
        if len(found) > self.rows:
            raise QuestionRefused(f"the server answered 422: the answer has {len(found)} rows: ask in parts")
        self.booked += [each for group in request.groups for each in group.adjustments if each not in self.booked]
        return AdjustmentsAnswer.model_validate({"adjustments": [each.model_dump() for each in found]})


def booked(book: AdjustmentBook, number: int) -> list[int]:
    period = Period(NOVEMBER, NOVEMBER + 30 * DAY)
    return [each.micrograms for each in book.booked("team-a", f"b{number}", period)]


def knows(book: AdjustmentBook, number: int) -> bool:
    return book.knows("team-a", f"b{number}", Period(NOVEMBER, NOVEMBER + 30 * DAY))


async def test_an_answer_that_is_too_long_is_asked_for_in_parts() -> None:
    server = Server(rows=7)
    server.booked = [a_row(number) for number in range(40)]
    book = AdjustmentBook(server)
    await book.refresh([a_period(number) for number in range(40)])
    assert [booked(book, number) for number in range(40)] == [[5]] * 40
    assert book.trouble == ""


@given(st.integers(1, 40), st.frozensets(st.integers(0, 40), max_size=4))
async def test_what_is_refused_is_unknown_and_everything_else_is_read_and_booked(
    number: int, bad: frozenset[int]
) -> None:
    server = Server(bad=bad)
    book = AdjustmentBook(server)
    for each in range(number):
        book.propose(AdjustmentGroup(adjustments=[a_row(each, each + 1)]))
    refused = {each for each in range(number) if each in bad}
    if refused:
        with pytest.raises(QuestionRefused, match="played"):
            await book.refresh([a_period(each) for each in range(number)])
    else:
        await book.refresh([a_period(each) for each in range(number)])
    assert {each for each in range(number) if not knows(book, each)} == refused
    assert [booked(book, each) for each in range(number) if each not in bad] == [
        [each + 1] for each in range(number) if each not in bad
    ]
    assert (book.proposes, bool(book.trouble)) == (bool(refused), bool(refused))


async def test_a_period_that_is_refused_later_keeps_what_was_known_of_it() -> None:
    server = Server()
    server.booked = [a_row(0), a_row(1)]
    book = AdjustmentBook(server)
    asked = [a_period(0), a_period(1)]
    await book.refresh(asked)
    server.bad = {"b0"}
    server.booked.append(a_row(1, 9).model_copy(update={"source": "t"}))
    with pytest.raises(QuestionRefused):
        await book.refresh(asked)
    assert (booked(book, 0), booked(book, 1)) == ([5], [5, 9])


async def test_a_server_that_does_not_answer_is_not_asked_again_for_each_part() -> None:
    server = Server()
    book = AdjustmentBook(server)
    server.up = False
    with pytest.raises(ServerUnavailable):
        await book.refresh([a_period(number) for number in range(40)])
    assert not book.known()
