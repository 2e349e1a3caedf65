"""Lightning's hooks with a logger that makes its run as Lightning's MLFlowLogger does: Lightning itself needs torch."""

import json
import sys
from types import ModuleType, SimpleNamespace

import mlflow
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from waiting import Logged

import carbonbudget as cb
import carbonbudget.mlflow as of_mlflow
from carbonbudget.lightning import carbon_callback


class MLFlowLogger:
    """As in Lightning 2.6: a client with an address of its own, and no active run."""

    def __init__(self, experiment_name: str, tracking_uri: str) -> None:
        self._name, self._client, self._run_id = experiment_name, MlflowClient(tracking_uri), None

    @property
    def experiment(self) -> MlflowClient:
        if self._run_id is None:
            experiment = self._client.get_experiment_by_name(self._name)
            made = self._client.create_run(experiment.experiment_id, tags=resolve_tags({}))
            self._run_id = made.info.run_id
        return self._client

    @property
    def run_id(self) -> str:
        _ = self.experiment
        return self._run_id


stand_in = ModuleType("lightning.pytorch")
stand_in.Callback = type("Callback", (), {})
sys.modules["lightning"], sys.modules["lightning.pytorch"] = ModuleType("lightning"), stand_in
callback, logger = carbon_callback(), MLFlowLogger(*sys.argv[1:])
trainer = SimpleNamespace(
    callbacks=[callback], loggers=[SimpleNamespace(), logger], max_epochs=2, current_epoch=0, global_step=0
)
callback.on_train_start(trainer, None)
logged = Logged(of_mlflow.LOG, 3)
for trainer.current_epoch in range(2):
    callback.on_train_epoch_start(trainer, None)
    callback.on_train_epoch_end(trainer, None)
callback.on_fit_end(trainer, None)
with cb.track("after"):
    pass
logged.wait()
print(json.dumps({"run": logger.run_id, "active": mlflow.active_run() is not None}))
