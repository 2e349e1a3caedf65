"""Runs `carbonbudget check` on manifests against a small API server, for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tests.cli.api_server import Asked, Said, api_server
from tests.cli.test_manifests import JOB, TEMPLATE
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.main import app

MESSAGE = "carbon budget tight: used 2g of 1g CO2e (200 %), resets 2026-12-01"
POLICY = (
    'jobs.batch "j" is forbidden: '
    f"ValidatingAdmissionPolicy 'carbonbudget' with binding 'carbonbudget' denied request: {MESSAGE}"
)
WEBHOOK = f'admission webhook "admission.carbonbudget.dev" denied the request: {MESSAGE}'
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": TEMPLATE},
}  # fmt: skip


def run(kubeconfig: Path, *args: str, manifests: object = JOB) -> Result:
    documents = manifests if isinstance(manifests, list) else [manifests]
    text = yaml.safe_dump_all(documents)
    return CliRunner().invoke(app, ["check", "-f", "-", "--kubeconfig", str(kubeconfig), *args], input=text)


def checked(tmp_path: Path, answer: Callable[[Asked], Said], manifests: object = JOB) -> tuple[int, dict[str, Any]]:
    with api_server(answer, tmp_path) as path:
        result = run(path, "-o", "json", manifests=manifests)
    value = json.loads(result.stdout)
    assert value["exitCode"] == result.exit_code
    return result.exit_code, value
