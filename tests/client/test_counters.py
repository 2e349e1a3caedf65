"""Weights of a span: CPU time of the container's own cgroup, and the energy that NVML counts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.client.trainings import ContractServer, train

from carbonbudget.cpu_counter import CpuCounter, counter_file
from carbonbudget.gpu_counter import GpuCounter

V2, V1 = "usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n", "1234567000\n"


def tree(folder: Path, cgroup: str, **files: str) -> tuple[str, str]:
    """A machine's /proc and /sys/fs/cgroup; `__` in a name is `/`, the last `_` is a dot."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, content in files.items():
        path = folder / "sys" / name.replace("__", "/").replace("-", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder / "proc"), str(folder / "sys")


@pytest.mark.parametrize(
    ("cgroup", "files", "found"),
    [
        # A container with cgroup version 2 and a namespace of its own.
        ("0::/\n", {"cpu-stat": V2, "cgroup-type": "domain"}, "cpu.stat"),
        # The same without a namespace: the node's whole tree is mounted.
        ("0::/kubepods/pod1\n", {"kubepods__pod1__cpu-stat": V2, "kubepods__pod1__cgroup-type": "x", "cpu-stat": V2},
         "kubepods/pod1/cpu.stat"),
        # A container with version 1: the path is the node's, the mounted tree begins at the container.
        ("4:cpu,cpuacct:/kubepods/pod1\n", {"cpu,cpuacct__cpuacct-usage": V1}, "cpu,cpuacct/cpuacct.usage"),
        ("2:cpuacct:/a\n1:cpu:/b\n0::/\n", {"cpuacct__a__cpuacct-usage": V1}, "cpuacct/a/cpuacct.usage"),
        # A machine's roots count all that runs on it.
        ("0::/\n", {"cpu-stat": V2}, None),
        ("2:cpuacct:/\n", {"cpuacct__cpuacct-usage": V1, "cpuacct__release_agent": ""}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu-stat": "nr_periods 0\n", "cgroup-type": "x"}, None),
        ("nonsense", {}, None),
    ],
)  # fmt: skip
def test_the_counter_is_the_containers_own(
    tmp_path: Path, cgroup: str, files: dict[str, str], found: str | None
) -> None:
    proc, root = tree(tmp_path, cgroup, **files)
    file = counter_file(proc, root)
    assert file == (f"{root}/{found}" if found else None)
    if file:
        assert CpuCounter(file).read_us() == 1_234_567


def test_outside_a_container_it_is_the_process_and_its_ended_children(tmp_path: Path) -> None:
    counter = CpuCounter(counter_file(str(tmp_path), str(tmp_path)))
    before = counter.read_us()
    child = os.fork()
    if child == 0:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    after = counter.read_us()
    assert before is not None
    assert after is not None
    assert after - before > 90_000


def test_a_counter_whose_file_was_closed_or_replaced_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "cpu.stat"
    path.write_text(V2)
    counter = CpuCounter(str(path))
    os.close(counter._descriptor)
    assert counter.read_us() is None
    other = CpuCounter(str(path))
    path.write_text("something else\n")
    assert other.read_us() is None
    path.write_text(V2)
    assert other.read_us() is None


class Nvml:
    """A module like pynvml with two GPUs of 100 W each."""

    def __init__(self) -> None:
        self.energy_mj = 1_000_000
        self.broken = False

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if self.broken:
            raise RuntimeError("GPU is lost")
        return self.energy_mj + handle


def test_the_energy_of_gpus_is_interpolated_between_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml, now_ns = Nvml(), [10**18]
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns[0])
    gpu = GpuCounter()
    assert gpu.open()
    start_ms, start_uj = 10**12, 2_000_001_000
    for _ in range(5_000):
        nvml.energy_mj += 100_000
        now_ns[0] += 10**9
        assert gpu.sample()
    assert len(gpu._times_ms) < 2_048
    assert gpu.at_uj(start_ms) == start_uj
    assert gpu.at_uj(start_ms - 1_000) == start_uj
    for at_ms in (1, 500, 123_456, 4_999_500, 5_000_000):
        assert gpu.at_uj(start_ms + at_ms) == start_uj + at_ms * 200_000
    assert gpu.at_uj(start_ms + 5_000_001) is None
    assert gpu.at_uj(start_ms - 10_000) is None
    nvml.broken = True
    assert not gpu.sample()
    assert not gpu.sample()


def test_without_gpus_there_is_no_gpu_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    nvml.broken = True
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    gpu = GpuCounter()
    assert not gpu.open()
    assert gpu.at_uj(0) is None


def test_a_training_that_has_pynvml_sends_gpu_weights(server: ContractServer) -> None:
    ended = train(
        """
        import sys, time, types
        energy_mj, reads = 10_000, 0
        def read(handle):
            global reads
            reads += 1
            return energy_mj
        def await_samples():
            # The first read may have begun before, and its sample may share a millisecond with the edge.
            wanted, deadline = reads + 3, time.monotonic() + 60
            while reads < wanted and time.monotonic() < deadline:
                cb.flush(0)
                time.sleep(0.002)
        sys.modules["pynvml"] = types.SimpleNamespace(
            nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 1, nvmlDeviceGetHandleByIndex=lambda number: number,
            nvmlDeviceGetTotalEnergyConsumption=read)
        import carbonbudget as cb
        with cb.track("first"): pass
        with cb.track("a"):
            await_samples()
            energy_mj = 40_000
            await_samples()
        cb.flush(5)
        """,
        **server.variables,
    )
    assert ended.code == 0
    [gpu_uj] = [span["gpu_uj"] for span in server.spans() if span["name"] == "a"]
    assert gpu_uj == [10_000_000, 40_000_000]  # exact, however long the machine took
