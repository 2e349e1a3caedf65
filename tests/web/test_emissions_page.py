"""What the page of emissions shows."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.controller.api_server import eventually
from tests.web.page_world import Everybody, World, client, shown, text_of

from carbonbudget_operator.web import page_questions, page_turns
from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import AnswerTooLarge, ApiAnswer, PageCaller
from carbonbudget_operator.web.pages import emissions_page


async def test_emissions_have_share_and_change_against_the_window_before() -> None:
    world = World()
    text = text_of((await shown("/emissions?window=30d&by=namespace&step=day", world)).text)
    assert re.search(r"team-a \S+g \d+(\.\d)? % [+±-]\d+ %", text)
    whole, steps = world.asked
    assert whole[1]["compare"] == "previous"
    assert whole[1]["step"] == "all"
    assert steps[1]["step"] == "day"
    assert {query["window"] for _, query, _, _ in world.asked} == {"30d"}


async def test_emissions_by_a_label_ask_for_that_label() -> None:
    world = World()
    assert (await shown("/emissions?by=label&label=team", world)).status_code == 200
    assert world.asked[0][1]["by"] == "label:team"
    assert (await shown("/emissions?by=label", world)).status_code == 400


@pytest.mark.parametrize("namespaces", [None, ["team-a"]])
async def test_nodes_are_offered_to_those_who_may_see_them(namespaces: list[str] | None) -> None:
    class Answering(World):
        def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
            found = super()._answer(path, query)
            return found and found | {"namespaces": namespaces}

    offered = re.findall(r'<option value="(\w+)"', (await shown("/emissions", Answering())).text)
    assert ("workload" in offered, "node" in offered) == (True, namespaces is None)


async def test_a_namespace_leads_to_its_workloads_and_idle_energy_to_nothing() -> None:
    html = (await shown("/emissions?window=30d")).text
    assert "by=workload&amp;step=day&amp;accounting=LocationBased&amp;filter=namespace%3Dteam-a" in html
    assert "filter=namespace%3D__idle__" not in html
    assert "(idle, charged to nobody)" in html


async def test_the_same_question_is_a_csv_file() -> None:
    world = World()
    html = (await shown("/emissions?window=30d&by=workload")).text
    address = re.search(r'href="(/emissions\.csv\?[^"]+)"', html)
    assert address is not None
    answer = await shown(address[1].replace("&amp;", "&"), world)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="emissions.csv"'
    assert world.asked[0][1]["by"] == "workload"
    assert (await shown("/emissions.exe")).status_code == 404


async def test_too_many_bars_are_not_drawn_and_the_table_stays() -> None:
    class Many(World):
        def _answer(self, path: str, query: object) -> dict[str, object] | None:
            answer = super()._answer(path, query)  # type: ignore[arg-type] # as it came
            return (
                {**answer, "next": "more"} if answer and isinstance(query, dict) and query["step"] == "day" else answer
            )

    html = (await shown("/emissions", Many())).text
    assert "too many bars" in html
    assert 'class="chart bars"' not in html
    assert "team-a" in html


async def test_a_table_that_is_cut_says_so_and_no_answer_is_asked_for_in_more_than_10_000_rows() -> None:
    class Cut(World):
        def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
            answer = super()._answer(path, query)
            return {**answer, "next": "more"} if answer and query["step"] == "all" else answer

    world = Cut()
    text = text_of((await shown("/emissions", world)).text)
    assert "more than 10,000 groups: the table has the largest of the first 10,000" in text
    assert {query["limit"] for _, query, _, _ in world.asked} == {"10000"}
    assert "10,000" not in text_of((await shown("/emissions")).text)


async def test_answers_of_emissions_are_parsed_and_added_up_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def seen(made: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            threads.append(threading.current_thread())
            return made(*given)

        return call

    monkeypatch.setattr(page_questions, "parse_object", seen(page_questions.parse_object))
    for name in ("emission_table", "emission_bars"):
        monkeypatch.setattr(emissions_page, name, seen(getattr(emissions_page, name)))
    assert (await shown("/emissions")).status_code == 200
    assert (len(threads), threading.main_thread() in threads) == (4, False)


class Slow(World):
    """Answers come when `go_on` is set; that those to people named large are too large for a small page, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        found = await super().get(path, query, caller, etag)
        if most_bytes is not None and caller.name.startswith("large"):
            raise AnswerTooLarge(most_bytes)
        await self.go_on.wait()
        return found


@dataclass
class Opening:
    """People who open the page of emissions."""

    asking: httpx.AsyncClient
    world: Slow
    everybody: Everybody

    async def opened(self, name: str) -> int:
        self.everybody.caller = PageCaller(name)
        return (await self.asking.get("/emissions")).status_code

    async def waits(self, name: str) -> asyncio.Task[int]:
        """A page of which the last questions are asked, and not answered."""
        asked = len(self.world.asked) + (4 if name.startswith("large") else 2)
        task = asyncio.create_task(self.opened(name))
        await eventually(lambda: len(self.world.asked) == asked)
        return task


@pytest.fixture
async def opening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opening]:
    monkeypatch.setattr(page_turns, "_SECONDS", 0.2)
    world, everybody = Slow(), Everybody()
    async with client(make_app(world, everybody)) as asking:
        yield Opening(asking, world, everybody)
        world.go_on.set()


@pytest.mark.parametrize(("kind", "most", "each"), [("small", 4, 2), ("large", 2, 1)])
async def test_so_many_pages_of_all_and_of_each_user_are_made_at_once(
    opening: Opening, kind: str, most: int, each: int
) -> None:
    made = [await opening.waits(f"{kind}-ann") for _ in range(each)]
    assert await opening.opened(f"{kind}-ann") == 503
    made += [await opening.waits(f"{kind}-{number}") for number in range(most - each)]
    assert await opening.opened(f"{kind}-cem") == 503
    opening.world.go_on.set()
    assert set(await asyncio.gather(*made)) == {200}
    assert await opening.opened(f"{kind}-cem") == 200


async def test_large_pages_that_wait_keep_no_small_page_waiting(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await opening.waits(f"large-{number}") for number in range(2)]
    monkeypatch.setattr(page_turns, "_SECONDS", 20.0)
    asked = len(opening.world.asked)
    made += [asyncio.create_task(opening.opened(f"large-{number}")) for number in range(2, 8)]
    await eventually(lambda: len(opening.world.asked) == asked + 12)
    small = await opening.waits("small")
    opening.world.go_on.set()
    assert set(await asyncio.gather(small, *made)) == {200}


async def test_a_page_that_was_large_is_asked_for_among_the_large_ones_until_it_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    async with client(make_app(world, Everybody())) as asking:

        async def questions(path: str, small_bytes: int) -> int:
            monkeypatch.setattr(page_turns, "_SMALL_BYTES", small_bytes)
            before = len(world.asked)
            assert (await asking.get(path)).status_code == 200
            return len(world.asked) - before

        assert await questions("/emissions", 10) in (3, 4)  # the first answer that is too large ends the other
        assert await questions("/emissions", 10) == 2
        assert await questions("/emissions?window=24h", 10) in (3, 4)
        assert await questions("/emissions", 2**20) == 2
        assert await questions("/emissions", 10) in (3, 4)


async def test_market_based_emissions_are_asked_for_and_shown() -> None:
    world = World()
    html = (await shown("/emissions?accounting=MarketBased", world)).text
    assert world.asked[0][1]["accounting"] == "MarketBased"
    assert "Emissions, market-based" in html


async def test_the_emissions_page_has_the_share_of_energy_without_required_labels() -> None:
    html = (await shown("/emissions")).text
    assert "7.5 % of the pods' energy: 2.5 % without team, 7.5 % without project" in text_of(html).replace("&#39;", "'")


async def test_an_unchanged_page_is_a_304_that_costs_no_rendering_and_another_question_is_not() -> None:
    world = World()
    first = await shown("/emissions?window=7d", world)
    again = await shown("/emissions?window=7d", world, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    world.names = (*world.names, "team-new")
    changed = await shown("/emissions?window=7d", world, **{"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "team-new" in changed.text


@pytest.mark.parametrize("tag", ['"AAAA"', "*", '"' + "x" * 5000 + '"', '"W10="', '"WyJhXHJcbmIiXQ=="'])
async def test_a_tag_that_is_none_of_ours_is_a_page(tag: str) -> None:
    world = World()
    answer = await shown("/emissions?step=all", world, **{"If-None-Match": tag})
    assert answer.status_code == 200
    assert all(etag is None for _, _, _, etag in world.asked)


@pytest.mark.parametrize("query", ["window=" + "x" * 3000, "filter=" + "y" * 5000, "step=minute", "by=label"])
async def test_a_question_that_is_none_gets_a_sentence(query: str) -> None:
    answer = await shown(f"/emissions?{query}")
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


async def test_costs_are_shown_where_the_settings_have_a_price_and_nowhere_else() -> None:
    class Priced(World):
        def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
            answer = super()._answer(path, query)
            if answer and path == "/api/v1/emissions":
                answer["currency"] = "EUR"
                for row in (answer["total"], *answer["rows"]):
                    row |= {"location_cost": 1234.5, "market_cost": 2.25, "energy_cost": 0.0123}
            return answer

    text = text_of((await shown("/emissions", Priced())).text)
    assert "Cost 1,234.50 EUR of the CO2e, 0.0123 EUR of the energy" in text
    assert "Cost of CO2e of energy" in text
    assert "2.25 EUR" in text_of((await shown("/emissions?accounting=MarketBased", Priced())).text)
    assert "Cost" not in text_of((await shown("/emissions")).text)
