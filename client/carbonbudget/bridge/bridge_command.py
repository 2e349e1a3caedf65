"""`carbonbudget-bridge`: writes figures to the finished runs of a tracker, once or again and again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from carbonbudget.bridge.bridge_round import Bridge
from carbonbudget.bridge.comet_runs import DEFAULT_URL, CometRuns
from carbonbudget.bridge.mlflow_runs import MlflowRuns, credentials
from carbonbudget.bridge.run_figures import CarbonServer
from carbonbudget.bridge.tracker import Tracker
from carbonbudget.bridge.wandb_runs import WandbRuns

_SERVER = "https://carbonbudget-server.carbonbudget-system.svc:8443"
_TOKEN_FILE = "/var/run/secrets/carbonbudget.dev/token"  # noqa: S105 - a path


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 everything written or nothing to write, 1 something was not, 2 wrong use."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        bridge = Bridge(_tracker(chosen, os.environ), _server(chosen, os.environ), _say)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        while True:
            outcome = bridge.round(int((time.time() - chosen.days * 86_400) * 1000))
            print(f"{bridge.tracker.name}: {outcome}", flush=True)
            if not chosen.interval:
                return int(not outcome.done)
            time.sleep(chosen.interval)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carbonbudget-bridge",
        description="Write the energy and emissions of runs to their finished runs in MLflow, W&B or Comet.",
        epilog="Each run gets provisional figures once and final figures once. "
        "Exit code: 0 done, 1 something is not, 2 wrong use.",
    )
    trackers = parser.add_subparsers(dest="tracker", required=True, metavar="mlflow|wandb|comet")
    mlflow = trackers.add_parser("mlflow", help="runs of an MLflow server, by its REST API")
    mlflow.add_argument("--tracking-uri", help="address of the MLflow server; else MLFLOW_TRACKING_URI")
    mlflow.add_argument("--experiment", action="append", default=[], help="name of an experiment; else all of them")
    wandb = trackers.add_parser("wandb", help="runs of W&B projects, by W&B's library")
    wandb.add_argument("--project", action="append", required=True, type=_pair, metavar="ENTITY/PROJECT")
    comet = trackers.add_parser("comet", help="experiments of Comet projects, by its REST API; key in COMET_API_KEY")
    comet.add_argument("--project", action="append", required=True, type=_pair, metavar="WORKSPACE/PROJECT")
    for each in (mlflow, wandb, comet):
        each.add_argument("--server-url", help=f"carbonbudget's server; else CARBONBUDGET_SERVER_URL, else {_SERVER}")
        each.add_argument("--token-file", type=Path, help=f"its token; else CARBONBUDGET_TOKEN_FILE or {_TOKEN_FILE}")
        each.add_argument("--ca-file", type=Path, help="its CA; else CARBONBUDGET_CA or CARBONBUDGET_CA_FILE")
        each.add_argument("--days", type=_days, default=30, help="look at runs that ended in the last DAYS (30)")
        how_often = each.add_mutually_exclusive_group()
        how_often.add_argument("--once", action="store_true", help="one round, then leave (the default)")
        how_often.add_argument("--interval", type=_seconds, default=0, metavar="SECONDS", help="a round every SECONDS")
    return parser


def _tracker(chosen: argparse.Namespace, environment: Mapping[str, str]) -> Tracker:
    if chosen.tracker == "wandb":
        return WandbRuns(chosen.project)
    if chosen.tracker == "comet":
        if not (key := environment.get("COMET_API_KEY", "")):
            raise ValueError("Comet needs an API key: set COMET_API_KEY")
        # Comet's own library adds this path to the address of the installation.
        url = (environment.get("COMET_URL_OVERRIDE") or DEFAULT_URL).rstrip("/").removesuffix("/clientlib")
        return CometRuns(url, key, chosen.project)
    url = chosen.tracking_uri or environment.get("MLFLOW_TRACKING_URI", "")
    if not url:
        raise ValueError("which MLflow server? Give --tracking-uri or set MLFLOW_TRACKING_URI")
    return MlflowRuns(url, credentials(environment), chosen.experiment)


def _server(chosen: argparse.Namespace, environment: Mapping[str, str]) -> CarbonServer:
    url = chosen.server_url or environment.get("CARBONBUDGET_SERVER_URL") or _SERVER
    token_file = chosen.token_file or Path(environment.get("CARBONBUDGET_TOKEN_FILE") or _TOKEN_FILE)
    ca_file = chosen.ca_file or environment.get("CARBONBUDGET_CA_FILE")
    if chosen.ca_file or not (ca := environment.get("CARBONBUDGET_CA")):
        ca = Path(ca_file).read_text() if ca_file else None
    return CarbonServer(url, token_file, ca)


def _pair(text: str) -> str:
    owner, slash, name = text.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is no OWNER/PROJECT")
    return text


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 3_650:
        raise argparse.ArgumentTypeError("between 0 and 3650 days")
    return days


def _seconds(text: str) -> int:
    seconds = int(text)
    if not 10 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("between 10 and 86400 seconds")
    return seconds


def _say(line: str) -> None:
    print(f"carbonbudget-bridge: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
