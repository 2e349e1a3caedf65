"""What pods used between two looks: whatever the order and delay of reads, nobody gets more than the node had."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_agent.attribution import share_domain
from carbonbudget_agent.device_sharing import DeviceUse
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.sample import PodCounters, PodLifetime, Sample
from carbonbudget_agent.usage import Usage, usage_between

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
THREADS = 64
SECOND_US = 1_000_000
LONGEST_LOOK_MS = 8 * 60  # of the simulated node: so many reads, each up to 60 ms after the one before
START_MS = 1_764_000_000_000


def sample(
    pods: dict[str, tuple[int, str]], parents: dict[str, int], busy_us: int, at_ms: int, **more: dict[str, DeviceUse]
) -> Sample:
    """A sample at this many milliseconds after START; each pod holds 1 GB."""
    counters = {uid: PodCounters(cpu_us, 10**9, parent) for uid, (cpu_us, parent) in pods.items()}
    return Sample(START_MS + at_ms, at_ms, {}, busy_us, 10**9 * len(pods), parents, counters, **more)


def test_a_difference_that_falls_with_a_delay_between_two_reads_books_nothing_and_is_made_up_for() -> None:
    """`kubepods` less its slices falls by 3.2 s: the slices are read 50 ms after it, on 64 busy CPUs. A pod ended."""
    hour_us = 3_600 * SECOND_US
    before = sample({"live": (hour_us, "burstable"), "ended": (500, "kubepods")},
                    {"kubepods": hour_us, "burstable": hour_us}, 2 * hour_us, 0)  # fmt: skip
    live_us = hour_us + 320 * SECOND_US
    delayed = sample({"live": (live_us, "burstable")}, {"kubepods": hour_us - 3_200_000, "burstable": live_us},
                     2 * hour_us + 316_800_000, 5_000)  # fmt: skip
    usage, carry = usage_between(before, delayed, {}, THREADS)
    assert usage.pods_cpu_us == {"live": 320 * SECOND_US}
    energy = DomainEnergy("cpu", "rapl", "package", 5_000, 1_500_000_000)
    assert share_domain(energy, 0, usage).pods_uj == {"live": 1_500_000_000}  # 1,499.8 J went to the other one
    back = sample({"live": (live_us, "burstable")}, {"kubepods": hour_us, "burstable": live_us},
                  2 * hour_us + 320 * SECOND_US, 10_000)  # fmt: skip
    usage, carry = usage_between(delayed, back, carry, THREADS)
    assert (usage.pods_cpu_us, usage.unseen_cpu_us, carry) == ({"live": 0}, 0, {})


def test_a_slice_that_was_made_anew_gives_its_past_to_nobody() -> None:
    """What it had used stays in `kubepods`, whose own part seems to have used all of that at once."""
    before = sample({"g": (0, "kubepods")}, {"kubepods": 0, "besteffort": 9_000 * SECOND_US}, 0, 0)
    for parents in ({"kubepods": 9_000 * SECOND_US, "besteffort": 0}, {"kubepods": 9_000 * SECOND_US}):
        usage, _ = usage_between(before, sample({}, parents, 0, 5_000), {}, THREADS)
        assert sum(usage.pods_cpu_us.values()) + usage.unseen_cpu_us == 0


def test_the_system_is_the_nodes_time_less_the_pods_and_a_fall_of_it_is_carried() -> None:
    carry: dict[str, int] = {}
    before, booked = sample({"a": (0, "q")}, {"q": 0}, 0, 0), []
    for step, busy_us in enumerate((10 * SECOND_US, 18 * SECOND_US, 31 * SECOND_US), start=1):
        used_us = 9 * SECOND_US * step
        after = sample({"a": (used_us, "q")}, {"q": used_us}, busy_us, 5_000 * step)
        usage, carry = usage_between(before, after, carry, THREADS)
        booked.append(usage.system_cpu_us)
        before = after
    assert booked == [SECOND_US, 0, 3 * SECOND_US]  # 31 - 27 in all


@pytest.mark.parametrize("cpu_us", [400 * SECOND_US, 10**15])
def test_a_counter_that_shows_more_than_the_node_has_is_cut(cpu_us: int) -> None:
    before = sample({}, {"q": 0}, 0, 0)
    after = sample({"a": (cpu_us, "q"), "b": (cpu_us, "q")}, {"q": 3 * cpu_us}, 9 * cpu_us, 5_000)
    usage, _ = usage_between(before, after, {}, THREADS)
    most_us = THREADS * 6 * SECOND_US
    assert usage.pods_cpu_us == {"a": most_us // 2, "b": most_us // 2}
    assert (usage.unseen_cpu_us, usage.system_cpu_us) == (0, 0)
    assert usage.beyond_us == 3 * cpu_us - most_us


@dataclass(frozen=True)
class Busy:
    """A pod that keeps some CPUs busy for a time."""

    uid: str
    parent: str
    cpus: int
    start_ms: int
    end_ms: int

    def used_us(self, at_ms: int) -> int:
        return self.cpus * 1000 * max(0, min(at_ms, self.end_ms) - self.start_ms)


def busy_pods(random: Random) -> list[Busy]:
    """Pods on 64 CPUs that are mostly busy: each half of the node runs one pod after the other."""
    found: list[Busy] = []
    for half in range(2):
        now_ms = 0
        while now_ms < 60_000:
            end_ms = now_ms + random.randint(200, 30_000)
            parent = random.choice(["kubepods", "burstable", "besteffort"])
            found.append(Busy(f"{half}-{len(found)}", parent, THREADS // 2, now_ms, end_ms))
            now_ms = end_ms + random.choice([0, 0, 3_000])
    return found


class Looks:
    """Reads in the order of the agent, each some milliseconds after the one before."""

    def __init__(self, pods: list[Busy], random: Random) -> None:
        self.pods, self.random, self.now_ms = pods, random, 0

    def _pause(self) -> int:
        self.now_ms += self.random.choice([0, 0, 0, 1, 20, 60])
        return self.now_ms

    def _total(self, parents: set[str]) -> int:
        at_ms = self._pause()
        return sum(pod.used_us(at_ms) for pod in self.pods if pod.parent in parents)

    def look(self, at_ms: int) -> Sample:
        self.now_ms = max(self.now_ms, at_ms)
        listed = [pod for pod in self.pods if pod.start_ms <= self.now_ms < pod.end_ms]
        everything = {"kubepods", "burstable", "besteffort"}
        root_us = self._total(everything)
        slices = {name: self._total({name}) for name in ("burstable", "besteffort")}
        found = {pod.uid: (pod.used_us(self._pause()), pod.parent) for pod in listed}
        busy_us = self._total(everything)
        parents = {"kubepods": root_us - sum(slices.values()), **slices}
        return sample(found, parents, busy_us, self._pause())


@given(st.integers(0, 2**32))
def test_over_any_delays_of_reads_what_is_booked_is_what_was_used_and_never_more_than_the_node_has(seed: int) -> None:
    random = Random(seed)
    pods = busy_pods(random)
    looks = Looks(pods, random)
    before, carry, booked_us = looks.look(0), dict[str, int](), 0
    first_us = sum(pod.used_us(before.steady_ms) for pod in pods)
    for at_ms in range(5_000, 61_000, 5_000):
        after = looks.look(at_ms)
        usage, carry = usage_between(before, after, carry, THREADS)
        all_us = sum(usage.pods_cpu_us.values()) + usage.unseen_cpu_us
        assert all_us + usage.system_cpu_us <= THREADS * (usage.elapsed_ms + 1_000) * 1000
        assert usage.beyond_us == 0
        assert min(usage.system_cpu_us, usage.unseen_cpu_us, *usage.pods_cpu_us.values(), 0) == 0
        assert usage.system_cpu_us <= LONGEST_LOOK_MS * THREADS * 1000  # there is none: delays alone
        booked_us += all_us
        before = after
    used_us = sum(pod.used_us(before.steady_ms) for pod in pods) - first_us
    assert abs(booked_us - used_us) <= LONGEST_LOOK_MS * THREADS * 1000  # the delays of one look, never of all


@given(
    st.lists(st.tuples(st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 2**50)), min_size=2, max_size=6),
    st.integers(1, 256),
)
def test_whatever_the_counters_say_nobody_used_more_than_the_node_has(
    figures: list[tuple[int, int, int]], threads: int
) -> None:
    carry: dict[str, int] = {}
    samples = [
        sample({"a": (a, "q")} if a % 3 else {}, {"q": q - a, "r": a}, busy, 5_000 * step)
        for step, (a, q, busy) in enumerate(figures)
    ]
    for before, after in pairwise(samples):
        usage, carry = usage_between(before, after, carry, threads)
        parts = [*usage.pods_cpu_us.values(), usage.unseen_cpu_us, usage.system_cpu_us]
        assert sum(parts) <= threads * 6_000_000
        assert min(parts) >= 0


def outage(life: PodLifetime, devices: dict[str, DeviceUse] | None = None, hours: int = 12) -> Usage:
    """The agent was away; a pod is new, another one was there all the time, a third one is gone."""
    before = sample({"old": (0, "q"), "gone": (0, "q")}, {"q": 0}, 0, 0)
    after = sample({"old": (0, "q"), "new": (SECOND_US, "q")}, {"q": 2 * SECOND_US}, 2 * SECOND_US, hours * HOUR_MS,
                   devices=devices or {})  # fmt: skip
    return usage_between(before, after, {}, 32, {"new": life})[0]


def test_after_an_outage_a_new_pod_is_there_since_its_own_start() -> None:
    now_ms = START_MS + 12 * HOUR_MS
    usage = outage(PodLifetime(now_ms - MINUTE_MS))
    assert (usage.pods_ms["new"], usage.pods_ms["old"]) == (MINUTE_MS, 12 * HOUR_MS)
    assert (
        outage(PodLifetime(START_MS - 5)).pods_ms["new"] == 12 * HOUR_MS
    )  # it was there before the agent looked first


@pytest.mark.parametrize("life", [PodLifetime(), PodLifetime(START_MS + 13 * HOUR_MS)])
def test_a_new_pod_whose_start_is_not_known_is_there_for_a_minute_at_most(life: PodLifetime) -> None:
    assert outage(life).pods_ms["new"] == MINUTE_MS


def test_a_pod_that_ended_in_an_outage_is_there_until_its_end_and_without_one_for_a_minute() -> None:
    before = sample({"a": (0, "q"), "b": (0, "q")}, {"q": 0}, 0, 0)
    after = sample({}, {"q": SECOND_US}, SECOND_US, 12 * HOUR_MS)
    usage, _ = usage_between(before, after, {}, 32, {"a": PodLifetime(5, START_MS + HOUR_MS), "b": PodLifetime(5)})
    assert usage.pods_ms == {"a": HOUR_MS, "b": MINUTE_MS}


def test_a_pod_that_came_and_went_in_a_tick_is_there_between_its_start_and_its_end() -> None:
    before = sample({}, {"q": 0}, 0, 0)
    after = Sample(START_MS + 5_000, 5_000, {}, 0, 0, {"q": 9}, {}, ended={"a": PodCounters(9, 0, "q")})
    for life, there_ms in ((PodLifetime(), 5_000), (PodLifetime(START_MS + 1_000), 4_000),
                           (PodLifetime(START_MS + 1_000, START_MS + 3_000), 2_000)):  # fmt: skip
        usage, _ = usage_between(before, after, {}, 2, {"a": life})
        assert usage.pods_ms == {"a": there_ms}


def test_what_a_gpu_or_memory_drew_in_an_outage_is_a_new_pods_for_its_own_minute_only() -> None:
    held = DeviceUse(8, {"new": 8}, {}, 1000)
    usage = outage(PodLifetime(START_MS + 12 * HOUR_MS - MINUTE_MS), {"gpu:x": held})
    whole_ms = 12 * HOUR_MS
    shares = share_domain(DomainEnergy("gpu:x", "nvml", "board", whole_ms, 720_000, 72_000), 0, usage)
    assert (shares.pods_uj, shares.pods_idle_uj, shares.pods_gpu_ms) == ({"new": 900}, {"new": 100}, {"new": 60_000})
    assert (shares.idle_uj, shares.unseen_uj) == (72_000 - 100, 648_000 - 900)
    dram = share_domain(DomainEnergy("dram", "rapl", "package", whole_ms, 1_440_000, 0), 0, usage)
    assert (dram.pods_uj, dram.unseen_uj) == ({"old": 720_000, "new": 1_000}, 719_000)


def test_a_meter_that_was_away_for_hours_gives_a_new_pod_its_own_minute_only() -> None:
    """The agent looked on every five seconds; only the meter did not answer."""
    before, after = (sample({"old": (n, "q"), "new": (n, "q")}, {"q": 2 * n}, 2 * n, 5_000 * n) for n in (0, 1))
    lives = {"old": PodLifetime(0), "new": PodLifetime(after.wall_ms - MINUTE_MS)}
    usage, _ = usage_between(before, after, {}, 32, lives)
    shares = share_domain(DomainEnergy("cpu", "rapl", "package", 12 * HOUR_MS, 1_440_000, 0), 0, usage)
    assert (shares.pods_uj, shares.unseen_uj) == ({"old": 720_000, "new": 1_000}, 719_000)
    shares = share_domain(DomainEnergy("cpu", "rapl", "package", 5_000, 1_440_000, 0), 0, usage)
    assert (shares.pods_uj, shares.unseen_uj) == ({"old": 720_000, "new": 720_000}, 0)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 10**8), max_size=4),
    st.sets(st.sampled_from("abcd")),
    st.integers(1, 10**8),
    st.integers(0, 10**12),
    st.sampled_from(["cpu", "dram", "gpu:x"]),
)
def test_no_pod_is_there_longer_than_since_its_start_and_every_share_conserves(
    ages_ms: dict[str, int | None], known: set[str], elapsed_ms: int, energy_uj: int, name: str
) -> None:
    now_ms = START_MS + elapsed_ms
    lives = {uid: PodLifetime(None if age is None else now_ms - age) for uid, age in ages_ms.items()}
    before = sample(dict.fromkeys(known, (0, "q")), {"q": 0}, 0, 0)
    device = DeviceUse(9, dict.fromkeys(ages_ms, 2), {}, 500)
    after = sample(dict.fromkeys(ages_ms, (5, "q")), {"q": 50}, 50, elapsed_ms, devices={"gpu:x": device})
    usage, _ = usage_between(before, after, {}, 2, lives)
    for uid, there_ms in usage.pods_ms.items():
        assert 0 <= there_ms <= elapsed_ms
        age_ms = ages_ms.get(uid)
        if age_ms is not None and uid not in known:
            assert there_ms == min(age_ms, elapsed_ms)
    shares = share_domain(DomainEnergy(name, "rapl", "package", elapsed_ms, energy_uj), energy_uj // 3, usage)
    pods = [*shares.pods_uj.values(), *shares.pods_idle_uj.values()]
    assert sum([shares.idle_uj, shares.system_uj, shares.unseen_uj, *pods]) == energy_uj
