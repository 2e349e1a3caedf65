"""Attribution: every microjoule goes to somebody, and only once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_agent.attribution import share_domain
from carbonbudget_agent.device_sharing import NO_POD, UNKNOWN_POD, DeviceUse
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.sample import PodCounters, Sample, sample_from_json, sample_to_json
from carbonbudget_agent.usage import Usage, usage_between
from carbonbudget_agent.window import NodeIdentity, Window
from carbonbudget_core.node_report import NodeInfo, PodRequests, check_report

AMOUNTS = st.integers(0, 10**12)
USES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), AMOUNTS, max_size=12)
# Names are known of some pods only: the others' energy is unseen.
INFOS = {
    uid: PodInfo(uid, uid, "team", uid, None, {}, PodRequests(0, 0, 0)) for uid in ("a", "b", "c", "ab", "abc", "fed")
}
DOMAINS = st.sampled_from(["cpu", "dram", "gpu:x"])


@st.composite
def device_uses(draw: st.DrawFn) -> DeviceUse:
    """A GPU that some hold, in parts of those it has; who is active holds it, or is no pod."""
    held = draw(st.dictionaries(st.sampled_from(["a", "b", "zz", UNKNOWN_POD]), st.integers(1, 7), max_size=4))
    active = draw(st.dictionaries(st.sampled_from([*held, NO_POD]), AMOUNTS)) if held else {}
    return DeviceUse(sum(held.values()) + draw(st.integers(0, 7)), held, active, draw(st.none() | st.integers(0, 1000)))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cpu = draw(USES)
    return Usage(
        elapsed_ms=draw(st.integers(1, 10**7)),
        pods_cpu_us=cpu,
        pods_memory_bytes={uid: draw(AMOUNTS) for uid in cpu},
        system_cpu_us=draw(AMOUNTS),
        system_memory_bytes=draw(AMOUNTS),
        unseen_cpu_us=draw(AMOUNTS),
        devices={"gpu:x": draw(device_uses())},
    )


def energy(name: str, measured_uj: int, idle_uj: int | None = None) -> DomainEnergy:
    return DomainEnergy(name, "rapl", "package", 1000, measured_uj, idle_uj)


@given(DOMAINS, AMOUNTS, AMOUNTS, usages())
def test_the_parts_add_up_to_what_was_measured(name: str, measured_uj: int, baseline_uj: int, usage: Usage) -> None:
    shares = share_domain(energy(name, measured_uj), baseline_uj, usage)
    pods = [*shares.pods_uj.values(), *shares.pods_idle_uj.values()]
    parts = [shares.idle_uj, shares.system_uj, shares.unseen_uj, *pods]
    assert sum(parts) == measured_uj
    assert min(parts) >= 0
    assert shares.idle_uj + sum(shares.pods_idle_uj.values()) <= min(measured_uj, baseline_uj)


@given(AMOUNTS, usages())
def test_who_uses_more_never_gets_less(measured_uj: int, usage: Usage) -> None:
    pods = share_domain(energy("cpu", measured_uj), 0, usage).pods_uj
    by_use = sorted(usage.pods_cpu_us, key=lambda uid: usage.pods_cpu_us[uid])
    for less, more in pairwise(by_use):
        if usage.pods_cpu_us[less] < usage.pods_cpu_us[more]:
            assert pods[less] <= pods[more]


@given(DOMAINS, AMOUNTS, AMOUNTS, usages(), st.randoms(use_true_random=False))
def test_the_order_of_pods_does_not_matter(
    name: str, measured_uj: int, baseline_uj: int, usage: Usage, random: Random
) -> None:
    order = list(usage.pods_cpu_us)
    random.shuffle(order)
    mixed = replace(
        usage,
        pods_cpu_us={uid: usage.pods_cpu_us[uid] for uid in order},
        pods_memory_bytes={uid: usage.pods_memory_bytes[uid] for uid in reversed(order)},
    )
    assert share_domain(energy(name, measured_uj), baseline_uj, mixed) == share_domain(
        energy(name, measured_uj), baseline_uj, usage
    )


TICKS = st.lists(st.tuples(DOMAINS, AMOUNTS, AMOUNTS, usages()), min_size=1, max_size=8)


def totals(ticks: list[tuple[str, int, int, Usage]], *ends: int) -> Counter[tuple[str, ...]]:
    """All that is in the reports of windows which end before the ticks `ends`, and of the last one."""
    found: Counter[tuple[str, ...]] = Counter()
    for first, end in pairwise((0, *ends, len(ticks))):
        window = Window(0, 60, 0, 0)
        for name, measured_uj, baseline_uj, usage in ticks[first:end]:
            window.add(usage, [share_domain(energy(name, measured_uj), baseline_uj, usage)], INFOS)
        report = window.close(NodeIdentity("default", "node-1", "boot"), NodeInfo(), INFOS)
        check_report(report)  # each window conserves by itself, in each domain
        for domain in report.domains:
            for part in ("measured_uj", "idle_uj", "system_uj", "unseen_uj", "duration_ms"):
                found[domain.name, part] += getattr(domain, part)
        for pod in report.pods:
            found.update({(pod.uid, "cpu_us"): pod.cpu_us, (pod.uid, "duration_ms"): pod.duration_ms})
            found.update({(pod.uid, "gpu_ms"): pod.gpu_ms})
            found.update({(pod.uid, name): energy_uj for name, energy_uj in pod.energy_uj.items()})
            found.update({(pod.uid, name, "idle"): idle_uj for name, idle_uj in pod.idle_uj.items()})
    return found


@given(TICKS, st.data())
def test_splitting_a_window_in_two_changes_no_total(
    ticks: list[tuple[str, int, int, Usage]], data: st.DataObject
) -> None:
    once = totals(ticks)
    assert once == totals(ticks, data.draw(st.integers(0, len(ticks))))
    for name in ("cpu", "dram", "gpu:x"):
        assert once[name, "measured_uj"] == sum(measured_uj for one, measured_uj, _, _ in ticks if one == name)


def test_dynamic_energy_that_nobodys_use_explains_is_the_systems() -> None:
    shares = share_domain(energy("cpu", 100), 30, Usage(1000, {"a": 0}, {"a": 5}, 0, 0, 0))
    assert (shares.idle_uj, shares.system_uj, shares.pods_uj.get("a", 0)) == (30, 70, 0)


def test_a_meter_that_knows_its_idle_is_believed() -> None:
    shares = share_domain(energy("cpu", 100, idle_uj=40), 90, Usage(1000, {"a": 1}, {}, 1, 0, 1))
    assert (shares.idle_uj, shares.system_uj, shares.unseen_uj, shares.pods_uj) == (40, 20, 20, {"a": 20})


def test_memory_carries_the_dram_domain() -> None:
    shares = share_domain(energy("dram", 100), 0, Usage(1000, {"a": 9, "b": 1}, {"a": 10, "b": 30}, 5, 60, 7))
    assert (shares.pods_uj, shares.system_uj, shares.unseen_uj) == ({"a": 10, "b": 30}, 60, 0)


def sample(pods: dict[str, tuple[int, str]], parents: dict[str, int], busy_us: int = 0, steady_ms: int = 0) -> Sample:
    counters = {uid: PodCounters(cpu_us, 100, parent) for uid, (cpu_us, parent) in pods.items()}
    return Sample(0, steady_ms, {}, busy_us, 0, parents, counters)


def test_the_time_of_a_pod_that_vanished_is_what_its_parent_kept() -> None:
    before = sample({"a": (100, "q"), "b": (50, "q")}, {"q": 150})
    after = sample({"a": (130, "q")}, {"q": 250}, busy_us=120, steady_ms=5)
    usage, carry = usage_between(before, after, {})
    assert usage.pods_cpu_us == {"a": 30, "b": 70}
    assert (usage.unseen_cpu_us, usage.system_cpu_us, carry) == (0, 20, {})


def test_the_time_of_a_pod_that_came_and_went_is_unseen() -> None:
    usage, _ = usage_between(sample({}, {"q": 0}), sample({}, {"q": 40}, 40, 5), {})
    assert (usage.unseen_cpu_us, usage.pods_cpu_us, usage.system_cpu_us) == (40, {}, 0)


def test_another_parents_loss_is_not_given_to_a_pod_that_vanished() -> None:
    before = sample({"a": (100, "q")}, {"q": 100, "r": 0})
    usage, _ = usage_between(before, sample({}, {"q": 110, "r": 7}, 17, 5), {})
    assert (usage.pods_cpu_us, usage.unseen_cpu_us) == ({"a": 10}, 7)


def test_a_pod_that_is_new_counts_from_zero_and_a_parent_made_anew_too() -> None:
    before = sample({}, {"q": 9_000_000_000})
    usage, _ = usage_between(before, sample({"n": (12, "q")}, {"q": 12}, 12, 5), {})
    assert (usage.pods_cpu_us, usage.unseen_cpu_us) == ({"n": 12}, 0)


def test_a_pod_whose_cgroup_was_made_anew_counts_from_zero() -> None:
    usage, _ = usage_between(sample({"a": (900, "q")}, {"q": 900}), sample({"a": (40, "q")}, {"q": 940}, 40, 5), {})
    assert (usage.pods_cpu_us, usage.unseen_cpu_us) == ({"a": 40}, 0)


def test_a_pod_that_was_peeked_at_keeps_what_it_used_and_shares_only_the_rest() -> None:
    before = sample({"old": (100, "q")}, {"q": 100})
    after = replace(sample({}, {"q": 400}, 300, 5), ended={"a": PodCounters(200, 0, "q"), "b": PodCounters(0, 0, "q")})
    usage, _ = usage_between(before, after, {})
    assert usage.pods_cpu_us == {"a": 234, "b": 33, "old": 33}
    assert usage.unseen_cpu_us == 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-500, 500)), min_size=1, max_size=40))
def test_a_skew_between_parent_and_child_never_adds_up(steps: list[tuple[int, int]]) -> None:
    """A pod that lives all along, and a parent read up to half a millisecond early or late each time."""
    before, carry, used, lost = sample({"a": (0, "q")}, {"q": 0}), {}, 0, 0
    for delta_us, skew_us in steps:
        used += delta_us
        after = sample({"a": (used, "q")}, {"q": used + skew_us})
        usage, carry = usage_between(before, after, carry)
        lost += usage.unseen_cpu_us
        before = after
    assert 0 <= lost <= 500


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 10**6), max_size=4), min_size=1, max_size=20))
def test_over_any_coming_and_going_the_booked_time_is_the_parents(life: list[dict[str, int]]) -> None:
    before, carry, booked, parent = sample({}, {"q": 0}), {}, 0, 0
    counters: dict[str, int] = {}
    for tick in life:
        counters = {uid: counters.get(uid, 0) + delta for uid, delta in tick.items()}
        parent += sum(tick.values())
        after = sample({uid: (us, "q") for uid, us in counters.items()}, {"q": parent}, busy_us=parent)
        usage, carry = usage_between(before, after, carry)
        booked += sum(usage.pods_cpu_us.values()) + usage.unseen_cpu_us
        before = after
    assert booked + sum(carry.values()) == parent


def test_a_sample_survives_the_checkpoint() -> None:
    one = sample({"a": (130, "q")}, {"q": 250}, busy_us=120, steady_ms=5)
    assert sample_from_json(sample_to_json(one)) == one
