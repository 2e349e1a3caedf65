"""A Keras training whose epochs are spans. Run in the tests only where Keras and a backend are there."""

import keras
import numpy as np

import carbonbudget as cb


class Epochs(keras.callbacks.Callback):
    """A span for each epoch. `carbonbudget.keras.CarbonCallback` does this and puts the figures into `History`."""

    def on_epoch_begin(self, epoch, logs=None):
        """The span is open until the epoch ends."""
        self._span = cb.track("epoch", step=epoch).start()

    def on_epoch_end(self, epoch, logs=None):
        """What the epoch needed is known about 90 s later."""
        self._span.end()
        cb.progress(epoch + 1, self.params["epochs"])


def main() -> None:
    """Fit a small network."""
    samples = np.random.default_rng(0).normal(size=(5_000, 16))
    labels = (samples.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy")
    with cb.track("fit"):
        model.fit(samples, labels, epochs=3, verbose=0, callbacks=[Epochs()])
    print("trained")


if __name__ == "__main__":
    main()
