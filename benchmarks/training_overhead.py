"""What the client library adds to a training: the same training with and without it, by turns.

Each turn is a process of its own. With the client it has a span for each epoch and for each of 50 batches in it, its
log on disk and its thread; without it the same code runs without these lines. CPU time of the process is compared,
from the first epoch to the end of the last one, since the clock of a shared machine says little. `--python` names an
interpreter with scikit-learn (hack/trackers-venv); without one a loop of the standard library is the training.

On a machine that others load as well, a process differs from the next one by more than all spans cost. So the same is
measured inside one process too: ten batches with spans and ten without, by turns, after the first span. `--client`
names another folder of the client, to compare two versions by turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import show

ROOT = Path(__file__).resolve().parent.parent
EPOCHS, BATCHES = 20, 50

TRAINING = f"""
import contextlib, sys, time
with_client, library = sys.argv[1] == "with", sys.argv[2]
if library == "scikit-learn":
    import numpy as np
    from sklearn.neural_network import MLPClassifier
    samples = np.random.default_rng(0).normal(size=(128, 64)).astype("float32")
    labels = (samples[:, :8].sum(axis=1) > 0).astype("int32")
    model = MLPClassifier(hidden_layer_sizes=(256,), batch_size=128, random_state=0)
    def batch():
        model.partial_fit(samples, labels, classes=[0, 1])
else:
    def batch():
        number = 1
        for _ in range(20_000):
            number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
batch()
if sys.argv[1] == "by turns":
    import carbonbudget as cb
    with cb.track("first"): pass
    cb.flush(5)
    def block(track):
        start = time.process_time_ns()
        for step in range(10):
            with track("batch", step):
                batch()
        return time.process_time_ns() - start
    without, added = lambda name, step: contextlib.nullcontext(), 0
    for number in range(100):
        first = block(cb.track) if number % 2 else -block(without)
        added += first + (-block(without) if number % 2 else block(cb.track))
    print(added / 1e9 / 1000, 0)
    sys.exit()
if with_client:
    import carbonbudget as cb
    epochs, track = cb.epochs, cb.track
else:
    epochs, track = iter, lambda name, step: contextlib.nullcontext()
start, start_cpu = time.perf_counter(), time.process_time()
for epoch in epochs(range({EPOCHS})):
    for step in range({BATCHES}):
        with track("batch", step):
            batch()
print(time.process_time() - start_cpu, time.perf_counter() - start)
"""


def turn(python: str, library: str, kind: str, folder: str, client: str) -> tuple[float, float]:
    """Seconds of CPU time and of the clock; of "by turns", the seconds of one span."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARBONBUDGET_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {
        "CARBONBUDGET_LOG": str(Path(folder, "spans.jsonl")), "PYTHONPYCACHEPREFIX": str(Path(folder, "compiled")),
        "PYTHONPATH": client, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    command = [python, "-c", TRAINING, kind, library]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    cpu_s, clock_s = map(float, done.stdout.split())
    return cpu_s, clock_s


def _middle_half(values: list[float]) -> str:
    return " to ".join(f"{value:.0f}" for value in statistics.quantiles(values, n=4)[::2])


def main() -> None:
    """The figures of all turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="of each, by turns")
    parser.add_argument("--python", default="", help="an interpreter with scikit-learn")
    parser.add_argument("--client", default=str(ROOT / "client"), help="the client's folder")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    library = "scikit-learn" if given.python else "standard library"
    python = given.python or sys.executable
    made: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    inside_us: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        turn(python, library, "with", folder, given.client)  # compiles
        for number in range(given.turns):
            for with_client in (number % 2 == 0, number % 2 == 1):  # whichever is first has the other's cache
                kind = "with" if with_client else "without"
                made[with_client].append(turn(python, library, kind, folder, given.client))
            inside_us.append(turn(python, library, "by turns", folder, given.client)[0] * 1e6)
    medians = {kind: [statistics.median(each[column] for each in made[kind]) for column in (0, 1)] for kind in made}
    added_s = [one[0] - other[0] for one, other in zip(made[True], made[False], strict=True)]
    spans = EPOCHS * (BATCHES + 1)
    show(
        [
            {
                "training": library,
                "spans": spans,
                "without, CPU s": round(medians[False][0], 3),
                "with, CPU s": round(medians[True][0], 3),
                "added, %": round((medians[True][0] / medians[False][0] - 1) * 100, 2),
                "added by turn, ms (middle half)": _middle_half([value * 1000 for value in added_s]),
                "us a span": round(statistics.median(added_s) / spans * 1e6),
                "us a span inside one process": round(statistics.median(inside_us)),
                "the same (middle half)": _middle_half(inside_us),
                "without, clock s": round(medians[False][1], 3),
                "with, clock s": round(medians[True][1], 3),
                "load": round(os.getloadavg()[0], 1),
            }
        ],
        given.json,
    )


if __name__ == "__main__":
    main()
