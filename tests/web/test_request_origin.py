"""Host, Origin and Sec-Fetch-Site: which requests are of this page, and which are of another site."""

from __future__ import annotations

import pytest

from carbonbudget_operator.web.request_origin import host_refusal, origin_refusal

HOSTS = ["carbon.example.org", "[::1]", "Localhost"]


@pytest.mark.parametrize(
    "host", ["carbon.example.org", "carbon.example.org:8443", "CARBON.example.org.", "[::1]:1", "localhost"]
)
def test_a_host_of_the_settings_is_served_on_any_port(host: str) -> None:
    assert host_refusal(host, HOSTS) == ""


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "carbon.example.org.evil.example", "carbon.example.org@evil.example", "127.0.0.1", "a b",
     "carbon.example.org:port", "carbon.example.org\n"],
)  # fmt: skip
def test_any_other_host_is_refused_in_one_line(host: str) -> None:
    reason = host_refusal(host, HOSTS)
    assert "add it to web.hosts" in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("origin", "fetch_site"),
    [
        ("https://carbon.example.org:8443", None),
        ("https://Carbon.example.org:8443", "same-origin"),
        ("null", "same-origin"),  # of a page with the Referrer-Policy `no-referrer`
        (None, "same-origin"),
    ],
)
def test_a_form_of_the_page_itself_is_accepted(origin: str | None, fetch_site: str | None) -> None:
    assert origin_refusal(origin, fetch_site, "carbon.example.org:8443") == ""


@pytest.mark.parametrize(
    ("origin", "fetch_site"),
    [
        (None, None),
        ("null", None),
        ("null", "cross-site"),
        ("https://evil.example", None),
        ("https://evil.example", "same-origin"),
        ("http://carbon.example.org", "same-origin"),
        ("https://carbon.example.org:8443", None),
        ("https://carbon.example.org.evil.example", None),
        ("https://carbon.example.org", "same-site"),
        ("https://carbon.example.org", "cross-site"),
        ("https://carbon.example.org", "none"),
    ],
)
def test_a_form_of_another_page_is_refused(origin: str | None, fetch_site: str | None) -> None:
    assert origin_refusal(origin, fetch_site, "carbon.example.org").startswith("the form was not sent by this page")
