"""What allocating and valuing one hour costs, by number of pods (30 a node)."""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show

from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.valuation.node_factors import Places
from carbonbudget_operator.valuation.valuer import Valuer

PODS_A_NODE = 30


def hour_of(pods: int) -> list[NodeSlice]:
    """One hour's facts: 1,001 groups of pods over the cluster, nearly all pods of a node in different ones."""
    groups = {
        key: PodGroup(f"team-{key[0]}", f"Job/train-{key[1]}", {"project": f"x{key[2]}"})
        for key in product(range(7), range(11), range(13))
    }
    slices = []
    for index in range(pods // PODS_A_NODE):
        facts = tuple(
            PodGroupFacts(
                groups[(i % 7, (i + index) % 11, (i + index) % 13)], 1, {"cpu": 1_000_003 * i, "dram": 70_001 * i}, {},
                1_000_000 * i, 360_000_000,
            )
            for i in range(PODS_A_NODE)
        )  # fmt: skip
        domains = {
            name: DomainFacts(
                sum(group.energy_uj[name] for group in facts) + 3_007_011, 3_000_000, 7_000, 11, 0, 3_600_000
            )
            for name in ("cpu", "dram")
        }
        node = NodeFacts(index, f"node-{index}", "", "", "", "", 64_000, 64)
        slices.append(NodeSlice(node, 0, 3600, domains, facts))
    return slices


def measure(pods: int) -> Figures:
    """Allocate and value."""
    slices = hour_of(pods)
    valuer = Valuer(Places(CarbonSettings()), AllocationPolicy())
    began = time.process_time()
    rows = valuer.value(slices)
    return {"pods": pods, "rows": len(rows), "cpu_seconds": round(time.process_time() - began, 2)}


if __name__ == "__main__":
    given = arguments(__doc__ or "")
    show([measure(pods) for pods in ([1_500, 15_000] if given.quick else [1_500, 15_000, 150_000])], given.json)
