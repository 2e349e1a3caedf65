"""The page in a real browser: accessible, without a violation of its policy, and whole without JavaScript."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response
from tests.web.budget_answers import budget_row
from tests.web.page_world import HOSTILE, Everybody, World, served
from tests.web.target_answers import target_row

from carbonbudget_operator.web.app import make_app

PAGES = (
    "/budgets", "/budgets/team-a/monthly", "/budgets/team-b/runs", "/cluster-budgets/company", "/emissions?window=30d",
    "/targets", "/targets/team-a/chat-tokens", "/targets/team-b/batch-images", "/targets/team-d/new",
    "/emissions?by=label:team&step=all", "/emissions?by=model", "/runs", "/runs/team-a/exp-0", "/grid", "/data",
    "/nowhere",
)  # fmt: skip
MOST_BYTES = 150_000
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_COUNT_VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(make_app(World(now=int(time.time())), Everybody(sign_out="/sign-out"))) as base:
        yield base


# Not wait_for_function: from its second look on it uses eval, which the page's policy refuses.
_HTMX_IS_THERE = """() => new Promise((done, fail) => {
  setTimeout(() => fail(new Error("htmx was not loaded within 30 s")), 30000);
  const look = () => window.htmx === undefined ? setTimeout(look, 20) : done(true);
  look();
})"""


@contextmanager
def opened(browser: Browser, url: str, width: int = 1200, **given: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what its console said."""
    context = browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=False, **given)
    said: list[str] = []
    try:
        context.add_init_script(_COUNT_VIOLATIONS)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        yield page, said
    finally:
        context.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 320)])
def test_each_page_is_accessible_in_light_dark_and_narrow(
    chromium: Browser, axe: str, address: str, path: str, scheme: str, width: int
) -> None:
    with opened(chromium, address + path, width, color_scheme=scheme) as (page, _):
        page.evaluate(axe)
        found = page.evaluate(
            "rules => axe.run({runOnly: rules}).then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))",
            _RULES,
        )
        assert found == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PAGES[:-1])
def test_no_page_violates_its_policy_or_writes_to_the_console(chromium: Browser, address: str, path: str) -> None:
    with opened(chromium, address + path) as (page, said):
        page.evaluate(_HTMX_IS_THERE)
        assert page.evaluate("violations") == []
        assert said == []


@pytest.mark.parametrize("path", PAGES[:-1])
def test_a_page_with_all_its_files_weighs_less_than_150_kb(chromium: Browser, address: str, path: str) -> None:
    with opened(chromium, "about:blank") as (page, _):
        responses: list[Response] = []
        page.on("response", lambda response: responses.append(response))
        page.goto(address + path, wait_until="networkidle")
        weights = [len(response.body()) for response in responses]
        assert len(weights) >= 3  # page, style sheet, script
        assert sum(weights) < MOST_BYTES


def test_a_page_is_the_same_without_javascript(chromium: Browser, address: str) -> None:
    with opened(chromium, f"{address}/emissions?window=30d", java_script_enabled=False) as (page, _):
        page.locator("select[name=by]").select_option("workload")
        page.get_by_role("button", name="Show").click()
        assert "by=workload" in page.url
        assert "window=30d" in page.url
        page.get_by_role("link", name="Budgets").click()
        page.get_by_role("link", name="training").click()
        assert page.get_by_role("heading", level=1).inner_text() == "training"


def test_a_namespace_leads_to_its_workloads_and_back(chromium: Browser, address: str) -> None:
    with opened(chromium, f"{address}/emissions") as (page, _):
        page.get_by_role("link", name="team-a").click()
        assert "filter=namespace%3Dteam-a" in page.url
        assert page.get_by_role("heading", name="By workload").is_visible()
        page.get_by_role("link", name="Remove the filter namespace=team-a").click()
        assert page.get_by_role("heading", name="By namespace").is_visible()


def test_the_keyboard_reaches_every_link_and_field_in_the_order_of_the_page(chromium: Browser, address: str) -> None:
    with opened(chromium, f"{address}/budgets") as (page, _):
        reached = []
        for _ in range(60):
            page.keyboard.press("Tab")
            where = page.evaluate("(document.activeElement.name || document.activeElement.innerText || '').trim()")
            if reached and where == reached[0]:
                break
            reached.append(where)
        assert reached[0] == "Skip to content"
        wanted = ["Budgets", "Targets", "Emissions", "Sign out", "namespace", "Show", "training", "monthly", "runs"]
        places = [reached.index(one) for one in wanted]
        assert places == sorted(places)


def test_the_page_refreshes_itself_each_minute_and_an_unchanged_answer_moves_nothing(chromium: Browser) -> None:
    world = World(now=int(time.time()))
    with served(make_app(world, Everybody())) as base, opened(chromium, "about:blank") as (page, said):
        page.clock.install()
        page.goto(f"{base}/emissions?step=all")
        page.evaluate(_HTMX_IS_THERE)
        page.evaluate("document.getElementById('live').firstElementChild.id = 'mark'")
        with page.expect_response("**/emissions*") as unchanged:
            page.clock.fast_forward(61_000)
        assert unchanged.value.status == 304
        assert page.locator("#mark").count() == 1
        assert page.get_by_role("link", name="team-new").count() == 0
        world.names = (*world.names, "team-new")
        with page.expect_response("**/emissions*") as changed:
            page.clock.fast_forward(61_000)
        assert changed.value.status == 200
        page.get_by_role("link", name="team-new").wait_for()
        with page.expect_response("**/emissions*") as again:  # by the new answer's tag
            page.clock.fast_forward(61_000)
        assert again.value.status == 304
        assert (said, page.evaluate("violations")) == ([], [])


def test_a_page_says_when_the_server_went_away_and_comes_back_by_itself(chromium: Browser) -> None:
    world = World(now=int(time.time()))
    with served(make_app(world, Everybody())) as base, opened(chromium, "about:blank") as (page, _):
        page.clock.install()
        page.goto(f"{base}/emissions")
        page.evaluate(_HTMX_IS_THERE)
        world.down = "The server does not answer just now."
        page.clock.fast_forward(61_000)
        page.get_by_text(world.down).wait_for()
        world.down = ""
        page.clock.fast_forward(61_000)
        page.get_by_role("link", name="team-a").wait_for()
        assert page.evaluate("violations") == []


@pytest.mark.parametrize(
    "path", ["/budgets", "/targets", "/targets/team-a/t", "/emissions", "/emissions?by=label:team"]
)
def test_hostile_names_run_nothing_in_the_browser(chromium: Browser, path: str) -> None:
    world = World(names=HOSTILE, now=int(time.time()))
    world.budgets = [budget_row(name, "team-a", message=name, contact=name) for name in HOSTILE]
    hostile = dict.fromkeys(("message", "unit", "source", "selector"), HOSTILE[0])
    world.targets = [target_row("t", "team-a", **hostile), *(target_row(name, "team-a", unit=name) for name in HOSTILE)]
    with served(make_app(world, Everybody(HOSTILE[0]))) as base, opened(chromium, base + path, 320) as (page, said):
        asked: list[str] = []
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        page.evaluate(_HTMX_IS_THERE)
        assert (asked, said, page.evaluate("violations")) == ([], [], [])
        assert page.locator("main img, main script, svg[onload]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
