"""Training goes on: whatever server, token, CA or disk do, the process ends with exit 0 and in time."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.client.trainings import ContractServer, train

# A start of Python, the training itself on a busy machine, and 2 s at the exit.
IN_TIME_S = 8.0
FAULTS = (
    *("slow", "drips", "503", "429", "500", "403", "404", "422", "302", "413", "closes", "half", "not http"),
    *("wrong json", "other json", "odd json", "deep json", "endless"),
)


def check(ended: object) -> str:
    code, output, errors, seconds = ended.code, ended.output, ended.errors, ended.seconds  # type: ignore[attr-defined]
    assert (code, output) == (0, "trained True\n"), errors
    assert "Traceback" not in errors
    assert seconds < IN_TIME_S
    assert len(errors.splitlines()) <= 3, errors
    return str(errors)


def test_a_good_server_gets_the_spans_of_a_training(server: ContractServer) -> None:
    assert check(train(**server.variables)) == ""
    seen = server.seen()
    assert [(span["run"], span["name"], span["step"]) for span in seen["spans"]] == [
        ("exp-42", name, step) for step in range(3) for name in ("batches", "epoch")
    ]
    assert [(unit["name"], unit["count"]) for unit in seen["units"]] == [("inferences", 7)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_misbehaves_stops_no_training(server: ContractServer, fault: str) -> None:
    server.set(mode=fault)
    errors = check(train(**server.variables))
    assert server.seen()["requests"], "the fault was not met"
    if fault in ("503", "403"):
        assert "the server cannot be used now" in errors
        assert len(errors) < 500


@pytest.mark.parametrize(
    "variables",
    [
        {"CARBONBUDGET_SERVER_URL": "https://carbonbudget.invalid:8443"},
        {"CARBONBUDGET_SERVER_URL": "http://203.0.113.1:8443"},
        {"CARBONBUDGET_SERVER_URL": "nonsense"},
        {"CARBONBUDGET_SERVER_URL": "https://[half:an:address"},
        {"CARBONBUDGET_TOKEN_FILE": "/nowhere/token"},
        {"CARBONBUDGET_TOKEN_FILE": "/dev/null"},
        {"CARBONBUDGET_TOKEN_FILE": "/dev/zero"},
        {"CARBONBUDGET_SERVER_URL": "https://127.0.0.1:1", "CARBONBUDGET_CA": "no certificate"},
        {"CARBONBUDGET_SERVER_URL": "https://127.0.0.1:1", "CARBONBUDGET_CA_FILE": "/nowhere/ca"},
        {"CARBONBUDGET_LOG": "/dev/full"},
        {"CARBONBUDGET_LOG": "/proc/nothing/here.jsonl"},
        {"CARBONBUDGET_LOG": "/"},
        {"LOCAL_RANK": "none"},
    ],
)
def test_an_environment_that_is_wrong_stops_no_training(server: ContractServer, variables: dict[str, str]) -> None:
    check(train(**server.variables | variables))


def test_a_server_that_accepts_and_never_answers_stops_no_training(server: ContractServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        check(train(**server.variables | {"CARBONBUDGET_SERVER_URL": url}))


def test_a_rotated_token_is_read_anew(server: ContractServer) -> None:
    server.set(token="token-2")
    ended = train(
        f"""
        import carbonbudget as cb, pathlib
        with cb.track("before"): pass
        print(cb.flush(5))
        pathlib.Path({str(server.token_file)!r}).write_text("token-2")
        with cb.track("after"): pass
        print(cb.flush(5))
        """,
        **server.variables,
    )
    assert ended.output == "False\nTrue\n", ended.errors
    assert [span["name"] for span in server.spans()] == ["before", "after"]


def test_a_request_that_is_too_big_is_sent_in_halves(server: ContractServer) -> None:
    server.set(mode="413", most=70)
    ended = train(
        """
        import carbonbudget as cb
        for step in range(500):
            with cb.track("step", step): pass
        print(cb.flush(10))
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    assert len(server.spans()) == 500


def test_requests_stay_under_the_servers_bounds(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        for step in range(2_500):
            with cb.track("\N{EARTH GLOBE EUROPE-AFRICA}" * 500, step): pass
        print(cb.flush(20))
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    seen = server.seen()
    assert len(seen["spans"]) == 2_500
    assert max(request["bytes"] for request in seen["requests"]) <= 256 * 1024


def test_full_requests_do_not_wait_for_the_next_turn(server: ContractServer) -> None:
    """4,500 spans within a turn of 30 s: less than a request waits in each of the two queues."""
    ended = train(
        f"""
        import carbonbudget as cb, json, time, urllib.request
        for step in range(4_500):
            with cb.track("step", step): pass
        until = time.monotonic() + 20
        received = 0
        while received <= 2_500 and time.monotonic() < until:
            seen = json.load(urllib.request.urlopen("http://127.0.0.1:{server.port}/control"))
            received = len(seen["spans"])
            time.sleep(0.05)
        print(received)
        """,
        **server.variables,
    )
    assert int(ended.output) > 2_500, ended.errors
    assert len(server.spans()) == 4_500
    assert len([request for request in server.seen()["requests"] if request["method"] == "POST"]) <= 6


def test_a_server_that_is_asked_for_patience_is_not_asked_again(server: ContractServer) -> None:
    server.set(mode="503")
    train(
        """
        import carbonbudget as cb
        for _ in range(5):
            with cb.track("a"): pass
            cb.flush(1)
        """,
        **server.variables,
    )
    assert len(server.seen()["requests"]) == 1


def test_when_the_server_comes_back_the_spans_arrive(server: ContractServer) -> None:
    server.set(mode="500")
    ended = train(
        f"""
        import carbonbudget as cb, urllib.request as u
        with cb.track("while it was away"): pass
        print(cb.flush(5))
        u.urlopen(u.Request("http://127.0.0.1:{server.port}/control", data=b'{{"mode":"good"}}', method="PUT")).read()
        """,
        **server.variables,
    )
    assert ended.output == "False\n"
    assert [span["name"] for span in server.spans()] == ["while it was away"]


def test_more_spans_than_the_queue_holds_are_bounded_and_reported(server: ContractServer) -> None:
    server.set(mode="500")
    ended = train(
        """
        import carbonbudget as cb
        from carbonbudget.tracking_session import SESSION
        for step in range(20_000):
            with cb.track("step", step): pass
        cb.flush(2)
        waiting = SESSION._thread.delivery.server.outgoing["spans"]._waiting
        print(len(SESSION.queue) + len(waiting) <= 10_000)
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    assert "spans were dropped" in ended.errors


def test_a_line_that_the_server_refuses_is_shown_once(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        for _ in range(3):
            with cb.track("refuse me"): pass
            with cb.track("keep me"): pass
            cb.flush(5)
        """,
        **server.variables,
    )
    assert ended.errors == "carbonbudget: the server refused 1 of 2 spans: no\n"
    assert len(server.spans()) == 6


def test_a_read_only_folder_stops_no_training(tmp_path: Path) -> None:
    """As root the mode of a folder is no obstacle; a file in the way is one for everybody."""
    (tmp_path / "file").write_text("")
    errors = check(train(CARBONBUDGET_LOG=str(tmp_path / "file" / "spans.jsonl")))
    assert "cannot be written" in errors
