"""Whatever a kernel, a kubelet or a disk says, what the agent reports is what the server takes.

One text or number that the server refuses would cost the node's whole window.
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.node import BURSTABLE, UID_A, UID_B, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent, cpu_us, reports

from carbonbudget_agent.checkpoint import load_checkpoint
from carbonbudget_agent.node_description import local_info
from carbonbudget_agent.outbox import pack
from carbonbudget_core.node_report_json import decode_report, encode_report

TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["x" * 600, "a\nb", "\x00", "\u202e", "", "ok"]))
AMOUNTS = st.sampled_from(["1", "100m", "9E", "1e99", "1e999999999", "-5", "x", "", "1/0", "0.0000001"])
POD = st.fixed_dictionaries({
    "metadata": st.fixed_dictionaries({
        "uid": st.sampled_from([UID_A, UID_B, "", "a\nb"]),
        "name": TEXTS,
        "namespace": TEXTS,
        "labels": st.dictionaries(TEXTS, TEXTS, max_size=70),
        "annotations": st.dictionaries(
            st.sampled_from(["kubernetes.io/config.hash", "kubernetes.io/config.mirror"]),
            st.sampled_from([UID_A, UID_B]),
        ),
        "ownerReferences": st.lists(
            st.fixed_dictionaries({"controller": st.just(True), "kind": TEXTS, "name": TEXTS, "uid": TEXTS})
            | st.just({"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": True}),
            max_size=1,
        ),
    }),
    "status": st.fixed_dictionaries({"startTime": st.sampled_from(["", "2026-11-29T08:00:00Z"])}),
    "spec": st.fixed_dictionaries({
        "containers": st.lists(
            st.fixed_dictionaries({
                "resources": st.fixed_dictionaries({
                    "requests": st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), AMOUNTS)
                })
            }),
            max_size=3,
        )
    }),
})  # fmt: skip
NUMBERS = st.sampled_from(["9" * 17, "9" * 19, "18446744073709551615", "-1", "0", "5000000000", "", "nonsense"])


@settings(deadline=None)
@given(st.lists(POD, max_size=4), NUMBERS, NUMBERS, st.text(max_size=700))
def test_every_report_is_one_that_the_server_reads(pods: list[object], cpu: str, memory: str, model: str) -> None:
    with TemporaryDirectory() as root:
        node = FakeNode(Path(root))
        node.burn(1_000, UID_A)
        node.burn(1_000, UID_B)
        clock = FakeClock(START)
        agent = Agent(node, clock)
        node.write("pods.json", json.dumps({"items": pods}))
        node.write(f"cgroup/cpuacct/{BURSTABLE}/pod{UID_A}/cpuacct.usage", f"{cpu}\n")
        node.write(f"cgroup/memory/{BURSTABLE}/pod{UID_A}/memory.usage_in_bytes", f"{memory}\n")
        node.write("proc/cpuinfo", f"processor : 0\nmodel name : {model}\n")
        agent.info = local_info(node.procfs)
        agent.tick(30)
        report = agent.tick(30)
        agent.cgroups.close()
        assert report is not None
        assert decode_report(encode_report(report)) == report


def test_a_pod_that_ended_while_no_agent_looked_keeps_its_name(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    node.burn(1_000, UID_B)
    clock = FakeClock(START)
    Agent(node, clock).tick(60)
    node.burn(3_000_000, UID_B)
    node.remove(UID_B)
    clock.go(20)
    agent = Agent(node, clock)
    node.write("pods.json", json.dumps({"items": []}))  # nobody lists it any more
    agent.tick(60)
    assert cpu_us(reports(node), UID_B) == 3_000_000


def a_checkpoint(root: Path) -> tuple[FakeNode, dict[str, object]]:
    """Of a node with two pods, a learned baseline, a device, a carry and a report that waits."""
    node = FakeNode(root)
    node.burn(1_000, UID_A)
    node.burn(1_000, UID_B)
    agent = Agent(node, FakeClock(START))
    report = agent.tick(60)
    agent.cgroups.close()
    assert report is not None
    path = node.root / "outbox" / "checkpoint.json"
    value = json.loads(path.read_text())
    value["pending"] = [b64encode(pack(report).body).decode()]
    value["carry_us"] = {"burstable": 5}
    value["baselines"] = {"gpu:x": {"lowest_mw": {"20000": {"3": 100}}, "idle_uw": 90_000}}
    value["sample"]["devices"] = {"gpu:x": {"parts": 1, "held": {UID_A: 1}, "active": {}, "busy_permille": 5}}
    return node, value


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in inner for place in places(part, (*at, key)))]


JUNK = st.sampled_from([None, -5, 1.5, "x", [], {}, [5], {"a": "b"}, True, 2**70])


@settings(deadline=None)
@given(st.data())
def test_a_checkpoint_with_any_part_broken_is_used_or_left_and_never_the_end(data: st.DataObject) -> None:
    with TemporaryDirectory() as root:
        node, value = a_checkpoint(Path(root))
        place = data.draw(st.sampled_from(places(value)[1:]))
        part: object = value
        for key in place[:-1]:
            part = part[key]  # type: ignore[index]
        part[place[-1]] = data.draw(JUNK)  # type: ignore[index]
        path = node.root / "outbox" / "checkpoint.json"
        path.write_text(json.dumps(value))
        clock = FakeClock(START + 120)
        agent = Agent(node, clock)
        node.burn(1_000_000, UID_A)
        report = agent.tick(60)
        agent.cgroups.close()
        assert report is not None
        assert decode_report(encode_report(report)) == report


def test_a_report_in_the_checkpoint_that_is_none_hinders_no_other(tmp_path: Path) -> None:
    node, value = a_checkpoint(tmp_path)
    value["pending"] = ["junk", *value["pending"], 5]  # type: ignore[misc]
    path = node.root / "outbox" / "checkpoint.json"
    path.write_text(json.dumps(value))
    checkpoint = load_checkpoint(path, str(value["boot_id"]))
    assert len(checkpoint.pending) == 1
    assert checkpoint.sample is not None


@pytest.mark.parametrize("option", ["--cluster", "--node-name"])
def test_a_name_that_no_report_can_hold_is_a_usage_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    from carbonbudget_agent.options import parse_options

    for name in ("", "a\nb", "x" * 513):
        with pytest.raises(SystemExit):
            parse_options(["run", "--dry-run", "--pods-file", "x", option, name])
        assert f"{option} must be a name" in capsys.readouterr().err
