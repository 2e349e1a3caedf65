"""`carbonbudget spans import`: nothing is sent before all lines are read, and every line that is refused is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_token_command import Server
from tests.cli.test_token_command import server as server
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app

_HEAD = "kind,run,model,version,namespace,pod,pod_uid,id,name,step,start_ms,end_ms,"
CSV = f"""{_HEAD}cpu_start_us,cpu_end_us,gpu_start_uj,gpu_end_uj,count
span,exp,m,1,team-a,p,u-1,a,epoch,3,1000,2000,5,9,,,
unit,exp,m,1,team-a,p,u-1,x,inferences,,1000,2000,,,,,7
span,exp,m,1,team-a,p,u-1,b,"a, b",,2000,3000,,,1,2,
"""


def a_line(name: str, **more: Any) -> str:
    record = {"kind": "span", "run": "exp", "namespace": "team-a", "pod_uid": "u-1", "id": name, "name": "epoch"}
    return json.dumps(record | {"step": None, "start_ms": 1000, "end_ms": 2000} | more)


def run(server: Server, file: Path, *args: str) -> Any:
    url = f"http://127.0.0.1:{server.server_port}"
    return CliRunner().invoke(app, ["spans", "import", str(file), "-n", "team-a", *args, "--server-url", url])


@pytest.fixture
def taking(server: Server) -> Server:
    server.answer = {"accepted": 1, "refused": []}
    return server


def test_lines_go_out_by_pod_and_run_as_the_client_wrote_them(taking: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    lines = [a_line("a", cpu_us=[1, 2]), a_line("b"), "", a_line("c", pod_uid=""), a_line("d", run=None)]
    file.write_text("\n".join(lines))
    done = run(taking, file, "--pod-uid", "u-2")
    assert (done.exit_code, done.stdout) == (0, "3 spans are imported; what was stored before is not stored twice\n")
    sent = [body for _, _, body in taking.asked]
    assert {path for _, path, _ in taking.asked} == {"/v1/spans/import"}
    assert [(one["pod_uid"], one.get("run"), [span["id"] for span in one["spans"]]) for one in sent] == [
        ("u-1", "exp", ["a", "b"]), ("u-2", "exp", ["c"]), ("u-1", None, ["d"]),
    ]  # fmt: skip
    assert sent[0]["spans"][0] == {"id": "a", "name": "epoch", "start_ms": 1000, "end_ms": 2000, "cpu_us": [1, 2]}


def test_csv_is_read_as_the_client_writes_it(taking: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.csv"
    head, first, *rest = CSV.splitlines()
    file.write_text("\n".join([head, first, head, *rest]))  # two processes began the file at a time
    done = run(taking, file)
    assert done.exit_code == 0, done.output
    assert "1 count of units is not imported" in done.stderr
    (sent,) = [body["spans"] for _, _, body in taking.asked]
    assert sent == [
        {"id": "a", "name": "epoch", "step": 3, "start_ms": 1000, "end_ms": 2000, "cpu_us": [5, 9]},
        {"id": "b", "name": "a, b", "start_ms": 2000, "end_ms": 3000, "gpu_uj": [1, 2]},
    ]


def test_a_long_file_goes_out_in_parts_that_the_server_takes(taking: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text("\n".join(a_line(f"s{number}", gpu_uj=[2**59] * 2, cpu_us=[2**59] * 2) for number in range(2_500)))
    assert run(taking, file).exit_code == 0
    sizes = [len(body["spans"]) for _, _, body in taking.asked]
    assert sum(sizes) == 2_500
    assert max(sizes) <= 1_000
    assert max(len(json.dumps(body)) for _, _, body in taking.asked) < 256 * 1024


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ('{"id": "b", "na', "line 2: it is no JSON object"),
        (a_line("b", start_ms="soon"), "line 2: start_ms must be UTC milliseconds"),
        (a_line("b", namespace="team-b"), "line 2 is of namespace team-b"),
        (a_line("b", pod_uid=None), "line 2 names no pod_uid"),
    ],
)
def test_one_bad_line_and_nothing_is_sent(taking: Server, tmp_path: Path, bad: str, sentence: str) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text(f"{a_line('a')}\n{bad}\n{a_line('c')}\n")
    done = run(taking, file)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "nothing is imported" in done.stderr
    assert taking.asked == []
    if "JSON" in sentence:
        assert run(taking, file, "--skip-unreadable").exit_code == 0
        assert [span["id"] for span in taking.asked[0][2]["spans"]] == ["a", "c"]


def test_what_the_server_refuses_is_named_by_line(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text(f"{a_line('a')}\n\n{a_line('b')}\n")
    server.answer = {"accepted": 1, "refused": [{"id": "b", "reason": "it ends before it starts"}]}
    done = run(server, file)
    assert done.exit_code == 1
    assert "line 3: it ends before it starts" in done.stderr
    assert "1 of 2 spans are refused; the others are imported" in done.stderr
