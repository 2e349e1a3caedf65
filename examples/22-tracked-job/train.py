"""A scikit-learn training of twelve epochs in an MLflow run. Of carbonbudget only `epochs` is in the code."""

import os

import mlflow
import numpy as np
from sklearn.neural_network import MLPClassifier

import carbonbudget as cb

EPOCHS = 12
ROUNDS = int(os.environ.get("ROUNDS", "100"))  # passes over the data in an epoch


def main() -> None:
    """Fit a small network, and log its loss."""
    samples = np.random.default_rng(0).normal(size=(4_096, 64)).astype("float32")
    labels = (samples[:, :8].sum(axis=1) > 0).astype("int32")
    model = MLPClassifier(hidden_layer_sizes=(256,), batch_size=128, random_state=0)
    mlflow.set_experiment("chatbot")
    with mlflow.start_run(run_name=os.environ.get("CARBONBUDGET_RUN", "train")):
        for epoch in cb.epochs(range(EPOCHS)):
            for _ in range(ROUNDS):
                model.partial_fit(samples, labels, classes=[0, 1])
            mlflow.log_metric("loss", model.loss_, step=epoch)
        mlflow.log_metric("accuracy", model.score(samples, labels))
        # cb.wait_results(180) here waits until the last epochs have their points too, up to three minutes.


if __name__ == "__main__":
    main()
