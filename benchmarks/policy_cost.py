"""What the policies add to a create, on the real API server, by number of budgets: no budget blocks, or one does.

Each figure is of pairs: the same server-side dry run of a Job in a namespace that is checked and in one that is not
(the policies' namespaceSelector leaves it out), taken in turns, so that whatever else the machine does meets both. The
median of the pairs' differences is the cost. The second part is how soon after a status is written a create is refused.
Needs the cluster; the policies are this run's own, for this run's namespaces.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from tests.apiserver.chart_policies import RUN_LABEL, ChartPolicies, apply_crds, chart_away, instant
from tests.apiserver.manifests import work
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import budget

from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient, KubeError

SPACES = 100
BLOCKING = {"carbonbudget.dev/blocking": "true"}
DRY = {"dryRun": "All"}
NAMESPACES = ApiPath("", "v1", "namespaces")


def ask(word: str) -> Path:
    return Path(
        subprocess.run([ROOT / "hack" / "cluster", word], capture_output=True, text=True, check=True).stdout.strip()
    )


class Bench:
    """Namespaces and budgets of one run."""

    def __init__(self, client: KubeClient, policies: ChartPolicies) -> None:
        self._client, self._policies = client, policies
        self.spaces = [f"bench-{policies.run}-{number}" for number in range(SPACES)]
        self.outside = f"bench-{policies.run}-outside"
        self.made = 0

    async def spread(self) -> None:
        """The namespaces."""
        for name in [*self.spaces, self.outside]:
            labels = {} if name == self.outside else {RUN_LABEL: self._policies.run}
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            await self._client.request("POST", NAMESPACES, body)

    async def fill(self, count: int) -> None:
        """Up to `count` budgets, spread over the namespaces; none of them blocks."""
        for number in range(self.made, count):
            space = self.spaces[number % SPACES]
            made = budget(space, f"b{number}", limit="1kg", period="Month")
            await self._client.request("POST", BUDGET.path(space), made)
        self.made = max(self.made, count)

    async def block(self, name: str, blocks: bool) -> None:
        """Write a budget of the first namespace as the controller would."""
        path = BUDGET.path(self.spaces[0], name)
        until = instant(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
        status = {"message": "used up", "enforcement": {"action": "Block", "until": until} if blocks else None}
        kind = "application/merge-patch+json"
        await self._client.request("PATCH", path.sub("status"), {"status": status}, content_type=kind)
        labels = {key: value if blocks else None for key, value in BLOCKING.items()}
        await self._client.request("PATCH", path, {"metadata": {"labels": labels}}, content_type=kind)

    async def create(self, space: str, labels: dict[str, str]) -> bool:
        """A dry run of a Job; whether it was admitted."""
        try:
            await self._client.request(
                "POST", ApiPath("batch", "v1", "jobs", space), work("Job", space, labels=labels), DRY
            )
        except KubeError as error:
            if error.status != 422 and error.status != 403:
                raise
            return False
        return True

    async def added_ms(self, pairs: int) -> tuple[float, float]:
        """Medians of a create outside, and of what its pair inside takes more; what blocks does not select it."""
        both: tuple[list[float], list[float]] = ([], [])
        for number in range(pairs + 20):
            for index in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                assert await self.create((self.outside, self.spaces[0])[index], {"project": "y"})
                if number >= 20:  # connections and caches are warm then
                    both[index].append(time.perf_counter() - began)
        more = statistics.median(inside - outside for outside, inside in zip(*both, strict=True))
        return statistics.median(both[0]) * 1000, more * 1000

    async def remove(self) -> None:
        """All of it."""
        for name in [*self.spaces, self.outside]:
            try:
                await self._client.request("DELETE", NAMESPACES.at(None, name))
            except KubeError:
                pass  # it was never made


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until it holds."""
    began = time.perf_counter()
    while not await holds():
        if time.perf_counter() - began > 20:
            raise TimeoutError("the API server does not follow")
        await asyncio.sleep(0.01)
    return time.perf_counter() - began


async def measure(policies: ChartPolicies, quick: bool) -> list[Figures]:
    client = KubeClient.from_environment()
    bench = Bench(client, policies)
    found: list[Figures] = []
    pairs = 150 if quick else 600
    try:
        await bench.spread()
        for count in (100, 1000) if quick else (10, 100, 1000):
            await bench.fill(count)
            print(f".. {count} budgets in {SPACES} namespaces", file=sys.stderr, flush=True)
            outside, none = await bench.added_ms(pairs)
            select = {"spec": {"selector": {"matchLabels": {"project": "x"}}}}
            kind = "application/merge-patch+json"
            await client.request("PATCH", BUDGET.path(bench.spaces[0], "b0"), select, content_type=kind)
            first = []
            for _ in range(3 if quick else 10):
                await bench.block("b0", True)
                first.append(await until(lambda: refused(bench)))
                await bench.block("b0", False)
                await until(lambda: bench.create(bench.spaces[0], {"project": "x"}))
            await bench.block("b0", True)
            await until(lambda: refused(bench))
            _, one = await bench.added_ms(pairs)
            await bench.block("b0", False)
            await until(lambda: bench.create(bench.spaces[0], {"project": "x"}))
            found.append({
                "budgets": count, "create_ms": round(outside, 2), "added_ms_none_blocks": round(none, 3),
                "added_ms_one_blocks": round(one, 3), "patch_to_refusal_s": round(statistics.median(first), 3),
                "patch_to_refusal_worst_s": round(max(first), 3),
            })  # fmt: skip
    finally:
        await bench.remove()
        await client.close()
    return found


async def refused(bench: Bench) -> bool:
    return not await bench.create(bench.spaces[0], {"project": "x"})


def main() -> None:
    """All sizes on the running cluster."""
    given = arguments(__doc__ or "")
    if subprocess.run([ROOT / "hack" / "cluster", "status"], capture_output=True, check=False).returncode:
        print("left out: no cluster is running here, `make cluster-up` as root makes one")
        return
    cluster = Cluster(kubeconfig=ask("kubeconfig"), tools=ask("bin"))
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
    with tempfile.TemporaryDirectory() as directory, chart_away(cluster):
        policies = ChartPolicies(cluster, Path(directory))
        try:
            apply_crds(cluster)
            policies.install()
            time.sleep(3)  # the API server compiles what is new
            found = asyncio.run(measure(policies, given.quick))
        finally:
            policies.remove()
    show(found, given.json)


if __name__ == "__main__":
    main()
