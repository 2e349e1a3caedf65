"""The sender on a node with faults: bad tokens, bad disks, damaged files and files that are not its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.agent.report_server import Pauses, Server, a_report, pack_report, start, until
from tests.disk import small_disk

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.work_counters import WorkCounters


def test_a_corrupt_file_is_taken_out_and_holds_up_nobody(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path]
) -> None:
    box, counts, token = outbox
    (box.directory / box.names()[0]).write_bytes(b"junk")
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(2)
    sender.finish(5)
    assert (box.names(), counts.corrupt, counts.sent) == ([], 1, 2)


def test_what_is_not_ours_in_the_outbox_is_left_alone(outbox: tuple[Outbox, WorkCounters, Path]) -> None:
    box, counts, _ = outbox
    names = box.names()
    for foreign in ("lost+found", "x.json.z", "-.json.z", "000000000001-000000.json.z", "checkpoint.json"):
        (box.directory / foreign).write_text("not ours")
    box.trim()
    assert (box.names(), counts.dropped) == (names, 0)
    assert (box.directory / "x.json.z").read_text() == "not ours"


@pytest.mark.parametrize("token", [b"\xff\xfe", b"two\nlines", b"\x00", b""])
def test_a_token_that_is_none_is_waited_out(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path], token: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    box, counts, path = outbox
    path.write_bytes(token)
    server.statuses = [401, 401, 200]
    pauses = Pauses()
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", path, None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=pauses)
    until("two attempts", lambda: counts.send_errors + counts.refused[401] >= 2)
    path.with_suffix(".new").write_bytes(b"good")
    path.with_suffix(".new").replace(path)
    until("all to be sent", lambda: counts.sent == 3)
    sender.finish(5)
    told = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert told
    assert len(told) == len(set(told))  # each reason once


def test_on_a_read_only_disk_what_was_sent_is_sent_again_and_the_sender_lives(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    counts = WorkCounters()
    with small_disk(tmp_path / "outbox", "1m"):
        box = Outbox(tmp_path / "outbox", counts)
        box.put(pack_report(1_764_000_000))
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "outbox")], check=True)
        url = Endpoint(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
        sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=Pauses())
        server.await_requests(3)
        assert counts.sent == 0
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "outbox")], check=True)
        until("it to be sent", lambda: counts.sent == 1)
        sender.finish(5)
        assert box.names() == []
    assert {report.key for report in server.got} == {a_report(1_764_000_000).key}


def test_a_disk_that_cannot_be_read_for_a_while_makes_no_report_corrupt(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path]
) -> None:
    box, counts, token = outbox
    name = box.names()[0]
    kept = (box.directory / name).read_bytes()
    (box.directory / name).unlink()
    (box.directory / name).mkdir()  # reading it is an OSError, as of a broken disk
    url = Endpoint(f"http://127.0.0.1:{server.server_port}", token, None)
    sender = Sender(url, box, counts, "node-1", spread_seconds=0, stop=Pauses())
    until("two attempts", lambda: counts.send_errors >= 2)
    assert (counts.corrupt, counts.sent) == (0, 0)
    (box.directory / name).rmdir()
    (box.directory / "whole.tmp").write_bytes(kept)
    (box.directory / "whole.tmp").replace(box.directory / name)
    sender.wake()
    until("all to be sent", lambda: counts.sent == 3)
    sender.finish(5)


def test_a_report_that_is_dropped_while_it_is_about_to_be_sent_is_not_corrupt(
    outbox: tuple[Outbox, WorkCounters, Path],
) -> None:
    box, counts, _ = outbox
    assert (box.read("000000000001-000000-00000000.json.z"), counts.corrupt) == (None, 0)


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_file_that_was_cut_off_is_taken_out_and_the_rest_is_sent(
    server: Server, outbox: tuple[Outbox, WorkCounters, Path], cut: int
) -> None:
    box, counts, token = outbox
    last = box.directory / box.names()[-1]
    last.write_bytes(last.read_bytes()[:cut])
    sender = start(box, counts, f"http://127.0.0.1:{server.server_port}", token)
    server.await_requests(2)
    sender.finish(5)
    assert (box.names(), counts.corrupt, counts.sent) == ([], 1, 2)
    assert [path.name for path in (box.directory / "corrupt").iterdir()] == [last.name]
