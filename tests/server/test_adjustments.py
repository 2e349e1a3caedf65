"""POST /v1/adjustments: the operator books and reads, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.server_face import NOW, Face, a_face

from carbonbudget_operator.api.adjustment_bodies import (
    AdjustmentGroup,
    AdjustmentsAnswer,
    AdjustmentsRequest,
    BudgetPeriod,
)
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.adjustment_book import AdjustmentBook
from carbonbudget_operator.server_client import ServerUnavailable

PERIOD: dict[str, Any] = {
    "namespace": "team-a",
    "name": "monthly",
    "period_start": 1793491200,
    "period_end": 1796083200,
}
MONTH = Period(1793491200, 1796083200)


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


def one(reason: str = "Overspend", micrograms: int = -5, source: str = "s", **budget: object) -> dict[str, Any]:
    return {"budget": PERIOD | budget, "reason": reason, "source": source, "micrograms": micrograms}


async def send(face: Face, *groups: list[dict[str, Any]], by: str = "user:controller@*") -> httpx.Response:
    body = {"groups": [{"adjustments": group} for group in groups], "budgets": [PERIOD]}
    return await face.client.post("/v1/adjustments", json=body, headers={"Authorization": f"Bearer {by}"})


async def booked(face: Face, *groups: list[dict[str, Any]]) -> list[tuple[str, int]]:
    answer = await send(face, *groups)
    assert answer.status_code == 200, answer.text
    return [(each["source"], each["micrograms"]) for each in answer.json()["adjustments"]]


async def test_what_is_booked_is_answered_and_the_first_stays(face: Face) -> None:
    assert await booked(face, [one()]) == [("s", -5)]
    assert await booked(face, [one(micrograms=-9)], [one(source="t", micrograms=-1)]) == [("s", -5), ("t", -1)]
    assert await booked(face) == [("s", -5), ("t", -1)]
    (first, _) = (await send(face)).json()["adjustments"]
    assert first["booked_at"] == NOW


async def test_both_sides_of_a_transfer_are_booked(face: Face) -> None:
    pair = [one("TransferOut", -7, "uid"), one("TransferIn", 7, "uid", namespace="team-b")]
    assert await booked(face, pair) == [("uid", -7)]


@pytest.mark.parametrize("who", ["user:lead@*", "user:dev@team-a", "pod:team-a/p/uid"])
async def test_nobody_but_the_operator_books_or_reads(face: Face, who: str) -> None:
    answer = await send(face, [one("Credit", 5)], by=who)
    assert answer.status_code == 403
    assert "operator_accounts" in answer.text
    assert await booked(face) == []


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ([one("TransferIn", 7)], "a transfer has two sides"),
        ([one("TransferOut", -7, "u"), one("TransferIn", 8, "u", name="b")], "must add up to 0"),
        ([one("TransferOut", -7, "u"), one("TransferIn", 7, "v", name="b")], "must have one source"),
        ([one("TransferOut", -7, "u"), one("TransferOut", -7, "u", name="b")], "a transfer has two sides"),
        ([one("TransferOut", 7, "u"), one("TransferIn", -7, "u", name="b")], "cannot be"),
        ([one("CarryOver", -1)], "CarryOver cannot be below 0"),
        ([one("Credit", -1)], "Credit cannot be below 0"),
        ([one(), one()], "two adjustments of a group have one key"),
        ([one(), one(name="other")], "is about one budget and one period"),
        ([one(period_end=1793491200)], "period_end must be after period_start"),
        ([one(micrograms=-(2**63))], "greater than or equal"),
        ([one(reason="Gift")], "Input should be"),
        ([one(source="")], "at least 1 character"),
        ([], "at least 1 item"),
    ],
)
async def test_what_cannot_be_true_is_refused_with_a_sentence(
    face: Face, group: list[dict[str, Any]], why: str
) -> None:
    answer = await send(face, group)
    assert answer.status_code == 400
    assert why in answer.text
    assert await booked(face) == []


class Wire:
    """The server as the controller's book asks it; whether it answers."""

    def __init__(self, face: Face) -> None:
        self.face, self.up = face, True

    async def adjustments(self, request: AdjustmentsRequest) -> AdjustmentsAnswer:
        if not self.up:
            raise ServerUnavailable("the server does not answer")
        headers = {"Authorization": "Bearer user:controller@*", "Content-Type": "application/json"}
        answer = await self.face.client.post("/v1/adjustments", content=request.model_dump_json(), headers=headers)
        assert answer.status_code == 200, answer.text
        return AdjustmentsAnswer.model_validate_json(answer.content)


async def test_the_controllers_book_books_once_and_knows_what_the_server_has(face: Face) -> None:
    wire, period = Wire(face), BudgetPeriod.model_validate(PERIOD)
    first, second = AdjustmentBook(wire), AdjustmentBook(wire)
    group = AdjustmentGroup.model_validate({"adjustments": [one()]})
    assert not first.known()
    first.propose(group)
    first.propose(group)
    wire.up = False
    with pytest.raises(ServerUnavailable):
        await first.refresh([period])
    assert (first.known(), first.proposes, first.trouble) == (False, True, "the server does not answer")
    wire.up = True
    await first.refresh([period])
    second.propose(AdjustmentGroup.model_validate({"adjustments": [one(micrograms=-9)]}))
    await second.refresh([period])
    for book in (first, second):
        assert [each.micrograms for each in book.booked("team-a", "monthly", MONTH)] == [-5]
        assert not book.proposes
    assert first.knows("team-a", "monthly", MONTH)
    assert not first.knows("team-a", "other", MONTH)


async def test_a_week_that_begins_with_a_month_has_none_of_its_adjustments(face: Face) -> None:
    book, week = AdjustmentBook(Wire(face)), Period(MONTH.start, MONTH.start + 7 * 86_400)
    book.propose(AdjustmentGroup.model_validate({"adjustments": [one()]}))
    asked = [BudgetPeriod.model_validate(PERIOD | {"period_end": end}) for end in (MONTH.end, week.end)]
    await book.refresh(asked)
    assert [each.micrograms for each in book.booked("team-a", "monthly", MONTH)] == [-5]
    assert book.knows("team-a", "monthly", week)
    assert book.booked("team-a", "monthly", week) == ()


async def test_more_budgets_than_one_request_may_name_are_asked_for_in_parts(face: Face) -> None:
    book = AdjustmentBook(Wire(face))
    asked = [BudgetPeriod.model_validate(PERIOD | {"name": f"b{number}"}) for number in range(2_100)]
    for period in (asked[0], asked[-1]):
        book.propose(AdjustmentGroup.model_validate({"adjustments": [one() | {"budget": period.model_dump()}]}))
    await book.refresh(asked)
    found = [period.name for period in asked if book.booked("team-a", period.name, MONTH)]
    assert found == ["b0", "b2099"]
