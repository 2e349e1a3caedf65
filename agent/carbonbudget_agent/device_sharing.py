"""Joins GPUs, the kubelet's device claims and pod names: which pods share the energy of each device. Pure.

A device id is one of: `GPU-<uuid>`, `MIG-<uuid>`, the older `MIG-GPU-<uuid>/<gi>/<ci>`, any of them with
`::<n>` for a share (time slicing, MPS), and GKE's `nvidia<minor>`, with `/gi<n>` for an instance and
`/vgpu<n>` for a share. NVIDIA's driver for dynamic resource allocation uses `gpu-<n>`, with the claim's uid before
it in the CDI specification of a claim. Ids are compared without regard to case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

# The holder of a device that is in no list of pods: its energy is unseen, never another pod's.
UNKNOWN_POD: Final = " unseen"
# A process on a device that belongs to no pod: the node's own.
NO_POD: Final = " system"
_GKE = re.compile(r"nvidia(\d+)(?:/gi(\d+))?(?:/vgpu\d+)?")
_CLAIM_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-(?=gpu-)")
_OLD_MIG = re.compile(r"mig-(gpu-[0-9a-f-]+)/(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A MIG device: `parts` of its GPU's parts, inside GPU instance `gpu_instance`."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    parts: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `parts` is how many slices it can be cut into, 1 without MIG. `minor` is -1 if unknown."""

    uuid: str
    name: str
    minor: int
    parts: int = 1
    instances: tuple[MigInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceClaim:
    """A container's hold on one device id, as the kubelet reports it, without the pod's uid."""

    namespace: str
    pod: str
    device_id: str


@dataclass(frozen=True, slots=True)
class DeviceActivity:
    """The measured work of a device: by pod where processes are visible, by GPU instance where it has GPM."""

    busy_permille: int | None = None
    pods: Mapping[str, int] = field(default_factory=dict)
    instances: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """Who shares a device's energy: pods by the uid of their cgroup.

    `held` is the claimed number of the device's `parts`; the idle energy of unclaimed parts is the node's. `active` are
    the weights of the dynamic energy: the pods that work, with or without a claim. It is empty where claims count.
    """

    parts: int
    held: Mapping[str, int] = field(default_factory=dict)
    active: Mapping[str, int] = field(default_factory=dict)
    busy_permille: int | None = None

    @property
    def unclaimed(self) -> set[str]:
        """Pods that work on the device without holding it; UNKNOWN_POD for an instance that no pod holds."""
        return {uid for uid, weight in self.active.items() if weight and uid not in self.held} - {NO_POD}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an id points: a GPU as a whole, or one of its instances."""

    gpu: str
    instance: MigInstance | None = None


def join_claims(
    gpus: Iterable[Gpu], claims: Iterable[DeviceClaim], uids: Mapping[tuple[str, str], str]
) -> tuple[dict[str, list[tuple[str, MigInstance | None]]], list[str]]:
    """Holders of each GPU: (pod, instance or None for the whole), and the NVIDIA ids that fit no GPU.

    A share of a GPU that one pod claims twice counts twice. `uids` gives a pod by namespace and name.
    """
    places = _places(gpus)
    holders: dict[str, list[tuple[str, MigInstance | None]]] = {}
    unmapped: list[str] = []
    for claim in claims:
        place = _find(claim.device_id, places)
        if place is None:
            if re.match(r"(gpu|mig)-|nvidia\d", _plain(claim.device_id)):
                unmapped.append(claim.device_id)
            continue
        uid = uids.get((claim.namespace, claim.pod), UNKNOWN_POD)
        holders.setdefault(place.gpu, []).append((uid, place.instance))
    return holders, unmapped


def nvidia_device(cdi_name: str) -> str:
    """The device in a CDI name (`vendor/class=device`), without a claim's uid; empty for another vendor's."""
    vendor = cdi_name.partition("/")[0]
    device = cdi_name.rpartition("=")[2]
    return _CLAIM_UID.sub("", device, count=1) if vendor == "nvidia.com" or vendor.endswith(".nvidia.com") else ""


def device_use(gpu: Gpu, holders: Iterable[tuple[str, MigInstance | None]], activity: DeviceActivity) -> DeviceUse:
    """One GPU's use.

    Without MIG the holders have all of it, whatever number of shares is offered: each claim is one equal
    part. With MIG an instance counts by its compute slices, divided among the pods that share it. The work of
    an instance without a claim belongs to an unknown pod.
    """
    holders = list(holders)
    if not gpu.instances:
        claimed: dict[str, int] = {}
        for uid, _ in holders:
            claimed[uid] = claimed.get(uid, 0) + 1
        return DeviceUse(max(1, sum(claimed.values())), claimed, dict(activity.pods), activity.busy_permille)
    sharers: dict[str, list[str]] = {}
    for uid, instance in holders:
        if instance is not None:
            sharers.setdefault(instance.uuid, []).append(uid)
    unit = math.lcm(*map(len, sharers.values()))  # each part is cut so that any number of sharers divides it
    claimed = {}
    active: dict[str, int] = {}
    busy = activity.busy_permille
    if busy is None and activity.instances:  # a GPU with instances reports no utilization of its own
        worked = sum(instance.parts * activity.instances.get(instance.gpu_instance, 0) for instance in gpu.instances)
        busy = min(1000, worked // gpu.parts)
    for instance in gpu.instances:
        pods = sharers.get(instance.uuid, [])
        for uid in pods:
            claimed[uid] = claimed.get(uid, 0) + instance.parts * unit // len(pods)
        if instance.gpu_instance in activity.instances:
            worked = instance.parts * unit // max(1, len(pods)) * activity.instances[instance.gpu_instance]
            for uid in pods or [UNKNOWN_POD]:
                active[uid] = active.get(uid, 0) + worked
    return DeviceUse(gpu.parts * unit, claimed, active, busy)


def _places(gpus: Iterable[Gpu]) -> dict[str, _Place]:
    """Every spelling of every device, in lower case."""
    places: dict[str, _Place] = {}
    gpus = list(gpus)
    # NVIDIA's DRA driver numbers GPUs by minor, older ones by index: without a doubt only where both are the same.
    same_numbers = all(gpu.minor == index for index, gpu in enumerate(gpus))
    for gpu in gpus:
        if same_numbers:
            places[f"gpu-{gpu.minor}"] = _Place(gpu.uuid)
        places[gpu.uuid.lower()] = _Place(gpu.uuid)
        if gpu.minor >= 0:
            places[f"nvidia{gpu.minor}"] = _Place(gpu.uuid)
        for instance in gpu.instances:
            place = _Place(gpu.uuid, instance)
            places[instance.uuid.lower()] = place
            places[f"{gpu.uuid}/{instance.gpu_instance}/{instance.compute_instance}".lower()] = place
            if gpu.minor >= 0:
                places.setdefault(f"nvidia{gpu.minor}/gi{instance.gpu_instance}", place)
    return places


def _find(device_id: str, places: Mapping[str, _Place]) -> _Place | None:
    plain = _plain(device_id)
    gke, old = _GKE.fullmatch(plain), _OLD_MIG.fullmatch(plain)
    if gke is not None:
        plain = f"nvidia{gke[1]}" + (f"/gi{gke[2]}" if gke[2] else "")
    elif old is not None:
        plain = f"{old[1]}/{old[2]}/{old[3]}"
    return places.get(plain)


def _plain(device_id: str) -> str:
    """The device alone, in lower case: without the number of a share and without the uid of a claim."""
    return _CLAIM_UID.sub("", device_id.lower().split("::")[0], count=1)
