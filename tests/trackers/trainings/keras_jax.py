"""Keras on JAX, with our callback, inside a run of MLflow."""

import json
import math
import sys

import keras
import mlflow
import numpy as np
from waiting import Logged

import carbonbudget.mlflow as of_mlflow
from carbonbudget.keras import CarbonCallback

mlflow.set_experiment(sys.argv[1])
rng = np.random.default_rng(1)
points, answers = rng.random((64, 3)), rng.random((64, 1))
model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
model.compile(loss="mse")
with mlflow.start_run() as run:
    logged = Logged(of_mlflow.LOG, 3)
    history = model.fit(points, answers, epochs=3, verbose=0, callbacks=[CarbonCallback()]).history
    at_the_end = {name: len(values) for name, values in history.items()}
    unknown = sum(math.isnan(value) for value in history["carbon/co2e_g"])
    logged.wait()
    waited = CarbonCallback(wait_seconds=30)
    # One epoch whose figures are awaited: they are in its logs, for callbacks that come later.
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    model.fit(points, answers, epochs=1, verbose=0, callbacks=[waited, spy])
print(
    json.dumps(
        {
            "run": run.info.run_id, "history": history, "lengths": at_the_end, "unknown": unknown, "logs": seen[0],
            "backend": keras.backend.backend(), "loss": history["loss"],
        }
    )
)  # fmt: skip
