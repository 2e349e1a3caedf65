"""`kubectl carbon ui` as a process against a small API server: opened by its code, ended by Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.cli.api_server import Asked, Said, api_server, kubeconfig, status
from tests.cli.kubectl_budgets import STATUS, an_object
from typer.testing import CliRunner

from carbonbudget_operator.cli.kubectl import app

PROXY = "/api/v1/namespaces/carbonbudget-system/services/https:carbonbudget-server:8443/proxy"
COMMAND = [sys.executable, "-c", "from carbonbudget_operator.cli.kubectl import main; main()", "ui"]
BUDGETS = "/apis/carbonbudget.dev/v1alpha1/"


def cluster(
    server: Callable[[Asked], Said], everywhere: bool = True, token: Said | None = None
) -> Callable[[Asked], Said]:
    """An API server with two budgets; `server` answers behind its proxy."""

    def answer(asked: Asked) -> Said:
        if asked.path.startswith(PROXY):
            return server(asked)
        if asked.path.endswith("/token"):
            return token or Said({"status": {"token": "minted"}}, 201)
        if asked.path == f"{BUDGETS}carbonbudgets" and not everywhere:
            return status(403, "Forbidden", "carbonbudgets is forbidden at the cluster scope")
        if asked.path.endswith("/carbonbudgets"):
            items = [an_object("monthly")] + ([an_object("weekly", "team-b")] if everywhere else [])
            return Said({"metadata": {}, "items": items})
        if asked.path.endswith("/carbonbudgets/monthly"):
            return Said(an_object("monthly"))
        if asked.path.endswith("/clustercarbonbudgets"):
            return status(403, "Forbidden", "clustercarbonbudgets is forbidden")
        if asked.path.endswith("/selfsubjectaccessreviews"):
            return Said({"status": {"allowed": False}}, 201)
        return status(404, "NotFound", f"{asked.path} was not found")

    return answer


def away(asked: Asked) -> Said:
    return status(503, "ServiceUnavailable", "no endpoints available for service")


def serving(asked: Asked) -> Said:
    if asked.path.endswith("/series"):
        rows = [{"end": f"2026-11-{day:02}T00:00:00Z", "cumulative_ug": str(day * 10**8)} for day in range(2, 20)]
        return Said({"data_through": "2026-11-24T00:00:00Z", "rows": rows})
    if asked.path.endswith("/whoami"):
        return Said({"user": "me", "groups": [], "all_namespaces": True, "namespaces": None})
    return Said({"detail": "you may not read this", "status": 403}, 403)


@contextmanager
def ui(path: Path, *args: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, and the address that it prints."""
    command = [*COMMAND, "--no-browser"]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(path), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/open\?code=\S+", line)
        assert found is not None, line + (
            process.stderr.read() if process.stderr and process.poll() is not None else ""
        )
        yield found[0], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@contextmanager
def opened(path: Path, *args: str) -> Iterator[httpx.Client]:
    """A browser that the code opened the page for."""
    with ui(path, *args) as (address, _), httpx.Client(base_url=address.partition("/open")[0], timeout=20) as browser:
        assert browser.get(address).headers["location"] == "/budgets"
        yield browser


def test_budgets_are_shown_by_view_rights_while_the_server_is_away(tmp_path: Path) -> None:
    with api_server(cluster(away), tmp_path, "team-a") as path, opened(path) as browser:
        page = browser.get("/budgets")
        assert page.status_code == 200
        assert "monthly" in page.text
        assert "weekly" in page.text
        one = browser.get("/budgets/team-a/monthly").text
        assert "In plain words" in one
        assert "The curve between start and now is not shown." in one
        assert "burn-up" in one
        emissions = browser.get("/emissions")
        assert emissions.status_code == 503
        assert "does not answer just now" in emissions.text


def test_one_namespace_is_shown_where_all_may_not_be_listed_and_the_page_says_so(tmp_path: Path) -> None:
    with api_server(cluster(away, everywhere=False), tmp_path, "team-a") as path, opened(path) as browser:
        page = browser.get("/budgets").text
        assert "monthly" in page
        assert "weekly" not in page
        assert "the right to list carbonbudgets in all namespaces is missing" in page


def test_the_right_that_is_missing_on_the_way_to_the_server_is_named(tmp_path: Path) -> None:
    refused = status(403, "Forbidden", 'cannot create resource "serviceaccounts/token"')
    with api_server(cluster(serving, token=refused), tmp_path, "team-a") as path, opened(path) as browser:
        assert browser.get("/budgets").status_code == 200
        for page in ("/emissions", "/grid"):
            answer = browser.get(page)
            assert answer.status_code == 403
            assert "The right to create serviceaccounts/token is missing" in answer.text


def test_a_refusal_of_the_server_is_its_own_sentence(tmp_path: Path) -> None:
    with api_server(cluster(serving), tmp_path, "team-a") as path, opened(path) as browser:
        answer = browser.get("/emissions")
        assert answer.status_code == 403
        assert "you may not read this" in answer.text


def test_the_server_gets_a_minted_token_of_the_named_account_and_never_the_kubeconfigs(tmp_path: Path) -> None:
    asked: list[Asked] = []

    def server(question: Asked) -> Said:
        asked.append(question)
        return serving(question)

    minted: list[str] = []
    answer = cluster(server)

    def api(question: Asked) -> Said:
        if question.path.endswith("/token"):
            minted.append(question.path)
            assert question.body["spec"]["audiences"] == ["carbonbudget-server"]
        return answer(question)

    with api_server(api, tmp_path, "team-a") as path, opened(path, "--service-account", "team-a/default") as browser:
        assert browser.get("/data").status_code == 200
        assert "me" in browser.get("/data").text
        curve = browser.get("/budgets/team-a/monthly").text
        assert "not shown" not in curve
    assert minted == ["/api/v1/namespaces/team-a/serviceaccounts/default/token"]  # kept between the pages
    assert {dict(one.headers)["X-Carbonbudget-Token"] for one in asked} == {"minted"}


def test_ctrl_c_ends_it_in_order_also_while_the_page_is_open(tmp_path: Path) -> None:
    with api_server(cluster(away), tmp_path, "team-a") as path, ui(path) as (address, process):
        with httpx.Client(base_url=address.partition("/open")[0]) as browser:
            browser.get(address)
            browser.get("/budgets")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert out.endswith("ended\n")
        assert err == ""


def test_it_listens_on_this_machine_alone(tmp_path: Path) -> None:
    with api_server(cluster(away), tmp_path, "team-a") as path, ui(path) as (address, _):
        port = int(address.split(":")[2].partition("/")[0])
        other = socket.gethostbyname(socket.gethostname())
        if other.startswith("127."):
            other = "127.0.0.2"
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((other, port), timeout=2)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "--port", port]
        path = kubeconfig(tmp_path, "http://127.0.0.1:9")
        ended = subprocess.run([*command, "--kubeconfig", str(path)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in ended.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--service-account", "default"], "NAMESPACE/NAME"),
        (["--service-account", "/default"], "NAMESPACE/NAME"),
        (["--service-account", "team-a/"], "NAMESPACE/NAME"),
        (["--service-account", "team-a/a/../b"], "is not a valid name"),
        (["--service-account", "Team/a"], "can be no namespace's name: write at most 63"),
        (["-n", "No/Name"], "can be no namespace's name: write at most 63"),
        (["--server-namespace", "a/../b"], "can be no namespace's name: write at most 63"),
        (["--port", "70000"], "--port"),
        (["--as-group", "g"], "--as-group needs --as"),
        (["--context", "nowhere"], "no Kubernetes credentials"),
    ],
)
def test_an_option_that_cannot_be_right_ends_with_2(tmp_path: Path, args: list[str], told: str) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:9")
    done = CliRunner().invoke(app, ["ui", *args, "--kubeconfig", str(path)])
    assert done.exit_code == 2
    assert told in done.stderr


def test_an_api_server_that_is_away_is_a_page(tmp_path: Path) -> None:
    with opened(kubeconfig(tmp_path, "http://127.0.0.1:9")) as browser:
        answer = browser.get("/budgets")
        assert answer.status_code == 503
        assert "No answer" in answer.text


def test_the_objects_figures_are_those_of_the_command_line(tmp_path: Path) -> None:
    with api_server(cluster(away), tmp_path, "team-a") as path, opened(path) as browser:
        text = re.sub(r"<[^>]*>", " ", browser.get("/budgets/team-a/monthly").text)
        for figure in (STATUS["used"], STATUS["forecast"], "82 %", "train", "2.2kg", "98 %"):
            assert figure in text, json.dumps(figure)
