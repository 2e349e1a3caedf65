"""Pods' counters from true small trees: cgroup v1 and v2, both drivers, nested, vanishing, broken."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from tests.agent.node import BURSTABLE, UID_A, UID_B, FakeNode

from carbonbudget_agent.pods.cgroups import CgroupError, CgroupReader, pod_of_path
from carbonbudget_agent.sample import PodCounters

HASH = "0123456789abcdef0123456789abcdef"


def v2(root: Path, files: dict[str, str]) -> CgroupReader:
    """A v2 tree; values are CPU microseconds by directory."""
    for name in ("cgroup.controllers", *files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.get(name, "cpu memory\n"))
    return CgroupReader(root)


def stat(usage_us: int) -> str:
    return f"usage_usec {usage_us}\nuser_usec {usage_us - usage_us // 4}\nsystem_usec {usage_us // 4}\n"


def test_v1_with_the_cgroupfs_driver(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(5_000, UID_A)
    node.burn(1_000)
    reading = CgroupReader(node.cgroups).read()
    assert reading.busy_us == 6_000
    assert reading.parents_us == {"kubepods": 0, "burstable": 5_000, "besteffort": 0}
    pod = reading.pods[UID_A]
    assert (pod.cpu_us, pod.memory_bytes, pod.parent) == (5_000, 2_000, "burstable")


def test_v2_with_the_systemd_driver(tmp_path: Path) -> None:
    slices = "kubepods.slice/kubepods-burstable.slice"
    escaped = UID_A.replace("-", "_")
    reader = v2(
        tmp_path,
        {
            "cpu.stat": stat(100),
            "kubepods.slice/cpu.stat": stat(60),
            f"{slices}/cpu.stat": stat(40),
            f"{slices}/kubepods-burstable-pod{escaped}.slice/cpu.stat": stat(40),
            f"{slices}/kubepods-burstable-pod{escaped}.slice/memory.current": "5000\n",
            f"{slices}/kubepods-burstable-pod{escaped}.slice/memory.stat": "anon 1\ninactive_file 2000\n",
            f"kubepods.slice/kubepods-pod{UID_B.replace('-', '_')}.slice/cpu.stat": stat(15),
        },
    )
    reading = reader.read()
    assert reading.busy_us == 100
    assert reading.parents_us == {"kubepods.slice": 20, "kubepods-burstable.slice": 40}
    assert {uid: (p.cpu_us, p.memory_bytes) for uid, p in reading.pods.items()} == {UID_A: (40, 3000), UID_B: (15, 0)}


NICE_AND_IDLE = "nice_usec 7\ncore_sched.force_idle_usec 0\n"
# The root of a machine that ran for 9 s (6 s user, 2 s of them in a guest; 3 s system) and was denied 10 s by its host.
ROOTS = {
    "5.10, steal added and guest time twice": "usage_usec 21000000\nuser_usec 6000000\nsystem_usec 3000000\n",
    "6.1, steal added": "usage_usec 19000000\nuser_usec 6000000\nsystem_usec 3000000\ncore_sched.force_idle_usec 0\n",
    "6.14": f"usage_usec 9000000\nuser_usec 6000000\nsystem_usec 3000000\n{NICE_AND_IDLE}",
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
def test_a_nodes_busy_time_has_neither_stolen_time_nor_a_guests_time_twice_whatever_the_kernel(
    tmp_path: Path, root: str
) -> None:
    """The pod is the guest's: its own cgroup is charged for what ran, once, by every kernel."""
    pod = f"kubepods/pod{UID_A}/cpu.stat"
    reading = v2(tmp_path, {"cpu.stat": root, "kubepods/cpu.stat": stat(2_000_000), pod: stat(2_000_000)}).read()
    assert (reading.busy_us, reading.pods[UID_A].cpu_us) == (9_000_000, 2_000_000)


def test_a_root_without_user_and_system_time_has_no_busy_time_and_keeps_one_that_it_had(tmp_path: Path) -> None:
    reader = v2(tmp_path, {"cpu.stat": "usage_usec 21000000\n"})
    assert reader.read().busy_us is None
    for text in (stat(9_000), "usage_usec 9000\nuser_usec 9000\n", f"user_usec {2**64 - 1}\nsystem_usec 1\n"):
        (tmp_path / "cpu.stat").write_text(text)
        assert reader.read().busy_us == 9_000


@pytest.mark.parametrize("root", ["kubelet.slice/kubelet-kubepods.slice", "docker/abc/kubelet/kubepods"])
def test_a_nested_root_is_found(tmp_path: Path, root: str) -> None:
    reader = v2(tmp_path, {"cpu.stat": stat(9), f"{root}/cpu.stat": stat(7), f"{root}/pod{UID_A}/cpu.stat": stat(7)})
    assert reader.read().pods[UID_A].cpu_us == 7


CONTAINER = "4f0c" * 16
CONTAINERS = {
    "containerd, systemd": f"cri-containerd-{CONTAINER}.scope",
    "CRI-O, systemd": f"crio-{CONTAINER}.scope",
    "CRI-O's monitor": f"crio-conmon-{CONTAINER}.scope",
    "docker, systemd": f"docker-{CONTAINER}.scope",
    "containerd and docker, cgroupfs": CONTAINER,
    "CRI-O, cgroupfs": f"crio-{CONTAINER}",
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
@pytest.mark.parametrize(
    "pod",
    [
        f"kubepods/burstable/pod{UID_A}",
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_A.replace('-', '_')}.slice",
    ],
)
def test_a_pods_own_counter_holds_its_containers_whatever_runs_them(tmp_path: Path, pod: str, container: str) -> None:
    """Sandbox, init container, sidecar and one that was restarted: read at the pod, each counts once."""
    root, qos, _ = pod.split("/")
    files = {"cpu.stat": stat(90), f"{root}/cpu.stat": stat(50), f"{root}/{qos}/cpu.stat": stat(50)}
    files |= {
        f"{pod}/cpu.stat": stat(50),
        f"{pod}/{container}/cpu.stat": stat(30),
        f"{pod}/{'ab' * 32}/cpu.stat": stat(9),
    }
    reader = v2(tmp_path, files)
    reading = reader.read()
    assert {uid: pod.cpu_us for uid, pod in reading.pods.items()} == {UID_A: 50}
    assert sum(reading.parents_us.values()) == 50
    assert pod_of_path(f"/{pod}/{container}") == UID_A


def test_hybrid_is_read_by_its_v1_controllers(tmp_path: Path) -> None:
    """systemd's hybrid: v1 controllers beside a v2 hierarchy that has none, mounted at unified/."""
    node = FakeNode(tmp_path)
    node.burn(5_000, UID_A)
    for name in ("cgroup.controllers", f"{BURSTABLE}/pod{UID_A}/cpu.stat"):
        node.write(f"cgroup/unified/{name}", "" if name == "cgroup.controllers" else stat(5_000))
    reader = CgroupReader(node.cgroups)
    assert reader.version == "v1"
    reading = reader.read()
    assert (reading.pods[UID_A].cpu_us, sum(reading.parents_us.values())) == (5_000, 5_000)


def test_controllers_that_are_mounted_together_are_found(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(5_000, UID_A)
    (node.cgroups / "cpuacct").rename(node.cgroups / "cpu,cpuacct")
    assert CgroupReader(node.cgroups).read().pods[UID_A].cpu_us == 5_000


@pytest.mark.parametrize("left", ["kubepods", "kubepods.slice"])
def test_a_root_that_another_cgroup_driver_left_is_not_taken_for_the_pods(tmp_path: Path, left: str) -> None:
    """The driver was changed without a reboot: both stand, one is empty."""
    other = {"kubepods": "kubepods.slice", "kubepods.slice": "kubepods"}[left]
    reader = v2(tmp_path, {"cpu.stat": stat(9), f"{left}/cpu.stat": stat(500), f"{other}/cpu.stat": stat(0)})
    assert reader.read().pods == {}
    pod = tmp_path / other / f"pod{UID_A}"
    pod.mkdir()
    (pod / "cpu.stat").write_text(stat(7))
    assert reader.read().pods[UID_A].cpu_us == 7


def test_a_pod_that_vanishes_between_the_list_and_the_read_is_gone_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    node.burn(2_000, UID_B)
    reader = CgroupReader(node.cgroups)
    listed = reader._listed

    def then_gone(path: str, name: re.Pattern[str]) -> list[str]:
        found = listed(path, name)
        if path.endswith("burstable"):
            node.remove(UID_A)
        return found

    monkeypatch.setattr(reader, "_listed", then_gone)
    reading = reader.read()
    assert ({uid: pod.cpu_us for uid, pod in reading.pods.items()}, reading.parents_us["burstable"]) == (
        {UID_B: 2_000}, 3_000,
    )  # fmt: skip


def test_the_page_cache_is_read_when_memory_moved_and_at_each_fourth_look(tmp_path: Path) -> None:
    """Adding memory.stat up is the kernel's dearest part of a look."""
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    reader = CgroupReader(node.cgroups)
    pod = next(node.cgroups.glob(f"memory/**/pod{UID_A}"))

    def look(used: int, cache: int) -> int:
        (pod / "memory.usage_in_bytes").write_text(f"{used}\n")
        (pod / "memory.stat").write_text(f"total_inactive_file {cache}\n")
        return reader.read().pods[UID_A].memory_bytes

    assert look(100_000, 1_000) == 99_000
    assert look(101_000, 5_000) == 100_000  # about the same: so is its cache
    assert look(1_600_000, 1_500_000) == 100_000  # it read a file
    assert look(1_610_000, 1_505_000) == 110_000
    assert look(1_610_000, 1_505_000) == 105_000  # the fourth


def test_a_list_of_pods_that_cannot_be_read_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pod that is left out once would count from 0 again: its whole life in one look."""
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    reader = CgroupReader(node.cgroups)
    reader.read()
    node.burn(500, UID_A)
    listdir = os.listdir

    def too_many(path: str) -> list[str]:
        if path.endswith("burstable"):
            raise OSError(errno.EMFILE, "Too many open files")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", too_many)
    assert [reader.read().pods[UID_A].cpu_us for _ in range(2)] == [1_500, 1_500]
    assert (reader.errors, [record.levelname for record in caplog.records]) == (2, ["ERROR"])
    monkeypatch.undo()
    assert reader.read().pods[UID_A].cpu_us == 1_500


def test_a_young_pod_is_peeked_at_each_time_and_its_elders_at_none(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    reader = CgroupReader(node.cgroups)
    assert [reader.read() and reader.peek() for _ in range(3)] == [[UID_A], [UID_A], []]
    node.burn(1_000, UID_B)
    assert [reader.peek(), reader.peek()] == [[UID_B], [UID_B]]
    reader.read()
    assert reader.peek() == [UID_B]


def test_a_static_pod_carries_its_config_hash(tmp_path: Path) -> None:
    reader = v2(tmp_path, {"kubepods/cpu.stat": stat(3), f"kubepods/pod{HASH}/cpu.stat": stat(3)})
    assert list(reader.read().pods) == [HASH]


def test_pods_that_come_after_the_start_are_found_and_those_that_go_are_gone(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    reader = CgroupReader(node.cgroups)
    assert reader.read().pods == {}
    node.burn(1_000, UID_A)
    assert reader.read().pods[UID_A].cpu_us == 1_000
    node.remove(UID_A)
    reading = reader.read()
    assert reading.pods == {}
    assert reading.parents_us["burstable"] == 1_000  # what the parent kept
    reader.close()


@pytest.mark.parametrize("junk", ["", "garbage\n", "-5\n", "\xff"])
def test_a_counter_that_is_no_number_is_no_pod(tmp_path: Path, junk: str) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    node.write(f"cgroup/cpuacct/{BURSTABLE}/pod{UID_A}/cpuacct.usage", junk)
    assert CgroupReader(node.cgroups).read().pods == {}


def test_a_node_on_which_no_pod_ever_ran_has_none(tmp_path: Path) -> None:
    assert v2(tmp_path, {"cpu.stat": stat(9)}).read().pods == {}


def test_what_is_no_cgroup_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match="set --cgroup-root"):
        CgroupReader(tmp_path)


def test_a_pod_that_came_and_went_between_two_readings_was_peeked_at(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    reader = CgroupReader(node.cgroups)
    reader.read()
    node.burn(5_000, UID_A)
    reader.peek()
    node.burn(2_000, UID_A)
    reader.peek()
    node.burn(1_000, UID_A)
    node.remove(UID_A)
    reading = reader.read()
    assert reading.ended == {UID_A: PodCounters(7_000, 0, "burstable")}
    assert (reading.pods, reading.parents_us["burstable"]) == ({}, 8_000)
    assert reader.read().ended == {}


def test_a_pod_that_lives_on_is_no_ended_one_and_an_old_one_is_not_peeked_at(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(5_000, UID_A)
    reader = CgroupReader(node.cgroups)
    for _ in range(3):
        reader.peek()
        assert reader.read().ended == {}
    reader.peek()
    node.remove(UID_A)
    assert reader.read().ended == {}


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (f"/kubepods/burstable/pod{UID_A}/0123", UID_A),
        (f"/kubepods.slice/kubepods-pod{UID_A.replace('-', '_')}.slice/cri-containerd-0123.scope", UID_A),
        (f"/kubepods/pod{HASH}/x", HASH),
        ("/system.slice/containerd.service", None),
        ("/kubepods/burstable", None),
        ("", None),
    ],
)
def test_a_processes_cgroup_tells_its_pod(path: str, uid: str | None) -> None:
    assert pod_of_path(path) == uid


@pytest.mark.parametrize("junk", ["", "x\n", "-5\n", "1e9\n"])
def test_a_counter_that_cannot_be_read_once_keeps_its_last_figure(tmp_path: Path, junk: str) -> None:
    node = FakeNode(tmp_path)
    node.burn(5_000, UID_A)
    reader = CgroupReader(node.cgroups)
    reader.read()
    for path in (f"{BURSTABLE}/pod{UID_A}", BURSTABLE, ""):
        node.write(f"cgroup/cpuacct/{path}/cpuacct.usage", junk)
    reading = reader.read()
    assert (reading.pods[UID_A].cpu_us, reading.parents_us["burstable"], reading.busy_us) == (5_000, 5_000, 5_000)
