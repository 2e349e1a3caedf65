"""Log lines: their two forms, what is logged once, and how many there are a second."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from carbonbudget_agent.log_format import AgentJsonFormatter as AgentsJsonFormatter
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.logs import FailureLog, JsonFormatter, LogRateLimit, log_action

EVIL = "\x1b[2J\u202eevil\nname"


def record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, args, more.pop("exc_info", None))
    made.created, made.msecs = 1_795_460_000.25, 250.0
    made.__dict__.update(more)
    return made


def an_error() -> Any:
    try:
        raise ValueError(EVIL)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("formatter", [JsonFormatter(), AgentsJsonFormatter()])
def test_an_event_is_one_json_object_in_one_printable_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s is late", EVIL, exc_info=an_error()))
    assert line.isascii()
    assert line.isprintable()
    value = json.loads(line)
    assert set(value) == {"time", "level", "logger", "message", "stack"}
    assert (value["time"], value["level"], value["logger"]) == ("2026-11-23T18:53:20.250Z", "warning", "a.b")
    assert value["message"].endswith("is late")
    assert value["stack"][0].startswith("Traceback")


def test_an_action_has_its_name_and_fields_and_none_replaces_what_every_line_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        log_action(logging.getLogger("x"), "suspend", "suspend Job a/100%s", name=EVIL, suppressed=2, time="forged")
    (line,) = map(JsonFormatter().format, caplog.records)
    value = json.loads(line)
    assert (value["action"], value["suppressed"], value["message"]) == ("suspend", 2, "suspend Job a/100%s")
    assert value["time"] != "forged"
    assert "\x1b" not in value["name"]
    assert "\n" not in value["name"]


def test_a_message_that_is_too_long_is_cut() -> None:
    for formatter in (JsonFormatter(), AgentsJsonFormatter()):
        assert len(formatter.format(record("x" * 1_000_000))) < 5_000


def test_a_failure_begins_once_and_ends_once() -> None:
    failures = FailureLog()
    assert [failures.begins("a"), failures.begins("a"), failures.begins("b")] == [True, False, True]
    assert [failures.ends("a"), failures.ends("a"), failures.begins("a")] == [True, False, True]


def test_what_fails_is_bounded() -> None:
    failures = FailureLog()
    for key in range(20_000):
        failures.begins(key)
    assert len(failures._failing) == 10_000


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 5))
def test_each_refusal_is_logged_or_counted_and_no_second_has_more_lines(tenths: list[int], per_second: int) -> None:
    limit, logged, suppressed = LogRateLimit(per_second), dict[int, int](), 0
    for tenth in sorted(tenths):
        before = limit.admit(tenth / 10)
        if before is not None:
            logged[tenth // 10] = logged.get(tenth // 10, 0) + 1
            suppressed += before
    assert max(logged.values()) <= per_second
    assert sum(logged.values()) + suppressed + limit._suppressed == len(tenths)


@pytest.mark.parametrize("command", ["controller", "admission", "server"])
def test_an_unknown_format_is_one_sentence_and_exit_code_2(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--log-format", "xml"])
    assert (done.exit_code, done.stderr.strip()) == (2, "--log-format must be text or json, not 'xml'")


def test_a_command_logs_in_the_format_that_was_asked_for() -> None:
    for form, expected in (("json", '"message": "hi"'), ("text", " INFO x: hi")):
        code = (
            "import logging; from carbonbudget_operator.cli.common_options import set_up_logging;"
            f"set_up_logging('info', '{form}'); logging.getLogger('x').info('hi')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert expected in done.stderr
        assert done.stderr.startswith("{") == (form == "json")


@pytest.mark.parametrize(("level", "logged"), [("info", False), ("debug", True)])
def test_what_somebody_asks_for_is_not_logged_by_the_http_client(level: str, logged: bool) -> None:
    code = (
        "import logging; from carbonbudget_operator.cli.common_options import set_up_logging;"
        f"set_up_logging('{level}'); import httpx;"
        "answer = httpx.MockTransport(lambda _: httpx.Response(200));"
        "httpx.Client(transport=answer).get('https://server/api/v1/emissions?filter=namespace%3Dsecret')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("secret" in done.stderr) == logged


def test_the_agent_takes_the_same_formats() -> None:
    agent = str(Path(sys.executable).parent / "carbonbudget-agent")
    done = subprocess.run([agent, "run", "--log-format", "xml"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--log-format must be text or json, not 'xml'" in done.stderr
    environment = {"CARBONBUDGET_LOG_FORMAT": "json", "PATH": os.environ["PATH"]}
    more = ("--dry-run", "--windows=1", "--interval=1", "--window=10", "--pods-file=/nonexistent")
    done = subprocess.run(
        [agent, "run", *more], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    assert all(set(line) >= {"time", "level", "logger", "message"} for line in lines)
