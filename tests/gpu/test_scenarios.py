"""Scenarios of a GPU node with the energy that each pod must get: the whole agent on a scripted driver.

The real pynvml over the compiled stub, a real gRPC kubelet, cgroups as files, a clock that the test turns.
GPUs draw constant or changing watts for a minute; a pod's joules are known beforehand, and what the ledger
would be told is held against them. docs/reference/agent.md shows the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.agent.node import UID_A, UID_B, FakeClock, FakeNode
from tests.gpu.driver import GPU_A, GPU_B, MIG_1, MIG_2, MIG_4, Driver
from tests.gpu.kubelet import Kubelet
from tests.gpu.wire import pod_resources

from carbonbudget_agent.checkpoint import Checkpoint
from carbonbudget_agent.collector import Collector
from carbonbudget_agent.device_holders import DeviceHolders
from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters.nvml_interface import Gpus
from carbonbudget_agent.meters.nvml_meter import NvmlMeter
from carbonbudget_agent.meters.power_model import detect_model
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.pod_file import FilePods
from carbonbudget_agent.pods.pod_resources_socket import PodResources
from carbonbudget_agent.window import NodeIdentity
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeInfo, NodeReport
from carbonbudget_core.node_report_json import decode_report, encode_report

START = 1_764_000_000
TICK = 5
GPU_IS_LOST = 15
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Scenario:
    """`step(driver, second)` changes the driver before each look; `joules` is what must come of a minute.

    Of each pod and of the node (idle, system, unseen), over all GPUs, held idle included.
    """

    title: str
    gpus: dict[str, int]
    claims: dict[str, list[str]]
    joules: dict[str, float]
    set_up: Callable[[Driver], None] = lambda _: None
    step: Callable[[Driver, int], None] = lambda _driver, _second: None
    has_counter: bool = True
    processes: dict[int, str] = field(default_factory=dict)
    finished: tuple[str, ...] = ()


def _instances(driver: Driver) -> None:
    driver.set(0, mig=1, max_mig=7)
    for index, (uuid, parts) in enumerate([(MIG_1, 1), (MIG_4, 4), (MIG_2, 2)]):
        driver.mig(0, index, uuid, gi=index + 1, parts=parts)


def _gpm(driver: Driver) -> None:
    _instances(driver)
    driver.set(0, gpm=1, **{"gi1.sm": 100, "gi2.sm": 25, "gi3.sm": 0})


def _lost(driver: Driver, second: int) -> None:
    code = GPU_IS_LOST if 10 <= second < 40 else None
    driver.fail("nvmlDeviceGetTotalEnergyConsumption", code, gpu=1)


def _reload(driver: Driver, second: int) -> None:
    """At 30 s the driver is loaded again: its counter begins anew, and 5 s of it were counted before that."""
    if second >= 30:
        driver.set(0, energy_mj=300_000 * (second - 30))


def _work(driver: Driver, second: int) -> None:
    """Each look finds what was used since the last: three quarters and a quarter."""
    driver.set(0, processes=f"101:60:{second * 10**6},102:20:{second * 10**6}")


def _stolen(driver: Driver, second: int) -> None:
    driver.set(0, processes=f"102:90:{second * 10**6}")


SCENARIOS = [
    Scenario("one GPU at 300 W, held whole", {GPU_A: 300}, {"a": [GPU_A]}, {"a": 18_000}),
    Scenario("300 W and 200 W, one pod each", {GPU_A: 300, GPU_B: 200}, {"a": [GPU_A], "b": [GPU_B]},
             {"a": 18_000, "b": 12_000}),
    Scenario("60 W, held by nobody", {GPU_A: 60}, {}, {"node": 3_600}),
    Scenario("200 W, two time-sliced shares that nobody can tell apart", {GPU_A: 200},
             {"a": [f"{GPU_A}::0"], "b": [f"{GPU_A}::1"]}, {"a": 6_000, "b": 6_000}),
    Scenario("200 W at full use, shares 1:1, work 3:1 (24 W idle)", {GPU_A: 200},
             {"a": [f"{GPU_A}::0"], "b": [f"{GPU_A}::1"]}, {"a": 720 + 7_920, "b": 720 + 2_640},
             set_up=lambda driver: driver.set(0, processes=""), step=_work, processes={101: UID_A, 102: UID_B}),
    Scenario("300 W at full use, held by a, worked on by b without a claim (36 W idle)", {GPU_A: 300},
             {"a": [GPU_A]}, {"a": 2_160, "b": 15_840}, set_up=lambda driver: driver.set(0, processes=""),
             step=_stolen, processes={102: UID_B}),
    Scenario("140 W cut by MIG: 1 and 4 of 7 slices held, 2 free (46 W idle, by its kind)", {GPU_A: 140},
             {"a": [MIG_1], "b": [MIG_4]}, {"a": 394.29 + 1_128, "b": 1_577.14 + 4_512, "node": 788.57},
             set_up=_instances),
    Scenario("the same with GPM: 100 % of 1 slice, 25 % of 4 (49.4 W idle, learned)", {GPU_A: 140},
             {"a": [MIG_1], "b": [MIG_4]}, {"a": 423.53 + 2_717.65, "b": 1_694.12 + 2_717.65, "node": 847.06},
             set_up=_gpm),
    Scenario("150 W without a counter, power integrated", {GPU_A: 150}, {"a": [GPU_A]}, {"a": 9_000},
             has_counter=False),
    Scenario("one of two lost for 30 s and back: 300 W and 200 W", {GPU_A: 300, GPU_B: 200},
             {"a": [GPU_A], "b": [GPU_B]}, {"a": 18_000, "b": 12_000}, step=_lost),
    Scenario("300 W, driver loaded again at 30 s: 5 s between looks are lost", {GPU_A: 300}, {"a": [GPU_A]},
             {"a": 16_500}, step=_reload),
    Scenario("300 W, held by a pod without a name", {GPU_A: 300}, {"nobody": [GPU_A]}, {"node": 18_000}),
    Scenario("60 W, claimed by a finished pod that the kubelet still names", {GPU_A: 60}, {"a": [GPU_A]},
             {"node": 3_600}, finished=(UID_A,)),
    Scenario("300 W, claimed by a finished pod and by the next one", {GPU_A: 300}, {"a": [GPU_A], "b": [GPU_A]},
             {"b": 18_000}, finished=(UID_A,)),
]  # fmt: skip


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    made = Kubelet(tmp_path / "kubelet.sock")
    yield made
    made.stop()


def play(scenario: Scenario, driver: Driver, kubelet: Kubelet, root: Path) -> NodeReport:
    """A minute of it; the report as the server would read it."""
    node, clock, counts = FakeNode(root), FakeClock(START), WorkCounters()
    for uid in (UID_A, UID_B):
        node.burn(1_000, uid)
    for pid, uid in scenario.processes.items():
        node.write(f"proc/{pid}/cgroup", f"0::/kubepods/burstable/pod{uid}/x\n")
    energies = dict.fromkeys(scenario.gpus, 10**9)
    for index, (uuid, watts) in enumerate(scenario.gpus.items()):
        says = {"energy_mj": 10**9} if scenario.has_counter else {}
        busy = {} if scenario.set_up in (_instances, _gpm) else {"busy": 100}
        driver.gpu(index, uuid, power_mw=watts * 1000, **says, **busy)
    scenario.set_up(driver)
    kubelet.answer = lambda _: pod_resources(*(("team-a", f"pod-{p}", ids) for p, ids in scenario.claims.items()))
    meter = NvmlMeter(Gpus(lambda: clock.steady / 1000))
    model = detect_model(node.procfs).meter
    assert model is not None
    resources = PodResources(kubelet.path)
    collector = Collector(
        NodeIdentity("default", "node-1", "boot"), Metering([model, meter], counts), CgroupReader(node.cgroups),
        FilePods(node.pod_list(UID_A, UID_B, finished=scenario.finished), "node-1", counts), node.procfs, 60, clock,
        Checkpoint("boot"),
        NodeInfo, counts, DeviceHolders(meter.gpus, resources, node.procfs, counts),
    )  # fmt: skip
    collector.tick()
    report = None
    for second in range(TICK, 61, TICK):
        clock.go(TICK)
        for index, (uuid, watts) in enumerate(scenario.gpus.items()):
            energies[uuid] += watts * TICK * 1000
            if scenario.has_counter:
                driver.set(index, energy_mj=energies[uuid])
        scenario.step(driver, second)
        report = collector.tick() or report
    resources.close()
    assert report is not None
    return decode_report(encode_report(report))


def joules(report: NodeReport) -> dict[str, float]:
    """Of pods by the last letter of their name, and of the node, over all GPUs."""
    found = {
        pod.name[-1]: sum(uj for part in (pod.energy_uj, pod.idle_uj) for d, uj in part.items() if d != "cpu") / 1e6
        for pod in report.pods
    }
    node = sum(d.idle_uj + d.system_uj + d.unseen_uj for d in report.domains if d.name != "cpu") / 1e6
    return {name: value for name, value in (found | {"node": node}).items() if value}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_each_holder_gets_the_joules_of_what_it_holds(
    scenario: Scenario, driver: Driver, kubelet: Kubelet, tmp_path: Path
) -> None:
    found = joules(play(scenario, driver, kubelet, tmp_path / "node"))
    assert found == pytest.approx(scenario.joules, rel=0.001), found


def test_the_reference_shows_the_scenarios_and_what_they_gave() -> None:
    shown = (ROOT / "docs" / "reference" / "agent.md").read_text(encoding="utf-8").splitlines()
    for scenario in SCENARIOS:
        figures = [scenario.joules.get(who) for who in ("a", "b", "node")]
        assert f"| {scenario.title} | {' | '.join('' if f is None else f'{f:,.0f}' for f in figures)} |" in shown
