"""An experiment of Comet in offline mode."""

import json
from pathlib import Path

import comet_ml
from waiting import Logged

import carbonbudget as cb
import carbonbudget.comet as of_comet

experiment = comet_ml.OfflineExperiment(
    project_name="p", workspace="w", offline_directory=".", log_code=False, log_graph=False, auto_param_logging=False,
    log_git_metadata=False, log_git_patch=False, log_env_details=False, display_summary_level=0,
)  # fmt: skip
of_comet.follow()
logged = Logged(of_comet.LOG, 2)
for step in range(2):
    with cb.track("epoch", step=step):
        pass
experiment.set_step(100)
experiment.set_epoch(9)
with experiment.train():
    logged.wait()
    experiment.log_metric("loss", 0.5)
experiment.end()
print(json.dumps({"file": str(next(Path().glob("*.zip")).resolve())}))
