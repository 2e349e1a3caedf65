"""Reviews take turns by address; where there is no place left, the address with the most waiting loses one."""

from __future__ import annotations

import asyncio

import pytest

from carbonbudget_operator.kube.review_turns import AccessUnavailable, ReviewTurns


class Reviews:
    """Reviews that end when they are told to."""

    def __init__(self, turns: ReviewTurns) -> None:
        self.turns, self.begun = turns, list[str]()
        self._go_on = asyncio.Semaphore(0)

    def ask(self, address: str) -> asyncio.Task[None]:
        async def review() -> None:
            async with self.turns.turn(address):
                self.begun.append(address)
                await self._go_on.acquire()

        return asyncio.create_task(review())

    async def settle(self, ended: int = 0) -> None:
        for _ in range(ended):
            self._go_on.release()
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def places(self) -> int:
        return self.turns._running + self.turns._queued


async def test_an_address_with_one_waits_for_one_of_each_other_address() -> None:
    reviews = Reviews(ReviewTurns(100, 100, 1))
    asked = [reviews.ask(address) for address in ["a"] * 5 + ["b"] * 5]
    await reviews.settle()
    asked += [reviews.ask("c"), reviews.ask("d")]
    await reviews.settle(12)
    await asyncio.gather(*asked)
    assert reviews.begun[:6] == ["a", "a", "b", "c", "d", "a"]
    assert reviews.places == 0
    assert not reviews.turns._of


async def test_the_address_with_the_most_waiting_loses_its_newest_and_no_other_is_refused() -> None:
    reviews = Reviews(ReviewTurns(6, 100, 1))
    of_a = [reviews.ask("a") for _ in range(6)]
    await reviews.settle()
    of_b = [reviews.ask("b") for _ in range(2)]
    await reviews.settle()
    assert [task.done() for task in of_a] == [False, False, False, False, True, True]
    assert isinstance(of_a[5].exception(), AccessUnavailable)
    with pytest.raises(AccessUnavailable):
        await reviews.ask("a")
    assert reviews.places == 6
    await reviews.settle(6)
    await asyncio.gather(*of_a[:4], *of_b)
    assert reviews.places == 0


async def test_an_address_has_a_limit_of_its_own() -> None:
    reviews = Reviews(ReviewTurns(100, 3, 1))
    asked = [reviews.ask("a") for _ in range(3)]
    await reviews.settle()
    with pytest.raises(AccessUnavailable):
        await reviews.ask("a")
    await reviews.settle(3)
    await asyncio.gather(*asked)


@pytest.mark.parametrize("steps", range(8))
async def test_one_that_is_cancelled_leaves_its_place_at_whatever_moment(steps: int) -> None:
    reviews = Reviews(ReviewTurns(100, 100, 1))
    first, second = reviews.ask("a"), reviews.ask("a")
    await reviews.settle()
    reviews._go_on.release()
    for _ in range(steps):  # the first ends, and then the turn of the second comes
        await asyncio.sleep(0)
    second.cancel()
    third = reviews.ask("b")
    await reviews.settle(2)
    await asyncio.gather(first, third)
    assert reviews.begun[-1] == "b"
    assert second.cancelled()
    assert reviews.places == 0


async def test_one_that_is_cancelled_while_it_waits_or_runs_leaves_its_place() -> None:
    reviews = Reviews(ReviewTurns(2, 2, 1))
    for which in (0, 1):
        asked = [reviews.ask("a"), reviews.ask("a")]
        await reviews.settle()
        asked.pop(which).cancel()
        await reviews.settle(1)
        await asyncio.gather(*asked)
        assert reviews.places == 0
