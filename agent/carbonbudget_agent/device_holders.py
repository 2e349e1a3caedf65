"""Finds out which pods claim and use each GPU, from the driver, the kubelet's socket and the pods' names.

Attribution needs this to divide a GPU's energy. A source that fails keeps its last answer.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from pathlib import Path

from carbonbudget_agent.device_sharing import (
    NO_POD,
    UNKNOWN_POD,
    DeviceActivity,
    DeviceClaim,
    DeviceUse,
    Gpu,
    MigInstance,
    device_use,
    join_claims,
)
from carbonbudget_agent.meters.nvml_interface import GpuError, Gpus
from carbonbudget_agent.meters.nvml_meter import domain_of
from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.pods.pod_resources_socket import PodResources, ResourcesError
from carbonbudget_agent.pods.process_pod import pod_of_process
from carbonbudget_agent.work_counters import WorkCounters

_log = logging.getLogger(__name__)
_MAX_LOGGED = 1_000


class DeviceHolders:
    """The use of all GPUs at each sample. Each problem is logged once."""

    def __init__(self, gpus: Gpus, resources: PodResources, procfs: Path, counts: WorkCounters) -> None:
        self._gpus, self._resources, self._procfs, self._counts = gpus, resources, procfs, counts
        self._claims: list[DeviceClaim] = []
        self._logged: set[str] = set()
        self._unmapped: set[str] = set()
        self._unclaimed: dict[tuple[str, str], None] = {}  # what was logged, the oldest first
        self._over: set[tuple[str, str]] = set()

    def devices(self, pods: Mapping[str, PodInfo], running_cgroups: Container[str] = ()) -> dict[str, DeviceUse]:
        """Use of each GPU by the name of its domain; `pods` by the uid of their cgroup.

        A deleted pod still has its device while its cgroup is in `running_cgroups`.
        """
        try:
            gpus = self._gpus.all()
        except GpuError:
            return {}  # its meter logs it
        try:
            self._claims = self._resources.claims()
            self._logged.discard("socket")
        except ResourcesError as error:
            self._log_once("socket", f"{error}; the last known claims of GPUs are used")
        uids: dict[tuple[str, str], str] = {}
        for pod in sorted(pods.values(), key=lambda pod: not pod.gone):  # of two of one name the later one
            if not pod.finished and (not pod.gone or pod.cgroup_uid in running_cgroups):
                uids[pod.namespace, pod.name] = pod.cgroup_uid
        # The kubelet goes on naming pods that have finished, until another one gets their device.
        claimed = {(claim.namespace, claim.pod) for claim in self._claims}
        known = {(pod.namespace, pod.name) for pod in pods.values()}
        self._over = ((known | self._over) & claimed) - uids.keys()
        claims = [claim for claim in self._claims if (claim.namespace, claim.pod) not in self._over]
        holders, unmapped = join_claims(gpus, claims, uids)
        if set(unmapped) - self._unmapped:
            self._gpus.look_again()
            try:
                gpus = self._gpus.all()
            except GpuError:
                return {}
            holders, unmapped = join_claims(gpus, claims, uids)
        for device_id in unmapped:
            self._log_once(device_id, f"device {device_id} is claimed by a pod and is not a GPU that the driver lists")
        self._logged -= self._unmapped - set(unmapped)
        self._unmapped = set(unmapped)
        self._counts.devices_unmatched = len(self._unmapped)
        found: dict[str, DeviceUse] = {}
        for gpu in gpus:
            holding = holders.get(gpu.uuid, [])
            use = device_use(gpu, holding, self._activity(gpu, holding))
            found[domain_of(gpu.uuid)] = use
            self._note_unclaimed(gpu, use, pods)
        return found

    def _note_unclaimed(self, gpu: Gpu, use: DeviceUse, pods: Mapping[str, PodInfo]) -> None:
        """Count and log pods that work on a GPU without a claim: they reached the device without the scheduler."""
        for uid in use.unclaimed:
            if uid not in pods and UNKNOWN_POD in use.held:
                continue  # the holder itself, whose name is not known yet
            self._counts.gpu_unclaimed += 1
            pod = pods.get(uid)
            name = f"pod {pod.namespace}/{pod.name}" if pod else "a pod without a name here"
            if (gpu.uuid, uid) not in self._unclaimed:
                _log.warning("%s works on %s, which it does not hold: its energy is that pod's", name, gpu.uuid)
            self._unclaimed[gpu.uuid, uid] = None
        while len(self._unclaimed) > _MAX_LOGGED:
            del self._unclaimed[next(iter(self._unclaimed))]

    def _activity(self, gpu: Gpu, holding: list[tuple[str, MigInstance | None]]) -> DeviceActivity:
        """The activity that the driver reports. Empty where it fails: then energy is divided by claims."""
        try:
            busy_permille = self._gpus.busy_permille(gpu)
            if gpu.instances:
                return DeviceActivity(busy_permille, instances=self._gpus.instance_activity(gpu))
        except GpuError:
            return DeviceActivity()
        try:
            return DeviceActivity(busy_permille, pods=self._by_pod(gpu, len({uid for uid, _ in holding}) > 1))
        except GpuError:
            return DeviceActivity(busy_permille)

    def _by_pod(self, gpu: Gpu, shared: bool) -> dict[str, int]:
        """Activity of the pods that work on a GPU. Empty where no process can be seen: then claims count.

        A process that ended meanwhile is left out; otherwise many short processes would hide a pod's longer ones.
        """
        used: dict[str, int] = {}
        hidden = False
        for pid, weight in (self._gpus.processes(gpu) or {}).items():
            uid = pod_of_process(self._procfs, pid)
            if uid is None:
                hidden = True
            else:
                used[uid or NO_POD] = used.get(uid or NO_POD, 0) + weight
        if hidden and shared and not used:  # one holder alone has it all
            self._log_once("pids", "processes on a shared GPU cannot be seen (hostPID): it is shared by claims")
        return used

    def _log_once(self, key: str, message: str) -> None:
        self._counts.device_errors += 1
        if key not in self._logged:
            _log.warning("%s", message)
        self._logged.add(key)
