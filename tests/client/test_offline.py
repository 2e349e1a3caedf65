"""The log file: the same records as the server gets, readable after any end of the process."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.client.trainings import ContractServer, environment, train

from carbonbudget.span_log import COLUMNS, SpanLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_training_without_a_server_writes_its_spans_and_units_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    assert train(CARBONBUDGET_LOG=str(path), CARBONBUDGET_MODEL="chatbot").code == 0
    written = lines(path)
    assert [(line["kind"], line["name"], line.get("step")) for line in written] == [
        *(("span", name, step) for step in range(3) for name in ("batches", "epoch")),
        ("unit", "inferences", None),
    ]
    assert {(line["run"], line["model"]) for line in written} == {("exp-42", "chatbot")}
    assert all(line["start_ms"] <= line["end_ms"] and line["cpu_us"][0] <= line["cpu_us"][1] for line in written[:-1])


def test_a_csv_file_has_the_same_records(tmp_path: Path, server: ContractServer) -> None:
    path = tmp_path / "spans.csv"
    assert train(CARBONBUDGET_LOG=str(path), **server.variables).code == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    sent = {span["id"]: span for span in server.spans()}
    assert {row["id"] for row in rows if row["kind"] == "span"} == set(sent)
    for row in rows[:-1]:
        span = sent[row["id"]]
        assert [int(row["cpu_start_us"]), int(row["cpu_end_us"])] == span["cpu_us"]
        assert (row["name"], int(row["step"]), int(row["end_ms"])) == (span["name"], span["step"], span["end_ms"])
    assert (rows[-1]["kind"], rows[-1]["count"]) == ("unit", "7")


def test_what_was_written_before_a_sigkill_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    code = """
import carbonbudget as cb, itertools, sys
for step in itertools.count():
    with cb.track("step", step):
        pass
    if step % 1000 == 0:
        cb.flush(5)
        print(step, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(CARBONBUDGET_LOG=str(path)), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for _ in range(4):
            last = int(process.stdout.readline())
        process.kill()
    assert process.returncode == -signal.SIGKILL
    written = lines(path)
    assert len(written) > last
    assert [line["step"] for line in written] == list(range(len(written)))


def test_the_log_is_whole_at_the_exit_also_while_the_thread_waits_for_a_server(
    tmp_path: Path, server: ContractServer
) -> None:
    server.set(mode="slow")
    path = tmp_path / "spans.jsonl"
    ended = train(
        """
        import carbonbudget as cb
        with cb.track("first"): pass
        cb.flush(0.5)
        for _ in range(3):
            with cb.track("while the thread waits"): pass
        """,
        CARBONBUDGET_LOG=str(path),
        **server.variables,
    )
    assert ended.code == 0
    assert len(lines(path)) == 4


def test_a_line_that_a_full_disk_cut_off_spoils_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text('{"kind":"span","na')
    log = SpanLog(str(path))
    log.add({"kind": "span"}, {"name": "a"}, '{"name":"a"}')
    log.write()
    log.write()
    assert path.read_text().splitlines()[1:] == ['{"kind":"span","name":"a"}']


def test_what_could_not_be_written_is_kept_bounded_and_written_later(tmp_path: Path) -> None:
    log = SpanLog(str(tmp_path / "later" / "spans.jsonl"))
    for step in range(6_000):
        log.add({"kind": "span"}, {"step": step}, f'{{"step":{step}}}')
    with pytest.raises(FileNotFoundError):
        log.write()
    (tmp_path / "later").mkdir()
    log.write()
    assert log.empty
    assert [line["step"] for line in lines(tmp_path / "later" / "spans.jsonl")] == list(range(1_000, 6_000))


def test_the_path_is_the_one_at_the_start_whatever_the_training_does(tmp_path: Path) -> None:
    ended = train(
        f"""
        import os
        os.chdir({str(tmp_path)!r})
        import carbonbudget as cb
        cb.init()
        with cb.track("a"): pass
        cb.flush()
        os.chdir("/")
        with cb.track("b"): pass
        """,
        CARBONBUDGET_LOG="spans-{host}.jsonl",
    )
    assert ended.code == 0
    assert [line["name"] for line in lines(tmp_path / f"spans-{os.uname().nodename}.jsonl")] == ["a", "b"]


def test_names_are_printable_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    train(
        """
        import carbonbudget as cb
        for name in ("x" * 500, "line\\nbreak\\x00", "", "Größe"):
            with cb.track(name, 2**70): pass
        """,
        CARBONBUDGET_LOG=str(path),
    )
    written = lines(path)
    assert [line["name"] for line in written] == ["x" * 120, "line break", "unnamed", "Größe"]
    assert not any("step" in line for line in written)
