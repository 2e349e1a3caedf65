"""The agent on the real kubelet: its cost beside 100 pods, and how true its figures are (root, a running cluster).

`hack/cluster up && hack/images --load` first. The chart is installed with the sampling and windows of production
(5 s, 60 s), 90 pods rest, 10 work at known loads, and pods of two seconds come and go, two each ten seconds, the
node's only BestEffort pods; the agent's metrics are scraped each 15 s, as Prometheus would. After `--minutes` the work
ends and the ledger is held against the kernel's own counters. All is removed again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import Figures, cpu_seconds, rss_mib, show  # noqa: E402 - after the path
from tests.conftest import Cluster  # noqa: E402
from tests.e2e.conftest import AGENTS, SYSTEM, Release, cgroup_directories, pod  # noqa: E402
from tests.e2e.test_agent import BURN, besteffort_us  # noqa: E402

RESTING, WORKING = 90, 10
# Of a tenth of one CPU each, so that two cores are not fought over; loads are 100 %, 90 % ... of that.
LOAD = (
    "while [ ! -e /tmp/stop ]; do i=0; while [ $i -lt {work} ]; do i=$((i+1)); done; sleep 0.{rest}; done; sleep 3600"
)


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def ask(word: str) -> Path:
    done = subprocess.run([ROOT / "hack" / "cluster", word], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("no cluster is running here: hack/cluster up, hack/images --load")
    return Path(done.stdout.strip())


def agent_process(release: Release) -> int:
    """The agent's process on this machine."""
    uid = release.uid(AGENTS, "pods", "-l", "app.kubernetes.io/component=agent")
    directory = next(cgroup_directories(uid))
    processes = [int(line) for path in directory.glob("*/cgroup.procs") for line in path.read_text().split()]
    return next(pid for pid in processes if b"carbonbudget-agent" in Path(f"/proc/{pid}/cmdline").read_bytes())


def manifests(space: str) -> list[dict[str, object]]:
    """The pods that stay."""
    found = [pod(f"rest-{n}", space, {"load": "rest"}, "sleep 7200") for n in range(RESTING)]
    for n in range(WORKING):
        script = LOAD.format(work=2_000 * (n + 1), rest=5)
        found.append(pod(f"work-{n}", space, {"load": str(n)}, script))
    for manifest in found:
        (container,) = manifest["spec"]["containers"]  # type: ignore[index]
        container["resources"] = {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "100m"}}
    return found


@contextmanager
def scraped(release: Release) -> Iterator[None]:
    """The agent's metrics are read each 15 s meanwhile."""
    component = ("pods", "-l", "app.kubernetes.io/component=agent", "-o", "jsonpath={.items[0].status.podIP}")
    address = release.cluster.kubectl("-n", AGENTS, "get", *component).stdout
    over, failures = threading.Event(), [0]

    def scrape() -> None:
        while not over.wait(15):
            try:
                urllib.request.urlopen(f"http://{address}:9109/metrics", timeout=10).read()
            except OSError:
                failures[0] += 1

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures[0]:
        sys.exit(f"{failures[0]} scrapes of {address} failed: the figures would be too good")


def come_and_go(release: Release, space: str, minutes: float) -> list[str]:
    """Pods of two seconds, two each ten seconds; their names."""
    names: list[str] = []
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        pair = [pod(f"short-{len(names) + n}", space, {"app": "short"}, BURN.format(seconds=2)) for n in range(2)]
        for manifest in pair:
            del manifest["spec"]["containers"][0]["resources"]  # type: ignore[index]
        release.apply(*pair)
        names += [f"short-{len(names)}", f"short-{len(names) + 1}"]
        if len(names) % 24 == 0:
            say(f"{len(names)} short pods, {(end - time.monotonic()) / 60:.1f} min to go")
        time.sleep(9.5)
    return names


def measure(release: Release, space: str, minutes: float) -> list[Figures]:
    """Run it all; figures of cost and of truth."""
    release.helm("--set", "windowSeconds=60", "--set", "agent.intervalSeconds=5")
    say(f"starting {RESTING + WORKING} pods")
    release.apply(*manifests(space))
    release.cluster.kubectl("-n", space, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=300s")
    began_us = besteffort_us()
    agent = agent_process(release)
    used, began = cpu_seconds(agent), time.monotonic()
    with scraped(release):
        shorts = come_and_go(release, space, minutes)
    cost = (cpu_seconds(agent) - used) * 60 / (time.monotonic() - began)
    say("the work ends; waiting for the last windows")
    for n in range(WORKING):
        release.cluster.kubectl("-n", space, "exec", f"work-{n}", "--", "touch", "/tmp/stop")
    release.cluster.kubectl(
        "-n", space, "wait", "pod", "-l", "app=short", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s"
    )
    time.sleep(150)  # two windows and their sending
    listed = release.cluster.get("-n", space, "pods")["items"]
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in listed}  # type: ignore[attr-defined]
    errors = []
    for n in range(WORKING):
        kernel = release.pod_cpu_us(uids[f"work-{n}"])
        errors.append(abs(release.booked_cpu_us(uids[f"work-{n}"]) - kernel) / kernel)
    short_us = sum(release.booked_cpu_us(uids[name]) for name in shorts)
    check = release.carbonbudget("ledger", "check").stdout.strip().splitlines()[-1]
    say(check)
    return [{
        "pods": RESTING + WORKING, "short_pods": len(shorts), "minutes": minutes,
        "cpu_seconds_per_minute": round(cost, 3), "rss_mib": rss_mib(agent),
        "worst_cpu_error_percent": round(max(errors) * 100, 4),
        "short_named_percent": round(100 * short_us / (besteffort_us() - began_us), 2),
    }]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    cluster = Cluster(kubeconfig=ask("kubeconfig"), tools=ask("bin"))
    release = Release(cluster, volumes=cluster.kubeconfig.parent / "volumes")
    space = f"bench-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", space)
    try:
        show(measure(release, space, given.minutes), given.json)
    finally:
        say("removing all of it")
        cluster.kubectl("delete", "namespace", space, "--wait=false")
        release.uninstall()
        cluster.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found")
        cluster.kubectl("delete", "crd", "carbonbudgets.carbonbudget.dev", "--ignore-not-found")
