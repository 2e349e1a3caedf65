"""Signing in with a real browser at the real process, and a page of another site that tries it for the user."""

from __future__ import annotations

import asyncio
import html
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.web.page_world import served
from tests.web.test_browser import _COUNT_VIOLATIONS, _RULES
from tests.web.web_process import asked_server, web_process


@dataclass
class Served:
    """Where the process listens, and the tokens that its server was asked with."""

    base: str
    tokens: list[str]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory, ready, stop = tmp_path_factory.mktemp("web"), threading.Event(), asyncio.Event()
    found = Served("", [])
    loops: list[asyncio.AbstractEventLoop] = []

    async def run(directory: Path) -> None:
        loops.append(asyncio.get_running_loop())
        async with asked_server(directory) as server, web_process(directory, server.port) as process:
            server.tokens = found.tokens
            found.base = f"https://localhost:{process.port}"
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run(directory)), daemon=True)
    thread.start()
    assert ready.wait(90)
    yield found
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(30)


@pytest.fixture
def page(chromium: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page with its own cookies, and what its console said."""
    context = chromium.new_context(ignore_https_errors=True)
    context.add_init_script(_COUNT_VIOLATIONS)
    said: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened, said
    context.close()


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    press(page, "Sign in")


def press(page: Page, button: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=button).click()


def test_a_user_signs_in_with_the_keyboard_and_is_on_the_page_that_was_asked_for(
    web: Served, page: tuple[Page, list[str]]
) -> None:
    shown, said = page
    shown.goto(f"{web.base}/grid?window=3d")
    assert shown.get_by_role("heading", name="Sign in").is_visible()
    shown.keyboard.type("token-ann")  # the field has the focus
    with shown.expect_navigation():
        shown.keyboard.press("Enter")
    assert shown.url == f"{web.base}/grid?window=3d"
    assert shown.get_by_text("ann", exact=True).is_visible()
    assert shown.evaluate("document.cookie") == ""
    assert shown.evaluate("violations") == []
    press(shown, "Sign out")
    assert shown.url == f"{web.base}/signin"
    shown.goto(f"{web.base}/grid")
    assert shown.get_by_role("heading", name="Sign in").is_visible()
    assert [one for one in said if "401" not in one] == []  # Chromium reports the status of the form


def test_a_wrong_token_is_answered_in_one_line(web: Served, page: tuple[Page, list[str]]) -> None:
    shown, _ = page
    shown.goto(web.base)
    sign_in(shown, "wrong")
    assert shown.get_by_role("alert").inner_text() == "the token is expired"


def test_a_page_of_another_site_signs_nobody_in_or_out(web: Served, page: tuple[Page, list[str]]) -> None:
    shown, _ = page

    async def evil(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        action, field = scope["path"], '<input name="token" value="token-evil">'
        text = f'<form method="post" action="{html.escape(web.base + action)}">{field}<button>x</button></form>'
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    with served(evil) as other:
        shown.goto(f"{other}/signin")
        press(shown, "x")
        assert "not sent by this page" in shown.get_by_role("alert").inner_text()
        assert "token-evil" not in web.tokens
        shown.goto(f"{web.base}/grid")
        sign_in(shown, "token-ann")
        shown.goto(f"{other}/signout")
        press(shown, "x")
        assert "not sent by this page" in shown.get_by_role("alert").inner_text()
    shown.goto(f"{web.base}/grid")
    assert shown.get_by_role("button", name="Sign out").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 320)])
def test_the_sign_in_page_is_accessible(chromium: Browser, axe: str, web: Served, scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    context = chromium.new_context(ignore_https_errors=True, viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        shown = context.new_page()
        shown.goto(web.base)
        sign_in(shown, "wrong")
        assert shown.get_by_role("alert").is_visible()
        shown.evaluate(axe)
        found = shown.evaluate("rules => axe.run({runOnly: rules})", _RULES)
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        context.close()
