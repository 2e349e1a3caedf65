"""The bridge: writes the energy and emissions of a run to its finished runs in MLflow, W&B or Comet.

It runs beside the trackers, with a team's own credentials for them, and never inside a training.
"""
