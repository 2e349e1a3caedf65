"""The second node in a virtual machine: what it is made of, and that nothing of it stays here."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.node_vm import parse_counters

from localcluster import cleanup, cli, configs, lifecycle, processes
from localcluster.nodevm import address, node, qemu, rootfs, system
from localcluster.say import ClusterError, run_main
from localcluster.settings import NODE_VM, Settings, load


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CARBONBUDGET_CLUSTER_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CARBONBUDGET_CLUSTER_RUN_DIR", str(tmp_path / "run"))
    return load()


@pytest.fixture
def machine(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for QEMU's, on record as the node's."""
    with subprocess.Popen(["sleep", "600"]) as process:
        identity = processes.identify(process.pid)
        assert identity is not None
        processes.PidFiles(settings.run / "pids").write(NODE_VM, identity)
        yield process
        process.kill()


def runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether it does; one that ended and was not waited for does not."""
    stat = processes.read_stat(process.pid)
    return stat is not None and stat.state not in "ZX"


def test_the_nodes_networks_are_apart_from_each_other_and_from_the_clusters(settings: Settings) -> None:
    link = f"{address.HOST}/{address.PREFIX}"
    texts = (settings.pod_cidr, settings.service_cidr, address.POD_CIDR, link)
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    assert ipaddress.ip_address(address.NODE) in networks[-1]
    assert not [(a, b) for a in networks for b in networks if a is not b and a.overlaps(b)]
    assert len(address.DEVICE) <= 15


def test_kubelet_and_runtime_of_the_node_use_systemds_cgroups_and_those_of_the_first_do_not(settings: Settings) -> None:
    there = address.settings(settings, system.DATA)
    assert json.loads(configs.kubelet(there, cgroup_driver="systemd"))["cgroupDriver"] == "systemd"
    assert "SystemdCgroup = true" in configs.containerd(there, Path("/cni"), True, cgroup_driver="systemd")
    assert json.loads(configs.kubelet(settings))["cgroupDriver"] == "cgroupfs"
    assert "SystemdCgroup = false" in configs.containerd(settings, Path("/cni"), True)


def test_the_image_in_the_cache_is_never_written_to_and_emulation_is_software(tmp_path: Path) -> None:
    image = rootfs.Image(tmp_path / "root.img", tmp_path / "vmlinuz")
    words = qemu.command(image, tmp_path / "data.img", tmp_path / "tap", tmp_path / "serial")
    (root,) = (word for word in words if str(image.disk) in word)
    assert "snapshot=on" in root.split(",")
    assert words[words.index("-accel") + 1].startswith("tcg")


def test_what_makes_the_device_gives_it_our_address_and_the_way_to_the_nodes_pods(tmp_path: Path) -> None:
    ip = tmp_path / "ip"
    ip.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n')
    ip.chmod(0o755)
    script = tmp_path / "tap"
    script.write_text(qemu.tap_script())
    subprocess.run(["sh", script, "cb-node-2"], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (tmp_path / "said").read_text().splitlines() == [
        "address add 10.245.255.1/30 dev cb-node-2",
        "link set cb-node-2 up",
        "route add 10.244.16.0/20 via 10.245.255.2 dev cb-node-2",
    ]


def test_the_image_is_made_anew_when_a_file_of_ours_in_it_changes() -> None:
    files = system.files()
    keys = {rootfs.key(files), rootfs.key(files | {"etc/hostname": "other\n"}), rootfs.key(files | {"etc/new": ""})}
    assert len(keys) == 3
    assert rootfs.key(system.files()) == rootfs.key(files)


def test_down_ends_the_nodes_machine(settings: Settings, machine: subprocess.Popen[bytes]) -> None:
    assert node.Node(settings).alive()
    assert node.end(settings)
    assert not runs(machine)
    assert not (settings.run / "pids" / "node-vm.json").exists()
    assert not node.end(settings)


def test_down_of_the_cluster_ends_the_nodes_machine_too(
    settings: Settings, machine: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup.cgroups, "here", list)  # a cluster that runs here is not ours to end
    assert cleanup.end_processes(settings) == "1 processes"
    assert not runs(machine)


def test_a_stranger_with_the_recorded_pid_is_left_alone(settings: Settings, machine: subprocess.Popen[bytes]) -> None:
    files = processes.PidFiles(settings.run / "pids")
    recorded = files.read(NODE_VM)
    assert recorded is not None
    files.write(NODE_VM, processes.Identity(recorded.pid, recorded.start_ticks + 1, recorded.boot))
    assert not node.end(settings)
    assert runs(machine)


def test_a_node_that_does_not_start_is_taken_away_again_and_the_error_names_the_serial_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.run).mkdir()
    made: list[subprocess.Popen[bytes]] = []

    def start(its: node.Node, *_: object) -> None:
        its.directory.mkdir(parents=True)
        (its.directory / "data.img").touch()
        made.append(subprocess.Popen(["sleep", "600"]))
        identity = processes.identify(made[0].pid)
        assert identity is not None
        its.pids.write(NODE_VM, identity)

    monkeypatch.setattr(lifecycle.Cluster, "node_ip", lambda _: "192.0.2.2")
    monkeypatch.setattr(lifecycle.Cluster, "alive", lambda _: ["kube-apiserver"])
    monkeypatch.setattr(node.packages, "ensure", lambda _: None)
    monkeypatch.setattr(node, "programs", lambda: {"kubectl": Path("kubectl")})
    monkeypatch.setattr(node.rootfs, "ensure", lambda: rootfs.Image(Path("disk"), Path("kernel")))
    monkeypatch.setattr(node.machine, "check_network_free", lambda _: None)
    monkeypatch.setattr(node.health, "api", lambda *_: None)
    monkeypatch.setattr(node, "_start", start)
    monkeypatch.setattr(node.Node, "run", lambda *_, **__: subprocess.CompletedProcess((), 255, "", ""))
    monkeypatch.setattr(node, "BOOT_S", 0.1)
    with pytest.raises(ClusterError, match=r"did not answer within .*node-vm\.serial\.log"):
        node.up(settings)
    assert not runs(made[0])
    made[0].wait(5)
    assert not (settings.state / "node-vm").exists()


def test_without_a_cluster_the_node_is_refused_in_a_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.machine.os, "geteuid", lambda: 0)
    assert run_main(cli.main, ["node-vm", "up"]) == 1
    assert capsys.readouterr().err == "error: the node needs a running cluster: start one with `hack/cluster up`\n"
    assert run_main(cli.main, ["node-vm", "run", "true"]) == 1
    assert "does not run: start it with" in capsys.readouterr().err
    assert cli.main(["node-vm", "status"]) == 3


def test_on_another_architecture_the_node_is_refused_before_anything_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.platform, "machine", lambda: "aarch64")
    with pytest.raises(ClusterError, match="this one is aarch64"):
        node.up(settings)
    assert not settings.state.exists()


def test_counters_are_read_of_pods_of_every_class_and_of_the_besteffort_parent_alone() -> None:
    root = "/sys/fs/cgroup/kubepods.slice"
    found = parse_counters(
        f"{root}/cpu.stat:usage_usec 99\n"
        f"{root}/kubepods-besteffort.slice/cpu.stat:usage_usec 7\n"
        f"{root}/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice/cpu.stat:usage_usec 5\n"
        f"{root}/kubepods-podc_d.slice/cpu.stat:usage_usec 3\n"
        f"{root}/kubepods-podc_d.slice/cri-containerd-1.scope/cpu.stat:usage_usec 2\n"
    )
    assert found.besteffort_us == 7
    assert found.pods_us == {"a-b": 5, "c-d": 3}
