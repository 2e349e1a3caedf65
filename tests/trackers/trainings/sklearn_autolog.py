"""scikit-learn under MLflow's autolog; of carbonbudget only spans are in the code."""

import json
import sys

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
from waiting import Logged

import carbonbudget as cb
import carbonbudget.mlflow as of_mlflow

mlflow.set_experiment(sys.argv[1])
mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
points = np.random.default_rng(1).normal(size=(200, 3))
answers = points.sum(axis=1) > 0
with cb.track("outside"):
    pass
with mlflow.start_run() as run:
    logged = Logged(of_mlflow.LOG, 3)  # with the one outside
    for step in range(2):
        with cb.track("fit", step=step):
            model = LogisticRegression().fit(points, answers)
    logged.wait()
print(json.dumps({"run": run.info.run_id, "score": model.score(points, answers)}))
