"""Signing in and out with a token, and every request that is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from tests.web.signed_in import HOST, HOUR, NOW, ORIGIN, Page

from carbonbudget_operator.web.session_cookie import COOKIE_NAME, MOST_TOKEN_BYTES, Session


async def test_who_is_not_signed_in_gets_the_sign_in_page_and_the_server_is_not_asked() -> None:
    page = Page()
    answer = await page.browser.get("/grid", params={"q": '"><script>'})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "<form" in answer.text
    assert "<script>" not in answer.text
    assert page.gateway.asked == []


async def test_a_token_that_the_server_accepts_signs_in_and_goes_with_each_question() -> None:
    page = Page()
    answer = await page.sign_in("token-ann", "/grid?window=7d")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/grid?window=7d")
    assert (await page.browser.get("/grid")).status_code == 200
    assert {token for _, token in page.gateway.asked} == {"token-ann"}
    assert page.counted("sign_ins", outcome="signed_in") == 1


async def test_the_cookie_is_kept_from_scripts_other_hosts_and_plain_http() -> None:
    page = Page()
    header = (await page.sign_in("token-ann")).headers["Set-Cookie"]
    value, *attributes = header.split("; ")
    assert value.startswith("__Host-carbonbudget=")
    assert {one.lower() for one in attributes} == {
        "httponly",
        f"max-age={8 * HOUR}",
        "path=/",
        "samesite=lax",
        "secure",
    }
    assert "token-ann" not in header


async def test_the_token_is_in_no_page() -> None:
    page = Page()
    signed_in = await page.sign_in("token-ann")
    assert "token-ann" not in signed_in.text + (await page.browser.get("/grid")).text
    refused = await page.sign_in("wrong-token")
    assert "wrong-token" not in refused.text


async def test_signing_out_takes_the_cookie_away() -> None:
    page = Page()
    await page.sign_in("token-ann")
    answer = await page.browser.post("/signout", headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signin")
    assert page.cookie() is None
    assert (await page.browser.get("/grid")).status_code == 401


async def test_a_token_that_the_server_refuses_is_answered_with_the_server_s_reason() -> None:
    page = Page()
    answer = await page.sign_in("wrong")
    assert answer.status_code == 401
    assert "expired, invalid, or not for the audience" in answer.text
    assert page.cookie() is None
    assert page.counted("sign_ins", outcome="refused") == 1


@pytest.mark.parametrize("token", ["", " ", "two words", "a\r\nX-Remote-User: admin", "t\u00f6ken", "a;b", "token\x00"])
async def test_what_is_no_token_is_not_sent_to_the_server(token: str) -> None:
    page = Page()
    answer = await page.sign_in(token)
    assert (answer.status_code, "paste a token" in answer.text) == (400, True)
    assert page.gateway.asked == []


async def test_spaces_around_a_pasted_token_do_not_matter() -> None:
    assert (await Page().sign_in(" token-ann\n")).status_code == 303


async def test_a_token_that_no_cookie_holds_is_refused() -> None:
    answer = await Page().sign_in("token-" + "a" * MOST_TOKEN_BYTES)
    assert (answer.status_code, "does not fit into a cookie" in answer.text) == (400, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://" + HOST},
        {"Origin": ORIGIN, "Sec_Fetch_Site": "cross-site"},
        {"Origin": ORIGIN, "Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_form_of_another_site_signs_nobody_in_or_out(headers: dict[str, str]) -> None:
    page = Page()
    await page.sign_in("token-ann")
    sealed, asked = page.cookie(), len(page.gateway.asked)
    answer = await page.sign_in("token-bob", **headers)
    assert (answer.status_code, "not sent by this page" in answer.text) == (403, True)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await page.browser.post("/signout", headers=sent)
    assert (answer.status_code, page.cookie(), len(page.gateway.asked)) == (403, sealed, asked)
    assert page.counted("sign_ins", outcome="forged") == 1


async def test_a_link_signs_nobody_in_or_out() -> None:
    page = Page()
    await page.sign_in("token-ann")
    assert (await page.browser.get("/signout")).status_code == 405
    answer = await page.browser.get("/signin", params={"token": "token-bob"})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)


@pytest.mark.parametrize("path", ["/", "/grid", "/signin", "/static/page.css", "/none"])
@pytest.mark.parametrize("host", ["evil.example", f"{HOST}.evil.example", "", "192.0.2.7:8443"])
async def test_a_request_for_another_host_is_refused_in_one_line(path: str, host: str) -> None:
    page = Page()
    answer = await page.browser.get(path, headers={"Host": host})
    assert (answer.status_code, "web.hosts" in answer.text, answer.text.count("\n")) == (421, True, 0)
    assert page.counted("hosts_refused") == 1


async def test_the_probes_need_no_host_and_the_page_is_ready_when_the_server_can_be_verified() -> None:
    page = Page()
    page.gateway.trouble = "The server does not answer."
    for path in ("/healthz", "/readyz"):
        assert (await page.browser.get(path, headers={"Host": "192.0.2.7:8443"})).status_code == 200
    page.ready = False
    assert (await page.browser.get("/readyz")).status_code == 503
    assert (await page.browser.get("/healthz")).status_code == 200


@pytest.mark.parametrize(("later", "reason"), [(8 * HOUR - 1, ""), (8 * HOUR, "the session has ended: sign in again")])
async def test_a_session_that_is_over_gets_the_sign_in_page_with_one_line(later: int, reason: str) -> None:
    page = Page()
    await page.sign_in("token-ann")
    sealed = page.cookie()
    page.now = NOW + later
    answer = await page.a_browser().get("/grid", headers={"Cookie": f"{COOKIE_NAME}={sealed}"})
    assert answer.status_code == (401 if reason else 200)
    assert alerts(answer.text) == ([reason] if reason else [])


async def test_a_cookie_that_was_altered_or_is_of_another_server_is_refused_and_deleted() -> None:
    page, other = Page(), Page()
    await page.sign_in("token-ann")
    sealed = page.cookie()
    assert sealed is not None
    place = len(sealed) // 2
    altered = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
    of_another = other.sealer.seal(Session("token-ann", "ann", NOW + HOUR), NOW)
    asked = len(page.gateway.asked)
    for wrong in (altered, of_another, sealed[:-8], "x", '""'):
        answer = await page.a_browser().get("/grid", headers={"Cookie": f"{COOKIE_NAME}={wrong}"})
        assert (answer.status_code, len(page.gateway.asked)) == (401, asked)
        assert len(alerts(answer.text)) == 1
        assert "not one of this server" in answer.text
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert page.counted("sessions_refused") == 5


async def test_a_cookie_that_another_host_could_set_is_not_read() -> None:
    page = Page()
    await page.sign_in("token-ann")
    answer = await page.a_browser().get("/grid", headers={"Cookie": f"carbonbudget={page.cookie()}"})
    assert answer.status_code == 401


async def test_a_part_of_a_page_makes_the_browser_load_the_whole_page_to_sign_in() -> None:
    answer = await Page().browser.get("/grid", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Refresh"], answer.text) == (401, "true", "")


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "evil", "/a b", "/a\nb",
     "/\t/evil.example", "/" + "a" * 3_000],
)  # fmt: skip
async def test_signing_in_leads_to_no_other_site(place: str) -> None:
    assert (await Page().sign_in("token-ann", place)).headers["Location"] == "/"


async def test_failed_sign_ins_are_limited_for_an_address_and_a_sign_in_is_none() -> None:
    page = Page(each=3)
    for _ in range(10):
        assert (await page.sign_in("token-ann")).status_code == 303
    assert [(await page.sign_in("wrong")).status_code for _ in range(4)] == [401, 401, 401, 429]
    limited = await page.sign_in("token-ann")
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert (await page.sign_in("token-ann", browser=page.a_browser("192.0.2.2"))).status_code == 303
    asked = len(page.gateway.asked)
    await page.sign_in("wrong")
    assert len(page.gateway.asked) == asked
    page.now += 60
    assert (await page.sign_in("token-ann")).status_code == 303


def until_asked(page: Page, often: int) -> Callable[[], Awaitable[None]]:
    """The server answers nobody before so many have asked."""

    async def wait() -> None:
        async with asyncio.timeout(10):
            while len(page.gateway.asked) < often:  # noqa: ASYNC110 - the list wakes nobody
                await asyncio.sleep(0)

    return wait


async def test_fifty_people_behind_one_address_sign_in_at_once() -> None:
    """Behind an ingress all have its address. None of them failed, so none is refused."""
    page = Page(in_all=100, each=20)

    page.gateway.before = until_asked(page, 20)
    answers = await asyncio.gather(*(page.sign_in(f"token-{n}", browser=page.a_browser()) for n in range(50)))
    assert [answer.status_code for answer in answers] == [303] * 50
    assert page.gateway.most_at_once == 20


async def test_fifty_wrong_tokens_at_once_ask_the_server_as_often_as_one_after_the_other() -> None:
    page = Page(in_all=100, each=20)
    page.gateway.before = until_asked(page, 20)
    answers = await asyncio.gather(*(page.sign_in("wrong", browser=page.a_browser()) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [401] * 20 + [429] * 30
    assert len(page.gateway.asked) == 20
    limited = next(answer for answer in answers if answer.status_code == 429)
    assert f"try again in {limited.headers['Retry-After']} seconds" in limited.text


async def test_a_server_that_does_not_answer_shuts_nobody_out() -> None:
    page = Page(in_all=3, each=2)
    page.gateway.trouble = "The server does not answer."
    assert [(await page.sign_in("token-ann")).status_code for _ in range(5)] == [503] * 5
    page.gateway.trouble = ""
    assert (await page.sign_in("token-ann")).status_code == 303
    page.gateway.status = 503  # it answers, after it asked the API server: that counts
    assert [(await page.sign_in("token-ann")).status_code for _ in range(3)] == [503, 503, 429]


async def test_failed_sign_ins_are_limited_in_all() -> None:
    page = Page(in_all=4, each=3)
    found = [(await page.sign_in("wrong", browser=page.a_browser(f"192.0.2.{n}"))).status_code for n in range(6)]
    assert found == [401] * 4 + [429] * 2


async def test_who_is_signed_in_stays_so_while_sign_ins_are_limited() -> None:
    page = Page(in_all=1)
    await page.sign_in("token-ann")
    await page.sign_in("wrong")
    assert (await page.browser.get("/grid")).status_code == 200


async def test_a_header_that_states_an_address_is_not_believed() -> None:
    page = Page(each=1)
    codes = [(await page.sign_in("wrong", X_Forwarded_For=f"192.0.2.{n}")).status_code for n in range(3)]
    assert codes == [401, 429, 429]


async def test_headers_that_state_a_user_are_not_believed() -> None:
    headers = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters", "X-Forwarded-User": "admin"}
    page = Page()
    assert (await page.browser.get("/grid", headers=headers)).status_code == 401
    assert page.gateway.asked == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("token=" + "a" * 20_000, "application/x-www-form-urlencoded", 413),
        ('{"token": "token-ann"}', "application/json", 415),
        ("token=token-ann", "multipart/form-data; boundary=x", 415),
        ("token=\u00e9", "application/x-www-form-urlencoded", 400),
        ("&".join(f"f{n}=1" for n in range(50)), "application/x-www-form-urlencoded", 400),
    ],
)
async def test_what_is_no_short_form_is_refused(body: str, kind: str, status: int) -> None:
    page = Page()
    answer = await page.browser.post("/signin", content=body, headers={"Origin": ORIGIN, "Content-Type": kind})
    assert (answer.status_code, page.gateway.asked) == (status, [])


async def test_a_server_that_does_not_answer_is_named_and_nobody_is_signed_in() -> None:
    page = Page()
    page.gateway.trouble = "The server does not answer: try again in a minute."
    answer = await page.sign_in("token-ann")
    assert (answer.status_code, "does not answer" in answer.text, page.cookie()) == (503, True, None)
    page.gateway.trouble, page.gateway.status = "", 503
    answer = await page.sign_in("token-ann")
    assert (answer.status_code, "the server answered 503" in answer.text, page.cookie()) == (503, True, None)


def alerts(text: str) -> list[str]:
    return [found.replace("&#39;", "'") for found in re.findall(r'role="alert">([^<]*)<', text)]


async def test_each_answer_has_the_headers_that_protect_the_page() -> None:
    page = Page()
    await page.sign_in("token-ann")
    answers = [await page.browser.get(path) for path in ("/grid", "/signin", "/none", "/readyz")]
    answers += [await page.browser.get("/grid", headers={"Host": "evil.example"}), await page.sign_in("wrong")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 421, 401]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_page_has_a_button_to_sign_out_and_the_sign_in_form_has_none() -> None:
    page = Page()
    assert 'action="/signout"' not in (await page.browser.get("/grid")).text
    await page.sign_in("token-ann")
    assert '<form method="post" action="/signout">' in (await page.browser.get("/grid")).text


async def test_a_token_that_the_server_no_longer_accepts_shows_nothing_but_that() -> None:
    page = Page()
    await page.sign_in("token-ann")
    page.gateway.world.refused["/api/v1/"] = (401, "the token is expired, invalid, or not for the audience X")
    answer = await page.browser.get("/grid")
    assert answer.status_code == 401
    assert "Sign in again" in answer.text
    assert 'action="/signout"' in answer.text
