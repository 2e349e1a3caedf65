"""Keras on JAX and scikit-learn in pods of one node, beside a busy neighbour: each has its own energy, exactly divided.

The libraries are those of .venv-trackers (hack/trackers-venv), which the pods mount from this machine. With CODECARBON
set to a folder that has it (`pip install --target FOLDER codecarbon`), its trackers run beside, and `pytest -s` shows
the figures of both.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import ROOT
from tests.e2e.conftest import WINDOW_SECONDS, Manifest, Release, wait_for
from tests.e2e.test_tracked_training import LABELS, NOISE, ask, ledger_energy_uj, reported_until_ms, tracked_pod

from carbonbudget_operator.ledger import span_tables
from carbonbudget_operator.ledger.tracked_pods import read_windows
from carbonbudget_operator.spans.pod_windows import PodWindow

pytestmark = pytest.mark.cluster

SCRIPT = ROOT / "tests" / "e2e" / "framework_epochs.py"
LIBRARIES = ("keras", "scikit-learn")
EPOCH_SECONDS = 15


@dataclass(frozen=True)
class Training:
    """A pod's answer about itself, its windows in the ledger, and what the kernel counted in its container.

    `kernel` is by epoch, `counter` at many instants (milliseconds since 1970); both are microseconds of CPU time.
    """

    pod: str
    uid: str
    answer: dict[str, Any]
    windows: list[PodWindow]
    kernel: list[dict[str, int]]
    counter: list[tuple[int, int]]

    def spans(self, name: str) -> list[dict[str, Any]]:
        return sorted((span for span in self.answer["spans"] if span["name"] == name), key=lambda span: span["step"])

    def used_us(self, start_ms: int, end_ms: int) -> float:
        """What the kernel counted between two instants; between two readings, 50 ms apart, at an even pace."""
        return self._counter_us(end_ms) - self._counter_us(start_ms)

    def _around(self, at_ms: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The readings before and after an instant."""
        after = min(max(bisect_right(self.counter, (at_ms, 2**62)), 1), len(self.counter) - 1)
        return self.counter[after - 1], self.counter[after]

    def _counter_us(self, at_ms: int) -> float:
        at_ms = min(max(at_ms, self.counter[0][0]), self.counter[-1][0])  # what it was outside is not known
        (before_ms, before_us), (after_ms, after_us) = self._around(at_ms)
        return before_us + (after_us - before_us) * (at_ms - before_ms) / (after_ms - before_ms)

    def energy_by_kernel_uj(self, span: dict[str, Any]) -> tuple[float, float]:
        """The span's CPU time by the kernel, each second with the energy that a second has in the window around it.

        With it how much may lie between the readings around the span's edges.
        """
        found, most = 0.0, 0.0
        for window in self.windows:
            start_ms, end_ms = max(window.start_ms, span["start_ms"]), min(window.end_ms, span["end_ms"])
            if start_ms < end_ms and window.cpu_us:
                uj_per_us = sum(window.energy_uj.values()) / window.cpu_us
                found, most = found + uj_per_us * self.used_us(start_ms, end_ms), max(most, uj_per_us)
        edges = (self._around(span["start_ms"]), self._around(span["end_ms"]))
        return found, most * sum(after[1] - before[1] for before, after in edges)


def stored_windows(release: Release, uid: str) -> list[PodWindow]:
    """The pod's windows as the ledger has them."""
    engine = sa.create_engine(f"sqlite:///file:{release.volumes}/ledger/ledger.db?mode=ro&uri=true")
    with engine.connect() as connection:
        c = span_tables.tracked_pod.c
        pod_id = connection.execute(sa.select(c.id).where(c.uid == uid)).scalar_one()
        now = int(time.time())
        windows = read_windows(connection, pod_id, now - 3600, now)
    engine.dispose()
    return windows


def training_pod(library: str, packages: Path) -> Manifest:
    """A Job's template: the training with the packages of this machine."""
    made: Any = tracked_pod(library, f"/script/{SCRIPT.name}", library, str(EPOCH_SECONDS), limit="800m")
    spec, (container,) = made["spec"], made["spec"]["containers"]
    env = {"PYTHONPATH": "/client:/packages", "KERAS_BACKEND": "jax", "HOME": "/tmp", "OMP_NUM_THREADS": "1"}
    container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    container["volumeMounts"].append({"name": "packages", "mountPath": "/packages", "readOnly": True})
    spec["volumes"].append({"name": "packages", "hostPath": {"path": str(packages), "type": "Directory"}})
    if beside := os.environ.get("CODECARBON"):
        container["env"][0]["value"] += ":/beside"
        container["volumeMounts"].append({"name": "beside", "mountPath": "/beside", "readOnly": True})
        spec["volumes"].append({"name": "beside", "hostPath": {"path": beside, "type": "Directory"}})
    return {**made, "metadata": {"labels": LABELS | {"carbonbudget.dev/run": library}}}


@pytest.fixture(scope="module")
def packages() -> Path:
    """The site-packages of .venv-trackers."""
    subprocess.run([ROOT / "hack" / "trackers-venv"], check=True)
    (found,) = (ROOT / ".venv-trackers" / "lib").glob("python3.*/site-packages")
    return found.resolve()


@pytest.fixture(scope="module")
def trainings(release: Release, space: str, packages: Path) -> Iterator[dict[str, Training]]:
    """Both trainings at the same time, with a busy pod of another namespace on the same node."""
    kubectl, other = release.cluster.kubectl, f"e2e-{uuid.uuid4().hex[:8]}"
    # The webhook, as in test_tracked_training.py.
    release.helm("--set", "tracking.injector=webhook")
    kubectl("create", "namespace", other)
    for name in (space, other):
        kubectl("label", "namespace", name, "carbonbudget.dev/track=enabled")
        kubectl("-n", name, "create", "configmap", "client", f"--from-file={ROOT / 'client' / 'carbonbudget'}")
        kubectl("-n", name, "create", "configmap", "script", f"--from-file={SCRIPT}")
    noise: Any = tracked_pod("noise", "-c", NOISE, limit="300m") | {"apiVersion": "v1", "kind": "Pod"}
    noise["metadata"] = {"name": "noise", "namespace": other, "labels": LABELS}
    release.apply(noise)
    for library in LIBRARIES:
        job: Manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": library, "namespace": space}}
        release.apply(job | {"spec": {"backoffLimit": 0, "template": training_pod(library, packages)}})

    def pod_of(library: str) -> str | None:
        running = "jsonpath={.items[?(@.status.phase=='Running')].metadata.name}"
        by_job = ("-n", space, "get", "pods", "-l", f"batch.kubernetes.io/job-name={library}", "-o", running)
        return kubectl(*by_job).stdout or None

    pods = {library: wait_for(f"the pod of {library}", partial(pod_of, library)) for library in LIBRARIES}

    def said(pod: str) -> list[dict[str, Any]]:
        lines = kubectl("-n", space, "logs", pod, check=False).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def has_sent(pod: str) -> bool:
        return any("sent" in line for line in said(pod))

    for pod in pods.values():
        wait_for(f"the spans of {pod}", partial(has_sent, pod), 400)
    last_ms = int(time.time() * 1000)
    wait_for("the windows of all spans", lambda: reported_until_ms(release) >= last_ms)
    made = {
        library: Training(
            pod,
            release.uid(space, "pod", pod),
            ask(release, space, pod),
            stored_windows(release, release.uid(space, "pod", pod)),
            [line for line in said(pod) if "epoch" in line],
            [(at_ms, us) for line in said(pod) for at_ms, us in line.get("counter", ())],
        )
        for library, pod in pods.items()
    }
    for library, its in made.items():
        beside = [line for line in said(its.pod) if "codecarbon" in line or "all_us" in line]
        print(library, *beside, its.answer["spans"][-1], sep="\n")
    yield made
    kubectl("delete", "namespace", other, "--wait=false")
    release.helm()


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_epoch_is_a_span_and_spans_add_up_to_the_pod(
    release: Release, space: str, trainings: dict[str, Training], library: str
) -> None:
    its = trainings[library]
    assert [len(its.spans(name)) for name in ("epoch", "pause")] == [3, 3]
    assert its.answer["run"] == library
    assert its.answer["energy_uj"] == its.answer["rest_uj"] + sum(span["energy_uj"] for span in its.answer["spans"])

    def same() -> bool:
        """Whether no report came between the two looks."""
        return ledger_energy_uj(release, its.uid) == int(ask(release, space, its.pod)["energy_uj"])

    wait_for("the same figure in the ledger", same, 30)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_span_has_the_energy_that_the_kernels_own_counter_gives_it(
    trainings: dict[str, Training], library: str
) -> None:
    """Within 2 % of an epoch. A second of CPU time has another energy in each window, so shares alone say less."""
    its = trainings[library]
    spans = [*its.spans("epoch"), *its.spans("pause")]
    by_kernel = [its.energy_by_kernel_uj(span) for span in spans]
    for span, (kernel_uj, unsure_uj) in zip(spans, by_kernel, strict=True):
        cpu_s = its.used_us(span["start_ms"], span["end_ms"]) / 10**6
        joules = [round(uj / 10**6, 4) for uj in (span["inclusive_energy_uj"], kernel_uj, unsure_uj)]
        print(library, span["name"], span["step"], "J, by the kernel, unsure:", *joules, f"{cpu_s:.4f} s of CPU time")
    for window in its.windows:
        counted_us = round(its.used_us(window.start_ms, window.end_ms))
        print(library, window.start_ms, sum(window.energy_uj.values()), window.cpu_us, counted_us)
    assert {span["resolution"] for span in spans} == {"weighted"}
    allowed_uj = 0.02 * min(kernel_uj for kernel_uj, _ in by_kernel[:3])
    for span, (kernel_uj, unsure_uj) in zip(spans, by_kernel, strict=True):
        assert abs(span["inclusive_energy_uj"] - kernel_uj) < unsure_uj + allowed_uj, (span, kernel_uj, unsure_uj)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_ledger_has_the_cpu_time_that_the_kernel_counted_of_the_pod(
    release: Release, trainings: dict[str, Training], library: str
) -> None:
    uid = trainings[library].uid
    counted_us = release.pod_cpu_us(uid)
    wait_for("the last of its CPU time", lambda: release.booked_cpu_us(uid) >= 0.98 * counted_us, 3 * WINDOW_SECONDS)
    assert release.booked_cpu_us(uid) <= 1.02 * counted_us
