"""Who works on a shared GPU: the real pynvml on the stub, a gRPC kubelet, and /proc of the host or without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.agent.node import UID_A, UID_B
from tests.gpu.driver import GPU_A, GPU_B, MIG_1, MIG_4, Driver
from tests.gpu.kubelet import Kubelet
from tests.gpu.wire import pod_resources

from carbonbudget_agent.device_holders import DeviceHolders
from carbonbudget_agent.device_sharing import NO_POD, UNKNOWN_POD, DeviceUse
from carbonbudget_agent.meters.nvml_interface import Gpus
from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.pods.pod_resources_socket import PodResources
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import PodRequests

PODS = {
    uid: PodInfo(uid, uid, "team", name, None, {}, PodRequests(0, 0, 0)) for uid, name in ((UID_A, "a"), (UID_B, "b"))
}


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    made = Kubelet(tmp_path / "kubelet.sock")
    made.answer = lambda _: pod_resources(("team", "a", [f"{GPU_A}::0"]), ("team", "b", [f"{GPU_A}::1"]))
    yield made
    made.stop()


@pytest.fixture
def look(driver: Driver, kubelet: Kubelet, tmp_path: Path) -> Iterator[tuple[DeviceHolders, WorkCounters]]:
    driver.gpu(0, GPU_A, energy_mj=1_000, busy=60, processes="101:30:100,102:10:100")
    counts, resources = WorkCounters(), PodResources(kubelet.path)
    yield DeviceHolders(Gpus(lambda: 1000.0), resources, tmp_path / "proc", counts), counts
    resources.close()


def process(tmp_path: Path, pid: int, cgroup: str) -> None:
    path = tmp_path / "proc" / str(pid) / "cgroup"
    path.parent.mkdir(parents=True)
    path.write_text(f"0::{cgroup}\n")


def test_with_the_hosts_pids_each_pod_counts_what_its_processes_ran(
    look: tuple[DeviceHolders, WorkCounters], tmp_path: Path
) -> None:
    holders, counts = look
    process(tmp_path, 101, f"/kubepods/besteffort/pod{UID_A}/0123")
    process(tmp_path, 102, f"/kubepods.slice/kubepods-pod{UID_B.replace('-', '_')}.slice/cri-containerd-0123.scope")
    assert holders.devices(PODS) == {f"gpu:{GPU_A}": DeviceUse(2, {UID_A: 1, UID_B: 1}, {UID_A: 30, UID_B: 10}, 600)}
    assert counts.device_errors == 0


def test_a_process_of_the_host_on_a_shared_gpu_is_the_systems(
    look: tuple[DeviceHolders, WorkCounters], tmp_path: Path
) -> None:
    process(tmp_path, 101, f"/kubepods/besteffort/pod{UID_A}/0123")
    process(tmp_path, 102, "/system.slice/display-manager.service")
    (use,) = look[0].devices(PODS).values()
    assert use.active == {UID_A: 30, NO_POD: 10}


@pytest.mark.parametrize("holding", [[], ["a"]], ids=["nobody holds it", "another holds it"])
def test_a_pod_that_works_without_a_claim_is_charged_counted_and_logged_once(
    look: tuple[DeviceHolders, WorkCounters], driver: Driver, kubelet: Kubelet, tmp_path: Path, holding: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    holders, counts = look
    kubelet.answer = lambda _: pod_resources(*(("team", name, [GPU_A]) for name in holding))
    process(tmp_path, 102, f"/kubepods/besteffort/pod{UID_B}/0123")
    for stamp in (200, 300, 400):
        driver.set(0, processes=f"102:10:{stamp}")
        (use,) = holders.devices(PODS).values()
        assert (use.active, use.held) == ({UID_B: 10}, {UID_A: 1} if holding else {})
    assert (counts.gpu_unclaimed, counts.device_errors) == (3, 0)
    assert [record.message for record in caplog.records] == [
        f"pod team/b works on {GPU_A}, which it does not hold: its energy is that pod's"
    ]


def test_short_processes_hide_no_longer_ones(look: tuple[DeviceHolders, WorkCounters], tmp_path: Path) -> None:
    process(tmp_path, 102, f"/kubepods/besteffort/pod{UID_B}/0123")  # 101 has ended meanwhile
    (use,) = look[0].devices(PODS).values()
    assert use.active == {UID_B: 10}


def test_a_single_holder_has_it_all_where_no_process_can_be_seen(
    look: tuple[DeviceHolders, WorkCounters], kubelet: Kubelet, caplog: pytest.LogCaptureFixture
) -> None:
    holders, counts = look
    kubelet.answer = lambda _: pod_resources(("team", "a", [GPU_A]))
    (use,) = holders.devices(PODS).values()
    assert (use.held, use.active, use.busy_permille) == ({UID_A: 1}, {}, 600)
    assert (counts.device_errors, caplog.records) == (0, [])


def test_a_deleted_pod_holds_its_gpu_while_its_cgroup_stands(
    look: tuple[DeviceHolders, WorkCounters], kubelet: Kubelet
) -> None:
    kubelet.answer = lambda _: pod_resources(("team", "a", [GPU_A]))
    gone = {UID_A: replace(PODS[UID_A], gone=True)}
    (use,) = look[0].devices(gone, {UID_A}).values()
    assert use.held == {UID_A: 1}
    for pods in (gone, {}):  # the kubelet names it still, when its name is long forgotten
        (use,) = look[0].devices(pods, set()).values()
        assert use.held == {}


def test_without_the_hosts_pids_a_shared_gpu_goes_by_claims_and_that_is_told_once(
    look: tuple[DeviceHolders, WorkCounters], driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    holders, counts = look
    for stamp in (200, 300, 400):
        driver.set(0, processes=f"101:30:{stamp},102:10:{stamp}")
        (use,) = holders.devices(PODS).values()
        assert (use.held, use.active) == ({UID_A: 1, UID_B: 1}, {})
    assert counts.device_errors == 3
    assert ["hostPID" in record.message for record in caplog.records] == [True]


def test_while_the_kubelet_does_not_answer_the_last_holders_stand(
    look: tuple[DeviceHolders, WorkCounters], kubelet: Kubelet, caplog: pytest.LogCaptureFixture
) -> None:
    holders, counts = look
    (before,) = holders.devices(PODS).values()

    def refuse(context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        raise AssertionError

    kubelet.answer = refuse
    told = len(caplog.records)
    for _ in range(2):
        (use,) = holders.devices(PODS).values()
        assert use.held == before.held
    assert len([record for record in caplog.records[told:] if "last known claims" in record.message]) == 1
    assert counts.device_errors >= 2


def test_a_holder_without_a_name_and_a_device_without_a_gpu_are_told(
    look: tuple[DeviceHolders, WorkCounters], kubelet: Kubelet, caplog: pytest.LogCaptureFixture
) -> None:
    kubelet.answer = lambda _: pod_resources(("team", "gone", [GPU_A]), ("team", "a", [GPU_B]))
    (use,) = look[0].devices(PODS).values()
    assert use.held == {UNKNOWN_POD: 1}
    assert f"device {GPU_B} is claimed by a pod and is not a GPU that the driver lists" in caplog.text
    assert look[1].devices_unmatched == 1


def test_of_two_pods_of_one_name_the_claim_is_that_of_the_one_that_runs(
    look: tuple[DeviceHolders, WorkCounters],
) -> None:
    """A StatefulSet makes its pod anew under the same name; the finished one is known for some minutes more."""
    former = replace(PODS[UID_A], uid="former", cgroup_uid="former", finished=True)
    for pods in ({"former": former} | PODS, PODS | {"former": former}):
        (use,) = look[0].devices(pods).values()
        assert use.held == {UID_A: 1, UID_B: 1}


def test_a_mig_instance_that_was_just_made_is_found_at_once_and_a_stranger_is_asked_for_once(
    driver: Driver, kubelet: Kubelet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver.gpu(0, GPU_A, energy_mj=1, mig=1, max_mig=7)
    gpus, resources = Gpus(lambda: 1000.0), PodResources(kubelet.path)  # a clock that stands: no minute goes by
    holders = DeviceHolders(gpus, resources, tmp_path / "proc", WorkCounters())
    kubelet.answer = lambda _: pod_resources()
    assert holders.devices(PODS)[f"gpu:{GPU_A}"].held == {}
    driver.mig(0, 0, MIG_1, gi=1, parts=1)
    kubelet.answer = lambda _: pod_resources(("team", "a", [MIG_1]), ("team", "b", [MIG_4]))
    assert holders.devices(PODS)[f"gpu:{GPU_A}"].held == {UID_A: 1}
    driver.mig(0, 1, MIG_4, gi=2, parts=4)  # a stranger so far: it is found with the next list
    assert holders.devices(PODS)[f"gpu:{GPU_A}"].held == {UID_A: 1}
    gpus.look_again()
    assert holders.devices(PODS)[f"gpu:{GPU_A}"].held == {UID_A: 1, UID_B: 4}
    assert [MIG_4 in record.message for record in caplog.records] == [True]
    resources.close()


def test_what_was_told_of_devices_that_are_gone_is_forgotten(driver: Driver, kubelet: Kubelet, tmp_path: Path) -> None:
    """A node whose GPUs are cut anew for each job sees ten thousand ids a day."""
    driver.gpu(0, GPU_A, energy_mj=1)
    resources = PodResources(kubelet.path)
    holders = DeviceHolders(Gpus(lambda: 1000.0), resources, tmp_path / "proc", WorkCounters())
    for job in range(50):
        kubelet.answer = lambda _, n=job: pod_resources(("team", "a", [f"MIG-{n}"]))
        holders.devices(PODS)
    assert len(holders._logged) == 1
    resources.close()
