"""What the pods of test_framework_trainings.py run: a training of three epochs with Keras on JAX or with scikit-learn.

It prints what the kernel counted of its container in each epoch and in the pause after it, and at many instants.
Arguments: the library, and about how many seconds an epoch takes. If codecarbon can be imported, its trackers of both
modes run beside it.
"""

import json
import logging
import sys
import threading
import time

import carbonbudget as cb
from carbonbudget.cpu_counter import CpuCounter, counter_file

EPOCHS = 3
PAUSE_SECONDS = 2.0
READ_SECONDS = 0.05
KERNEL = CpuCounter(counter_file())


def used_us() -> int:
    """The CPU time of the container so far."""
    return KERNEL.read_us() or 0


def say(**facts: object) -> None:
    """One line for who reads the log."""
    print(json.dumps(facts), flush=True)


class Watched:
    """The kernel's counter at many instants, read by a thread of its own: what spans are compared with."""

    def __init__(self) -> None:
        self.readings: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._over.wait(READ_SECONDS):
            before_ns = time.time_ns()
            read_us = used_us()
            if time.time_ns() - before_ns < 1_000_000:  # else it was interrupted between the two
                self.readings.append((before_ns // 1_000_000, read_us))

    def end(self) -> list[tuple[int, int]]:
        """All readings: milliseconds since 1970, microseconds of CPU time."""
        self._over.set()
        self._thread.join()
        return self.readings


def pause(epoch: int, before_us: int) -> None:
    """After the work of an epoch that began at `before_us`: some seconds without work."""
    worked_us = used_us()
    with cb.track("pause", step=epoch):
        time.sleep(PAUSE_SECONDS)
    say(epoch=worked_us - before_us, pause=used_us() - worked_us)


def data():
    """Samples with a rule to learn."""
    import numpy as np

    samples = np.random.default_rng(0).normal(size=(4_096, 64)).astype("float32")
    return samples, (samples[:, :8].sum(axis=1) > 0).astype("int32")


def repeats(once, seconds: float) -> int:
    """How often `once` fits into so many seconds."""
    once()  # what is compiled and allocated the first time
    start = time.monotonic()
    once()
    return max(1, round(seconds / (time.monotonic() - start)))


def train_with_keras(seconds: float) -> None:
    """Epochs by `fit`, counted by the client's callback."""
    import keras
    import numpy as np

    from carbonbudget.keras import CarbonCallback

    class Counted(keras.callbacks.Callback):
        """Reads the kernel's counter where the client's callback begins and ends its spans."""

        def on_epoch_begin(self, epoch, logs=None):
            self.before_us = used_us()

        def on_epoch_end(self, epoch, logs=None):
            pause(epoch, self.before_us)

    samples, labels = data()
    model = keras.Sequential([keras.layers.Dense(256, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy")
    times = repeats(lambda: model.fit(samples, labels, batch_size=128, verbose=0), seconds)
    more, more_labels = np.tile(samples, (times, 1)), np.tile(labels, times)
    say(started=True)
    callbacks = [CarbonCallback(), Counted()]
    model.fit(more, more_labels, batch_size=128, epochs=EPOCHS, verbose=0, callbacks=callbacks)


def train_with_scikit_learn(seconds: float) -> None:
    """Epochs by `partial_fit`, counted by `epochs`."""
    from sklearn.neural_network import MLPClassifier

    samples, labels = data()
    model = MLPClassifier(hidden_layer_sizes=(256,), batch_size=128, random_state=0)
    times = repeats(lambda: model.partial_fit(samples, labels, classes=[0, 1]), seconds)
    say(started=True)
    for epoch in cb.epochs(range(EPOCHS)):
        before_us = used_us()
        for _ in range(times):
            model.partial_fit(samples, labels)
        pause(epoch, before_us)


def trackers_beside() -> dict[str, object]:
    """CodeCarbon's trackers, started; none where it is not installed."""
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return {}
    logging.getLogger("codecarbon").disabled = True
    made = {
        mode: OfflineEmissionsTracker(
            country_iso_code="DEU", tracking_mode=mode, save_to_file=False, log_level="critical", measure_power_secs=5,
            allow_multiple_runs=True,
        )
        for mode in ("process", "machine")
    }  # fmt: skip
    for tracker in made.values():
        tracker.start()
    return made


def main(library: str, seconds: float) -> None:
    """Train, send all spans, and stay: the pod is asked from inside."""
    watched = Watched()
    trackers, before_us, start = trackers_beside(), used_us(), time.monotonic()
    with cb.track("training"):
        {"keras": train_with_keras, "scikit-learn": train_with_scikit_learn}[library](seconds)
    for mode, tracker in trackers.items():
        tracker.stop()
        made = tracker.final_emissions_data
        say(
            codecarbon=mode, kwh=made.energy_consumed, cpu_kwh=made.cpu_energy, ram_kwh=made.ram_energy,
            gpu_kwh=made.gpu_energy, kg=made.emissions, cpu_w=made.cpu_power, ram_w=made.ram_power, cpu=made.cpu_model,
            cpus=made.cpu_count, ram_gb=made.ram_total_size,
        )  # fmt: skip
    say(all_us=used_us() - before_us, seconds=time.monotonic() - start)
    while not cb.flush(5):
        time.sleep(0.2)
    time.sleep(1)  # the counter after the last span
    say(counter=watched.end())
    say(sent=True)
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
