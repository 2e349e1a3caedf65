"""What new work is expected to emit, in the real API server: warned of, and refused by `basis: Projected`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apiserver.chart_policies import RUN_LABEL, ChartPolicies
from tests.apiserver.manifests import SELECT_X, work
from tests.apiserver.webhook_process import Webhook, a_server
from tests.e2e.conftest import wait_for

from carbonbudget_core.jsons import JsonObject, parse_object
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.installed_enforcement import InstalledEnforcement, installed_enforcement, limited_kinds

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

PER_CORE_HOUR = 100 * 10**9  # 100 kg: a pod requests 10 millicores, 1 kg an hour
RATE = {
    "instance_type": "", "core_hour_location_ug": PER_CORE_HOUR, "core_hour_market_ug": 0, "core_hour_embodied_ug": 0,
    "gpu_hour_location_ug": 0, "gpu_hour_market_ug": 0, "gpu_hour_embodied_ug": 0, "modelled": False,
}  # fmt: skip
PROJECTED = [{"at": 100, "action": "Block", "basis": "Projected"}]


@pytest.fixture(scope="module")
def webhook(policies: ChartPolicies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """The webhook, with a server that answers /v1/projection: rates, and former runs of Job/known."""
    directory: Path = tmp_path_factory.mktemp("server")
    with policies.namespace() as space:
        run = {
            "namespace": space, "workload": "Job/known", "pods": 3, "pod_location_ug": 10**12,
            "pod_market_ug": 0, "pod_embodied_ug": 0, "pod_seconds": 60,
        }  # fmt: skip
        table = {"as_of": int(time.time()), "rates": [RATE], "runs": [run]}
        with a_server(directory, table) as arguments, policies.webhook(*arguments) as process:
            age = "carbonbudget_admission_projection_age_seconds"
            wait_for("the table", lambda: process.figure(age) >= 0, 15)
            process.space = space
            yield process


def test_work_that_does_not_fit_is_refused_by_a_projected_threshold(policies: ChartPolicies, webhook: Webhook) -> None:
    space = webhook.space
    policies.stand(space, "fits", 50, None, selector=SELECT_X, thresholds=PROJECTED, contact="#ml")
    hour = {"annotations": {"carbonbudget.dev/expected-duration": "1h"}}
    said = policies.refusal(work("Job", space, metadata=hour))
    assert (
        "carbon budget fits: expected 1kg, left 500g of 1kg CO2e (by the requests of Job w; location-based); " in said
    )
    assert "; ask #ml; see:" in said
    assert policies.admitted(
        work("Job", space, metadata={"annotations": {"carbonbudget.dev/expected-duration": "20m"}})
    )
    assert policies.admitted(work("Job", space, activeDeadlineSeconds=60))
    assert not policies.admitted(work("Job", space, activeDeadlineSeconds=3600))
    assert policies.admitted(work("Job", space)), "without a duration nothing is guessed"
    assert "(by the former runs of Job known; location-based)" in policies.try_out(work("Job", space, "known"))[1]
    assert policies.admitted(work("Job", space, labels={"project": "y"}, metadata=hour))


CHECK = "--field-manager=carbonbudget-check"


def test_a_dry_run_of_the_check_is_told_what_is_expected_and_what_is_left(
    policies: ChartPolicies, webhook: Webhook, space: str
) -> None:
    policies.stand(space, "roomy", 10, None, limit="10kg")
    hour = {"annotations": {"carbonbudget.dev/expected-duration": "1h"}}
    stated = work("Job", space, metadata=hour)

    def told() -> str | None:
        fine, said = policies.try_out(stated, CHECK)
        assert fine
        return said if "for information: carbon budget roomy" in said else None

    assert "expected 1kg, left 9.9kg of 10kg CO2e (by the requests of Job w; location-based)" in wait_for(
        "the figures", told, 15
    )
    assert policies.try_out(stated) == (True, ""), "nobody else is told"
    said = policies.try_out(work("Job", space), CHECK)[1]
    assert "left 9.9kg of 10kg CO2e, location-based; nothing is expected of Job w: no run of that name" in said


def test_explain_finds_the_checked_kinds_and_namespaces_in_the_installed_policy(
    policies: ChartPolicies, space: str
) -> None:
    def get(path: str) -> tuple[int, JsonObject]:
        done = policies.cluster.kubectl("get", "--raw", path, check=False)
        return (200, parse_object(done.stdout)) if done.returncode == 0 else (404, {})

    async def read(path: ApiPath) -> tuple[int, JsonObject]:
        own = path.name == "carbonbudget"
        return get(path.at(None, policies.named("carbonbudget")).text() if own else path.text())

    async def found() -> tuple[InstalledEnforcement, frozenset[str] | None]:
        seen = await installed_enforcement(read)
        return seen, await limited_kinds(seen, read)

    seen, kinds = asyncio.run(found())
    assert (seen.mode, kinds) == ("Enforce", ENFORCED_KINDS | {"TrainJob"})
    ours = {RUN_LABEL: policies.run}
    assert not seen.leaves_out(space, ours)
    assert seen.leaves_out("kube-system", ours)
    assert seen.leaves_out(space, ours | {"carbonbudget.dev/enforcement": "off"})


def test_a_run_is_compared_with_its_own_limit_alone(policies: ChartPolicies, webhook: Webhook, space: str) -> None:
    policies.stand(space, "run", 300, None, per="Workload", thresholds=PROJECTED, limit="2kg")
    long = {"annotations": {"carbonbudget.dev/expected-duration": "2h"}}
    said = policies.refusal(work("Job", space, metadata=long))
    assert "expected 2kg, allowed 2kg for each workload" in said
    assert policies.admitted(
        work("Job", space, metadata={"annotations": {"carbonbudget.dev/expected-duration": "90m"}})
    )


def test_without_a_projected_threshold_it_is_only_warned_of(
    policies: ChartPolicies, webhook: Webhook, space: str
) -> None:
    policies.stand(space, "roomy", 50, None)
    hour = {"annotations": {"carbonbudget.dev/expected-duration": "1h"}}

    def warned() -> str | None:
        fine, said = policies.try_out(work("Job", space, metadata=hour))
        assert fine
        return said if "Warning: " in said else None

    assert "Warning: carbon budget roomy: expected 1kg, left 500g" in wait_for("the warning", warned, 15)


def test_a_duration_that_cannot_be_read_is_warned_of_at_apply(
    policies: ChartPolicies, webhook: Webhook, space: str
) -> None:
    policies.stand(space, "any", 50, None)
    slip = {"annotations": {"carbonbudget.dev/expected-duration": "2 hours"}}

    def warned() -> str | None:
        fine, said = policies.try_out(work("Job", space, metadata=slip, activeDeadlineSeconds=60))
        assert fine
        return said if "Warning: " in said else None

    told = wait_for("the warning", warned, 15)
    assert 'Warning: carbonbudget.dev/expected-duration "2 hours" is no duration, so ' in told
    assert "so activeDeadlineSeconds is used instead; write e.g. 2h30m" in told
