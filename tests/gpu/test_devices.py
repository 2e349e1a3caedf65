"""Who pays for which part of a GPU: exclusive, shared, cut up, idle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gpu.driver import GPU_A, GPU_B, MIG_1, MIG_2, MIG_4

from carbonbudget_agent.attribution import AttributedEnergy, share_domain
from carbonbudget_agent.device_sharing import (
    NO_POD,
    UNKNOWN_POD,
    DeviceActivity,
    DeviceClaim,
    Gpu,
    MigInstance,
    device_use,
    join_claims,
    nvidia_device,
)
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.usage import Usage

PLAIN = Gpu(GPU_A, "A100", 0)
CUT = Gpu(GPU_B, "A100", 1, 7, (MigInstance(MIG_1, 1, 0, 1), MigInstance(MIG_2, 2, 0, 2), MigInstance(MIG_4, 3, 0, 4)))
UIDS = {("team", "a"): "uid-a", ("team", "b"): "uid-b", ("other", "a"): "uid-c"}


def shares(
    gpu: Gpu,
    claims: list[DeviceClaim],
    activity: DeviceActivity | None = None,
    energy_uj: int = 1000,
    idle_uj: int = 300,
) -> AttributedEnergy:
    holders, _ = join_claims([gpu], claims, UIDS)
    use = device_use(gpu, holders.get(gpu.uuid, []), activity or DeviceActivity())
    domain = DomainEnergy(f"gpu:{gpu.uuid}", "nvml", "board", 1000, energy_uj)
    return share_domain(domain, idle_uj, Usage(1000, {}, {}, 0, 0, 0, {domain.name: use}))


def hold(*ids: str, pod: str = "a", namespace: str = "team") -> list[DeviceClaim]:
    return [DeviceClaim(namespace, pod, device_id) for device_id in ids]


def test_an_exclusive_gpu_is_its_holders_idle_included() -> None:
    found = shares(PLAIN, hold(GPU_A))
    assert (found.pods_uj, found.pods_idle_uj, found.idle_uj, found.system_uj) == (
        {"uid-a": 700}, {"uid-a": 300}, 0, 0,
    )  # fmt: skip


def test_an_unallocated_gpu_idles_for_the_node() -> None:
    found = shares(PLAIN, [], energy_uj=310)
    assert (found.idle_uj, found.system_uj, found.pods_uj, found.pods_idle_uj) == (300, 10, {}, {})


def test_an_idle_holder_holds_the_idle() -> None:
    found = shares(PLAIN, hold(GPU_A), energy_uj=290)
    assert (found.pods_idle_uj, found.idle_uj, sum(found.pods_uj.values())) == ({"uid-a": 290}, 0, 0)


def test_time_slicing_shares_by_what_each_ran_and_idle_by_what_each_holds() -> None:
    claims = [*hold(f"{GPU_A}::1", f"{GPU_A}::2"), *hold(f"{GPU_A}::3", pod="b")]
    found = shares(PLAIN, claims, DeviceActivity(500, pods={"uid-a": 30, "uid-b": 10}))
    assert found.pods_uj == {"uid-a": 525, "uid-b": 175}
    assert found.pods_idle_uj == {"uid-a": 200, "uid-b": 100}
    assert found.pods_gpu_ms == {"uid-a": 375, "uid-b": 125}


def test_where_processes_cannot_be_told_sharers_share_by_claims() -> None:
    found = shares(PLAIN, [*hold(f"{GPU_A}::0", f"{GPU_A}::1"), *hold(f"{GPU_A}::2", pod="b")], DeviceActivity(500))
    assert sum(found.pods_uj.values()) == 700
    assert found.pods_uj == {"uid-a": 467, "uid-b": 233}


def test_a_process_of_no_pod_on_a_shared_gpu_is_the_systems() -> None:
    claims = [*hold(f"{GPU_A}::1"), *hold(f"{GPU_A}::3", pod="b")]
    found = shares(PLAIN, claims, DeviceActivity(500, pods={"uid-a": 10, NO_POD: 60}))
    assert (found.pods_uj, found.system_uj) == ({"uid-a": 100}, 600)


def test_mig_instances_are_held_by_their_slices_and_the_rest_idles_for_the_node() -> None:
    found = shares(CUT, [*hold(MIG_4), *hold(MIG_1, pod="b")], energy_uj=1400, idle_uj=700)
    assert (found.pods_idle_uj, found.idle_uj) == ({"uid-a": 400, "uid-b": 100}, 200)
    assert found.pods_uj == {"uid-a": 560, "uid-b": 140}


def test_with_gpm_a_mig_instance_counts_by_slices_times_activity() -> None:
    claims = [*hold(MIG_4), *hold(MIG_1, pod="b")]
    found = shares(CUT, claims, DeviceActivity(instances={1: 1000, 3: 250}), energy_uj=1700, idle_uj=700)
    assert found.pods_uj == {"uid-a": 500, "uid-b": 500}


def test_with_gpm_a_cut_gpu_is_as_busy_as_its_instances_together() -> None:
    claims = [*hold(MIG_4), *hold(MIG_1, pod="b")]
    holders, _ = join_claims([CUT], claims, UIDS)
    use = device_use(CUT, holders[GPU_B], DeviceActivity(instances={1: 1000, 3: 250}))
    assert use.busy_permille == (1 * 1000 + 4 * 250) // 7
    found = shares(CUT, claims, DeviceActivity(instances={1: 1000, 3: 250}))
    assert found.pods_gpu_ms == {"uid-a": 143, "uid-b": 142}  # of a second of the whole GPU


def test_a_shared_mig_instance_is_cut_to_the_last_microjoule() -> None:
    claims = [*hold(f"{MIG_2}::1"), *hold(f"{MIG_2}::2", pod="b"), *hold(f"{MIG_2}::3", namespace="other")]
    found = shares(CUT, claims, energy_uj=700, idle_uj=700)
    assert sum(found.pods_idle_uj.values()) + found.idle_uj == 700
    assert sorted(found.pods_idle_uj.values()) == [66, 67, 67]


def test_a_holder_that_is_in_no_list_of_pods_is_unseen() -> None:
    found = shares(PLAIN, hold(GPU_A, pod="nobody-knows"))
    assert (found.unseen_uj, found.pods_uj, found.pods_idle_uj) == (1000, {}, {})


@pytest.mark.parametrize(
    ("device_id", "parts"),
    [
        (GPU_A, None), (GPU_A.upper(), None), (f"{GPU_A}::7", None), ("nvidia0", None), ("nvidia0/vgpu3", None),
        (MIG_2, 2), (f"{MIG_2}::0", 2), (f"MIG-{GPU_B}/2/0", 2), ("nvidia1/gi2", 2), ("nvidia1/gi2/vgpu1", 2),
        (f"MIG-{GPU_B}/3/0", 4),
    ],
)  # fmt: skip
def test_every_spelling_of_a_device_is_understood(device_id: str, parts: int | None) -> None:
    holders, unmapped = join_claims([PLAIN, CUT], [DeviceClaim("team", "a", device_id)], UIDS)
    (((uid, instance),),) = holders.values()
    assert (uid, instance.parts if instance else None, unmapped) == ("uid-a", parts, [])


@pytest.mark.parametrize("device_id", ["GPU-ffff", "MIG-ffff::1", "nvidia9", "nvidia1/gi9", "MIG-GPU-x/1/1"])
def test_an_nvidia_device_that_fits_no_gpu_is_told_and_any_other_device_is_no_gpu(device_id: str) -> None:
    assert join_claims([PLAIN, CUT], hold(device_id), UIDS) == ({}, [device_id])
    assert join_claims([PLAIN, CUT], hold("eth0", "0000:3b:00.0", ""), UIDS) == ({}, [])


IDS = [GPU_A, f"{GPU_A}::1", f"{GPU_A}::2", MIG_1, MIG_2, f"{MIG_4}::1", f"{MIG_4}::2", "junk"]
CLAIMS = st.lists(
    st.builds(DeviceClaim, st.sampled_from(["team", "other"]), st.sampled_from("abx"), st.sampled_from(IDS)),
    max_size=12,
)
ACTIVITY = st.builds(
    DeviceActivity,
    st.one_of(st.none(), st.integers(0, 1000)),
    st.dictionaries(st.sampled_from(["uid-a", "uid-b", "stranger", NO_POD]), st.integers(0, 10**4)),
    st.dictionaries(st.integers(0, 4), st.integers(0, 1000)),
)
AMOUNT = st.integers(0, 10**13)


@given(st.sampled_from([PLAIN, CUT]), CLAIMS, ACTIVITY, AMOUNT, AMOUNT)
def test_however_a_gpu_is_shared_the_parts_add_up_to_what_was_measured(
    gpu: Gpu, claims: list[DeviceClaim], activity: DeviceActivity, energy_uj: int, idle_uj: int
) -> None:
    found = shares(gpu, claims, activity, energy_uj, idle_uj)
    parts = [found.idle_uj, found.system_uj, found.unseen_uj, *found.pods_uj.values(), *found.pods_idle_uj.values()]
    assert sum(parts) == energy_uj
    assert min(parts) >= 0
    assert sum(found.pods_gpu_ms.values()) <= 1000
    assert not {NO_POD, UNKNOWN_POD} & (found.pods_uj.keys() | found.pods_idle_uj.keys())


@given(CLAIMS, ACTIVITY, AMOUNT, AMOUNT)
def test_whoever_works_pays_whatever_is_held_and_idle_is_paid_by_holders_alone(
    claims: list[DeviceClaim], activity: DeviceActivity, energy_uj: int, idle_uj: int
) -> None:
    found = shares(PLAIN, claims, activity, energy_uj, idle_uj)
    working = {uid for uid, weight in activity.pods.items() if weight} - {NO_POD}
    if any(activity.pods.values()):
        assert {uid for uid, part_uj in found.pods_uj.items() if part_uj} <= working
    holding = {UIDS.get((claim.namespace, claim.pod), UNKNOWN_POD) for claim in claims}
    assert found.pods_idle_uj.keys() <= holding


@pytest.mark.parametrize(
    ("holders", "idle"),
    [([], {}), (["a"], {"uid-a": 300}), (["a", "a"], {"uid-a": 300})],
    ids=["nobody holds it", "one holds it", "one holds two shares"],
)
def test_a_pod_that_works_without_a_claim_pays_for_its_work_and_holders_for_what_they_hold(
    holders: list[str], idle: dict[str, int]
) -> None:
    claims = [claim for n, pod in enumerate(holders) for claim in hold(f"{GPU_A}::{n}", pod=pod)]
    found = shares(PLAIN, claims, DeviceActivity(1000, pods={"uid-b": 100}))
    assert (found.pods_uj, found.pods_idle_uj, found.system_uj) == ({"uid-b": 700}, idle, 0)
    assert found.pods_gpu_ms == {"uid-b": 1000}


def test_work_of_a_mig_instance_that_nobody_holds_is_unseen_and_no_holder_pays_for_it() -> None:
    found = shares(CUT, hold(MIG_1), DeviceActivity(instances={1: 1000, 3: 250}), energy_uj=1700, idle_uj=700)
    assert (found.pods_uj, found.unseen_uj) == ({"uid-a": 500}, 500)


def test_who_works_without_holding_is_named() -> None:
    holders, _ = join_claims([PLAIN], hold(GPU_A), UIDS)
    active = {"uid-a": 1, "uid-b": 2, "idle": 0, NO_POD: 3}
    assert device_use(PLAIN, holders[GPU_A], DeviceActivity(pods=active)).unclaimed == {"uid-b"}


CLAIM_UID = "5d1c0d0e-0000-4000-8000-00000000000a"


@pytest.mark.parametrize("device_id", ["gpu-0", f"{CLAIM_UID}-gpu-0"])
def test_dra_names_are_matched_by_number_where_minor_and_index_agree(device_id: str) -> None:
    second = Gpu(GPU_B, "A100", 1)
    assert join_claims([PLAIN, second], hold(device_id), UIDS) == ({GPU_A: [("uid-a", None)]}, [])


@pytest.mark.parametrize("minors", [(1, 0), (0, 2), (-1, -1), (0, -1)])
@pytest.mark.parametrize("device_id", ["gpu-0", f"{CLAIM_UID}-gpu-1", "gpu-0-mig-9-0-1", "gpu-vfio-0"])
def test_dra_names_that_could_be_either_are_reported(device_id: str, minors: tuple[int, int]) -> None:
    gpus = [Gpu(uuid, "A100", minor) for uuid, minor in zip((GPU_A, GPU_B), minors, strict=True)]
    assert join_claims(gpus, hold(device_id), UIDS) == ({}, [device_id])


@pytest.mark.parametrize(
    ("cdi_name", "device"),
    [
        (f"nvidia.com/gpu={GPU_A}", GPU_A),
        ("k8s.gpu.nvidia.com/device=gpu-0", "gpu-0"),
        (f"k8s.gpu.nvidia.com/claim={CLAIM_UID}-gpu-0", "gpu-0"),
        ("gpu.example.com/gpu=gpu-0", ""),
        ("evilnvidia.com/gpu=gpu-0", ""),
        ("", ""),
    ],
)
def test_of_cdi_names_those_of_nvidia_are_taken(cdi_name: str, device: str) -> None:
    assert nvidia_device(cdi_name) == device


@given(st.sampled_from([PLAIN, CUT]), CLAIMS, ACTIVITY, AMOUNT, AMOUNT, st.randoms(use_true_random=False))
def test_the_order_of_claims_does_not_matter(
    gpu: Gpu, claims: list[DeviceClaim], activity: DeviceActivity, energy_uj: int, idle_uj: int, random: object
) -> None:
    mixed = list(claims)
    random.shuffle(mixed)
    one, other = (shares(gpu, order, activity, energy_uj, idle_uj) for order in (claims, mixed))
    assert (one.pods_uj, one.pods_idle_uj, one.idle_uj) == (other.pods_uj, other.pods_idle_uj, other.idle_uj)


@given(st.dictionaries(st.sampled_from(["uid-a", "uid-b"]), st.integers(1, 10**6), min_size=2), AMOUNT, AMOUNT)
def test_who_works_more_on_a_shared_gpu_never_gets_less_of_its_dynamic_energy(
    work: dict[str, int], energy_uj: int, idle_uj: int
) -> None:
    claims = [DeviceClaim("team", name, f"{GPU_A}::{n}") for n, name in enumerate("ab")]
    found = shares(PLAIN, claims, DeviceActivity(500, pods=work), energy_uj, idle_uj).pods_uj
    less, more = sorted(work, key=lambda uid: work[uid])
    assert work[less] == work[more] or found[less] <= found[more]
