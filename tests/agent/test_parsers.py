"""Whatever a kernel, a disk or a broken mount puts into a file: a figure, or a refusal that the agent expects."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from tests.agent.node import UID_A

from carbonbudget_agent import node_description
from carbonbudget_agent.checkpoint import load_checkpoint
from carbonbudget_agent.meters.hwmon import detect_hwmon
from carbonbudget_agent.meters.microarchitecture import find_microarchitecture, first_processor
from carbonbudget_agent.meters.power_model import detect_model
from carbonbudget_agent.meters.rapl import detect_rapl
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.pod_file import FilePods
from carbonbudget_agent.pods.process_pod import pod_of_process
from carbonbudget_agent.work_counters import WorkCounters

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["", " ", "-", "0x10", "1e9", "NaN", "9" * 5000, "\u0661\u0662", "1 2", "\0"]),
)
# Bytes as they come, and lines that are nearly right: keys that are known with values that are not.
KEYS = st.sampled_from([
    "processor", "vendor_id", "cpu family", "model", "stepping", "model name", "CPU implementer", "CPU part",
    "MemTotal", "MemAvailable", "cpu", "cpu0", "usage_usec", "inactive_file", "total_inactive_file", "0::/kubepods",
])  # fmt: skip
LINES = st.lists(st.tuples(KEYS, st.sampled_from([": ", "\t: ", " ", "  "]), NUMBERS), max_size=12)
CONTENT = st.one_of(
    st.binary(max_size=200),
    NUMBERS.map(lambda number: number.encode()),
    LINES.map(lambda lines: "\n".join("".join(line) for line in lines).encode()),
    st.just(b"[" * 50_000),
)


def write(root: str, name: str, content: bytes) -> Path:
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@given(CONTENT)
def test_any_proc_is_a_node_or_a_refusal(content: bytes) -> None:
    with TemporaryDirectory() as root:
        for name in ("stat", "meminfo", "cpuinfo", "7/cgroup"):
            write(root, name, content)
        total, used = node_description.memory_bytes(Path(root))
        assert used >= 0
        assert total >= 0
        assert node_description.local_info(Path(root)).threads >= 0
        assert detect_model(Path(root)).meter is not None
        pod_of_process(Path(root), 7)
        find_microarchitecture(first_processor(content.decode("utf-8", "replace")))
        with suppress(ValueError):
            assert node_description.busy_us(Path(root)) >= 0


@given(CONTENT, CONTENT, CONTENT)
def test_any_powercap_and_hwmon_is_a_meter_or_a_reason(name: bytes, energy: bytes, limit: bytes) -> None:
    with TemporaryDirectory() as root:
        for zone, title in (("intel-rapl:0", b"package-0"), ("intel-rapl:0/intel-rapl:0:0", b"dram"),
                            ("intel-rapl:1", name)):  # fmt: skip
            for file, content in (("name", title), ("energy_uj", energy), ("max_energy_range_uj", limit)):
                write(root, f"class/powercap/{zone}/{file}", content)
        for file, content in (("name", b"amd_energy"), ("energy1_label", b"Esocket0"), ("energy1_input", energy)):
            write(root, f"class/hwmon/hwmon0/{file}", content)
        write(root, "class/hwmon/hwmon1/name", name)
        for detection in (detect_rapl(Path(root)), detect_hwmon(Path(root))):
            assert detection.reason
            if detection.meter is not None:
                reading = detection.meter.read(0)
                assert reading.counters or reading.failed


@given(CONTENT, CONTENT)
def test_any_cgroup_file_is_a_counter_or_left_out(cpu: bytes, memory: bytes) -> None:
    with TemporaryDirectory() as root:
        for path in ("", "kubepods.slice", f"kubepods.slice/kubepods-pod{UID_A.replace('-', '_')}.slice"):
            for file, content in (("cpu.stat", cpu), ("memory.current", memory), ("memory.stat", memory)):
                write(root, f"{path}/{file}" if path else file, content)
        write(root, "cgroup.controllers", b"cpu memory")
        reader = CgroupReader(Path(root))
        try:
            reader.peek()
            for counters in reader.read().pods.values():
                assert 0 <= counters.cpu_us < 10**20
                assert 0 <= counters.memory_bytes < 10**20
        finally:
            reader.close()


@given(CONTENT)
def test_any_file_of_the_agents_own_is_read_or_left_out(content: bytes) -> None:
    with TemporaryDirectory() as root:
        path = write(root, "checkpoint.json", content)
        assert load_checkpoint(path, "boot").sample is None
        assert FilePods(path, "node-1", WorkCounters()).pods() == {}
        counts, name = WorkCounters(), "001764000000-000000-6f0c0000.json.z"
        write(root, f"outbox/{name}", content)
        box = Outbox(Path(root, "outbox"), counts)
        assert box.names() == [name]
        assert box.read(name) is None
        assert (counts.corrupt, box.names()) == (1, [])
