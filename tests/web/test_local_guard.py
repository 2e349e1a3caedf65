"""Who may open the page of `kubectl carbon ui`: one browser, by a code that is good once."""

from __future__ import annotations

import httpx
import pytest
from tests.web.page_world import World, client

from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.local_guard import LocalGuard, OwnOriginOnly

HOST = "127.0.0.1:4321"
BASE = f"http://{HOST}"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def local(clock: Clock | None = None) -> tuple[LocalGuard, httpx.AsyncClient, World]:
    guard, world = LocalGuard(HOST, PageCaller("me"), clock or Clock()), World()
    return guard, client(OwnOriginOnly(make_app(world, guard), HOST), BASE), world


async def test_the_code_opens_the_page_and_the_cookie_keeps_it_open() -> None:
    guard, browser, _ = local()
    async with browser:
        answer = await browser.get(guard.address)
        assert (answer.status_code, answer.headers["location"]) == (303, "/budgets")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "domain" not in cookie
        assert (await browser.get("/budgets")).status_code == 200
        assert (await browser.get("/emissions")).status_code == 200


async def test_the_code_is_good_once() -> None:
    guard = LocalGuard(HOST, PageCaller("me"), Clock())
    app, address = OwnOriginOnly(make_app(World(), guard), HOST), guard.address
    async with client(app, BASE) as browser, client(app, BASE) as thief:
        assert (await browser.get(address)).status_code == 303
        answer = await thief.get(address)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert (await thief.get("/budgets")).status_code == 401
        assert (await browser.get("/budgets")).status_code == 200


async def test_the_code_is_good_for_two_minutes() -> None:
    clock = Clock()
    guard, browser, _ = local(clock)
    clock.now += 121
    async with browser:
        answer = await browser.get(guard.address)
        assert answer.status_code == 403
        assert "older than two minutes" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/open", "/open?code=", "/open?code=None", "/open?code=wrong", "/open?code=%ff"])
async def test_a_wrong_code_opens_nothing_and_does_not_use_up_the_right_one(path: str) -> None:
    guard, browser, _ = local()
    async with browser:
        assert (await browser.get(path)).status_code == 403
        assert (await browser.get(guard.address)).status_code == 303


async def test_a_head_request_does_not_use_up_the_code() -> None:
    guard, browser, _ = local()
    async with browser:
        assert (await browser.head(guard.address)).status_code == 405
        assert (await browser.get(guard.address)).status_code == 303


@pytest.mark.parametrize("cookie", ["", "carbonbudget-ui-4321=", "carbonbudget-ui-4321=guess", "other=1"])
async def test_without_the_cookie_no_question_reaches_the_server(cookie: str) -> None:
    _, browser, world = local()
    async with browser:
        for path in ("/budgets", "/emissions", "/emissions.csv", "/grid", "/data", "/budgets/team-a/monthly"):
            answer = await browser.get(path, headers={"Cookie": cookie} if cookie else {})
            assert answer.status_code == 401
            assert "team-a" not in answer.text.replace(path, "")
    assert world.asked == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4321", "localhost:4321", "127.0.0.1", "127.0.0.1:80", ""]
)
async def test_a_name_that_resolves_to_this_machine_is_not_answered(host: str) -> None:
    """DNS rebinding: the browser has the cookie of 127.0.0.1, and the page of another host asks."""
    guard, browser, world = local()
    async with browser:
        assert (await browser.get(guard.address)).status_code == 303
        for path in ("/budgets", "/static/page.css", guard.address.removeprefix(BASE)):
            assert (await browser.get(path, headers={"Host": host})).status_code == 421
    assert world.asked == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:4322", "http://localhost:4321"])
async def test_a_page_of_another_origin_is_not_answered(origin: str) -> None:
    guard, browser, world = local()
    async with browser:
        await browser.get(guard.address)
        assert (await browser.get("/emissions", headers={"Origin": origin})).status_code == 403
        assert world.asked == []
        assert (await browser.get("/emissions", headers={"Origin": BASE})).status_code == 200


async def test_two_pages_on_one_machine_have_cookies_of_their_own() -> None:
    one, other = LocalGuard("127.0.0.1:1", PageCaller("a")), LocalGuard("127.0.0.1:2", PageCaller("a"))
    assert one.address != other.address
    async with client(make_app(World(), one), "http://127.0.0.1:1") as browser:
        first = (await browser.get(one.address)).headers["set-cookie"].split("=")[0]
    async with client(make_app(World(), other), "http://127.0.0.1:2") as browser:
        second = (await browser.get(other.address)).headers["set-cookie"].split("=")[0]
    assert first != second
