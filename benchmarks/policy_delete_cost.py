"""What the policies add to a pod's deletion and eviction, on an API server of its own: no budget blocks, or one does.

The pods belong to Jobs and wait for a node that never comes. Each figure is of pairs: the same dry run as a tenant with
the role `edit`, in a namespace that the policies match and in one that they do not match, taken in turns. The median of
the pairs' differences is the cost. `delete` and `evict` give the pod 30 s; `evict_open` gives no time, so that the
policy asks the authorizer whether the account may evict in all namespaces, and a blocking budget refuses it.
Needs the programs of hack/cluster, and its cluster to be running.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from benchmarks.policy_cost import DRY, Bench, ask, refused, until
from tests.apiserver.chart_policies import ChartPolicies, apply_crds
from tests.apiserver.manifests import work
from tests.conftest import ROOT, Cluster
from tests.control_plane import control_plane

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.connection import items_of
from carbonbudget_operator.kube.credentials import Credentials

OPERATIONS = ("delete", "evict", "evict_open")
ACCOUNT = "bench"


async def pod_of_a_job(client: KubeClient, namespace: str) -> str:
    """The name of a pod that the Job controller made."""
    await client.request("POST", ApiPath("batch", "v1", "jobs", namespace), work("Job", namespace, name="waiting"))
    pods = ApiPath("", "v1", "pods", namespace)
    for _ in range(600):
        for pod in items_of(await client.request("GET", pods)):
            return str(pod["metadata"]["name"])  # type: ignore[index]  # an object's metadata is an object
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the Job controller made no pod in {namespace}")


async def admitted(tenant: KubeClient, operation: str, namespace: str, pod: str) -> bool:
    """One dry run; whether the policies let it pass."""
    path = ApiPath("", "v1", "pods", namespace, pod)
    # In the body: the API server reads no query where a body gives the options.
    options = {"dryRun": ["All"]} | ({} if operation == "evict_open" else {"gracePeriodSeconds": 30})
    try:
        if operation == "delete":
            await tenant.request("DELETE", path, options)
        else:
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
            await tenant.request("POST", path.sub("eviction"), body | {"deleteOptions": options}, DRY)
    except KubeError as error:
        if error.status != 403:
            raise
        return False
    return True


async def added_ms(
    tenant: KubeClient, operation: str, outside: tuple[str, str], inside: tuple[str, str], pairs: int, refuses: bool
) -> tuple[float, float]:
    """Medians in milliseconds: the operation outside, and what its pair inside takes more."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + 20):
        for index in (0, 1) if number % 2 else (1, 0):
            namespace, pod = (outside, inside)[index]
            began = time.perf_counter()
            passed = await admitted(tenant, operation, namespace, pod)
            if number >= 20:  # connections and caches are warm then
                taken[index].append((time.perf_counter() - began) * 1000)
            if passed == (refuses and index == 1):
                raise RuntimeError(f"{operation} in {namespace}: admitted={passed}, which is not what is measured here")
    more = statistics.median(late - early for early, late in zip(*taken, strict=True))
    return statistics.median(taken[0]), more


async def measure(policies: ChartPolicies, tenant_of: Credentials, quick: bool) -> list[Figures]:
    """A row for each number of budgets and each operation."""
    client, tenant = KubeClient.from_environment(), KubeClient.connect(tenant_of)
    bench = Bench(client, policies)
    found: list[Figures] = []
    try:
        await bench.spread()
        places = []
        for namespace in (bench.outside, bench.spaces[0]):
            policies.cluster.kubectl(
                "-n", namespace, "create", "rolebinding", ACCOUNT, "--clusterrole=edit",
                f"--serviceaccount=default:{ACCOUNT}",
            )  # fmt: skip
            places.append((namespace, await pod_of_a_job(client, namespace)))
        for count in (100,) if quick else (10, 100, 1000):
            await bench.fill(count)
            print(f".. {count} budgets", file=sys.stderr, flush=True)
            added: dict[tuple[str, bool], tuple[float, float]] = {}
            for blocks in (False, True):
                await bench.block("b0", blocks)
                await until(lambda blocks=blocks: blocked_is(bench, blocks))  # type: ignore[misc]
                for operation in OPERATIONS:
                    refuses = blocks and operation == "evict_open"
                    pairs = 100 if quick else 400
                    added[operation, blocks] = await added_ms(tenant, operation, *places, pairs, refuses)
            await bench.block("b0", False)
            for operation in OPERATIONS:
                found.append({
                    "budgets": count, "operation": operation, "takes_ms": round(added[operation, False][0], 2),
                    "added_ms_none_blocks": round(added[operation, False][1], 3),
                    "added_ms_one_blocks": round(added[operation, True][1], 3),
                })  # fmt: skip
    finally:
        await bench.remove()
        await tenant.close()
        await client.close()
    return found


async def blocked_is(bench: Bench, blocks: bool) -> bool:
    """Whether the API server's policies have seen the budget's status."""
    return await refused(bench) == blocks


def credentials(cluster: Cluster, directory: Path) -> Credentials:
    """Of a service account without rights yet."""
    cluster.kubectl("-n", "default", "create", "serviceaccount", ACCOUNT)
    token = cluster.kubectl("-n", "default", "create", "token", ACCOUNT, "--duration=1h").stdout.strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
    ca = directory / "ca.crt"
    ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
    return Credentials(config["server"], lambda: token, str(ca))


def main() -> None:
    """All sizes on an API server that ends with this process."""
    given = arguments(__doc__ or "")
    if subprocess.run([ROOT / "hack" / "cluster", "status"], capture_output=True, check=False).returncode:
        print("left out: no cluster is running here, `make cluster-up` as root makes one")
        return
    ours = Cluster(kubeconfig=ask("kubeconfig"), tools=ask("bin"))
    with tempfile.TemporaryDirectory() as directory, control_plane(ours, Path(directory)) as cluster:
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        policies = ChartPolicies(cluster, Path(directory))
        apply_crds(cluster)
        policies.install()
        time.sleep(3)  # the API server compiles what is new
        found = asyncio.run(measure(policies, credentials(cluster, Path(directory)), given.quick))
    show(found, given.json)


if __name__ == "__main__":
    main()
