"""Pods with a run label get token, CA and variables, by the chart's policy and by its webhook alike."""

from __future__ import annotations

import copy
import json
import shlex
from typing import Any

import pytest
from tests.apiserver.tracked_pods import CHANGED, LEFT, MODEL, PATH, Pod, pod
from tests.apiserver.tracking_injectors import CA, SYSTEM, URL, Tracking, own_part
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import wait_for
from tests.examples.readme import EXAMPLES, shown_commands

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


@pytest.mark.parametrize("name", [one["metadata"]["name"] for one in CHANGED])
def test_policy_and_webhook_make_the_same_pod(tracked_specs: dict[str, dict[str, Pod]], name: str) -> None:
    assert tracked_specs["policy"][name] == tracked_specs["webhook"][name]
    assert tracked_specs["policy"][name] != tracked_specs["untracked"][name]


@pytest.mark.parametrize("name", [one["metadata"]["name"] for one in LEFT])
def test_a_pod_without_a_run_or_with_a_mount_of_its_own_stays_as_it_is(
    tracked_specs: dict[str, dict[str, Pod]], name: str
) -> None:
    assert tracked_specs["policy"][name] == tracked_specs["webhook"][name] == tracked_specs["untracked"][name]


@pytest.mark.parametrize("one", CHANGED, ids=lambda one: one["metadata"]["name"])
def test_nothing_but_the_volume_the_mounts_and_the_variables_is_added(
    tracked_specs: dict[str, dict[str, Pod]], one: Pod
) -> None:
    name = one["metadata"]["name"]
    spec = copy.deepcopy(tracked_specs["policy"][name])
    before = tracked_specs["untracked"][name]
    known = {c["name"]: c for c in [*before["containers"], *before.get("initContainers", [])]}
    for each in [*spec["containers"], *spec.get("initContainers", [])]:
        old = known[each["name"]]
        for key, ours in (("env", "CARBONBUDGET_"), ("volumeMounts", "carbonbudget-token")):
            kept = [e for e in each.get(key, []) if e in old.get(key, []) or not e["name"].startswith(ours)]
            each[key] = kept
            if key not in old:
                del each[key]
    spec["volumes"] = [v for v in spec.get("volumes", []) if v["name"] != "carbonbudget-token"]
    if "volumes" not in before:
        assert spec.pop("volumes") == []
    assert spec == before


def test_every_container_gets_token_ca_and_the_names_of_its_labels(tracked_specs: dict[str, dict[str, Pod]]) -> None:
    found = own_part(tracked_specs["policy"]["several"])
    token = {"audience": "carbonbudget-server", "expirationSeconds": 3600, "path": "token"}
    projected = {"defaultMode": 420, "sources": [{"serviceAccountToken": token}]}
    assert found["volumes"] == [{"name": "carbonbudget-token", "projected": projected}]
    assert set(found["env"]) == {"a", "b", "i", "j"}
    for name, env in found["env"].items():
        assert env == {
            "CARBONBUDGET_SERVER_URL": URL,
            "CARBONBUDGET_TOKEN_FILE": f"{PATH}/token",
            "CARBONBUDGET_CA": CA,
            "CARBONBUDGET_RUN": "exp-42",
            "CARBONBUDGET_MODEL": "org.net",
            "CARBONBUDGET_MODEL_VERSION": "1.2",
        }
        assert found["mounts"][name] == [{"name": "carbonbudget-token", "mountPath": PATH, "readOnly": True}]


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("own-url", "CARBONBUDGET_SERVER_URL", "https://other"),
        ("own-run", "CARBONBUDGET_RUN", "mine"),
        ("own-ca", "CARBONBUDGET_CA", "mine"),
        ("own-ca-file", "CARBONBUDGET_CA", None),
        ("only-own-token-file", "CARBONBUDGET_TOKEN_FILE", "/t"),
        ("mount-at-run", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-below", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-by-the-link", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-beside", "CARBONBUDGET_TOKEN_FILE", f"{PATH}/token"),
        ("empty-names", "CARBONBUDGET_MODEL", None),
    ],
)
def test_what_a_container_has_is_not_replaced(
    tracked_specs: dict[str, dict[str, Pod]], name: str, variable: str, value: str | None
) -> None:
    assert own_part(tracked_specs["policy"][name])["env"]["train"].get(variable) == value


def test_a_pod_of_which_no_container_gets_the_token_gets_no_volume(tracked_specs: dict[str, dict[str, Pod]]) -> None:
    for name in ("only-own-token-file", "mount-at-run", "mount-below", "mount-by-the-link"):
        assert own_part(tracked_specs["policy"][name])["volumes"] == []
    mixed = own_part(tracked_specs["policy"]["mount-above"])
    assert (mixed["mounts"]["train"], len(mixed["mounts"]["b"]), len(mixed["volumes"])) == ([], 1, 1)


def test_the_token_is_never_the_account_s_default_one(tracked_specs: dict[str, dict[str, Pod]]) -> None:
    spec = tracked_specs["policy"]["no-default-token"]
    assert [volume["name"] for volume in spec["volumes"]] == ["carbonbudget-token"]
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]] == [PATH]


def test_a_second_mutation_changes_nothing(tracking: Tracking, tracked_specs: dict[str, dict[str, Pod]]) -> None:
    once = tracked_specs[tracking.injector]
    again = [
        pod(one["metadata"]["name"], one["metadata"]["labels"], **once[one["metadata"]["name"]]) for one in CHANGED
    ]
    assert tracking.created(*again) == {name: once[name] for name in (one["metadata"]["name"] for one in CHANGED)}


def test_a_created_pod_is_what_the_dry_run_showed(tracking: Tracking, tracked_specs: dict[str, dict[str, Pod]]) -> None:
    (plain,) = [one for one in CHANGED if one["metadata"]["name"] == "plain"]
    assert tracking.created(plain, real=True)["plain"] == tracked_specs[tracking.injector]["plain"]


def test_a_token_as_the_kubelet_requests_it_identifies_the_pod_to_one_audience_alone(
    tracking: Tracking, cluster: Cluster
) -> None:
    spec = tracking.created(pod("bearer"), real=True)["bearer"]
    (source,) = own_part(spec)["volumes"][0]["projected"]["sources"]
    audience = source["serviceAccountToken"]["audience"]
    bound = (f"--audience={audience}", "--bound-object-kind=Pod", "--bound-object-name=bearer")
    token = cluster.kubectl("-n", tracking.space, "create", "token", spec["serviceAccountName"], *bound).stdout.strip()

    def reviewed(*audiences: str) -> dict[str, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        body |= {"spec": {"token": token, "audiences": audiences}}
        shown = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)).stdout
        status: dict[str, Any] = json.loads(shown)["status"]
        return status

    user = reviewed("carbonbudget-server")["user"]
    uid = cluster.get("-n", tracking.space, "pod", "bearer")["metadata"]["uid"]  # type: ignore[index] # JSON
    assert user["username"] == f"system:serviceaccount:{tracking.space}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    for others in ((), ("carbonbudget",), ("https://kubernetes.default.svc.cluster.local",)):
        assert not reviewed(*others).get("authenticated", False)


def test_an_ephemeral_container_that_is_added_later_gets_nothing(tracking: Tracking, cluster: Cluster) -> None:
    tracking.created(pod("debugged"), real=True)
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:dev"}]}}
    command = ("-n", tracking.space, "patch", "pod", "debugged", "--subresource=ephemeralcontainers", "-o", "json")
    spec = json.loads(cluster.kubectl(*command, "-p", json.dumps(patch)).stdout)["spec"]
    (debug,) = spec["ephemeralContainers"]
    assert "env" not in debug
    assert "volumeMounts" not in debug


def test_the_pods_of_a_job_are_tracked_by_the_template_s_label(tracking: Tracking, cluster: Cluster) -> None:
    template = {"metadata": {"labels": MODEL}, "spec": pod("x", restartPolicy="Never")["spec"]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "by-template"}, "spec": {"template": template}}
    cluster.kubectl("-n", tracking.space, "create", "-f", "-", stdin=json.dumps(job))
    listing = ("-n", tracking.space, "pods", "-l", "batch.kubernetes.io/job-name=by-template")
    items: Any = wait_for("the Job's pod", lambda: cluster.get(*listing)["items"] or None, 30)
    assert own_part(items[0]["spec"])["env"]["train"]["CARBONBUDGET_MODEL"] == "org.net"


def test_the_example_prints_what_its_readme_shows(tracking: Tracking, cluster: Cluster) -> None:
    label, *others = shown_commands(EXAMPLES / "22-tracked-job" / "README.md")
    assert label.line == "kubectl label namespace team-a carbonbudget.dev/track=enabled"  # the chart's own selector
    for shown in others:
        program, *words = shlex.split(shown.line)
        assert program == "kubectl"
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]

        def printed(words: list[str] = words, output: str = shown.output) -> bool:
            done = cluster.kubectl("-n", tracking.space, *words, check=False)
            return (done.stdout + done.stderr).replace(tracking.space, "team-a").split() == output.split()

        wait_for(shown.line, printed, 30)


def test_the_lines_to_write_by_hand_are_accepted_and_stay_as_they_are(tracked_specs: dict[str, dict[str, Pod]]) -> None:
    assert (
        tracked_specs["policy"]["from-the-page"]
        == tracked_specs["webhook"]["from-the-page"]
        == tracked_specs["untracked"]["from-the-page"]
    )
    (written,) = tracked_specs["untracked"]["from-the-page"]["containers"]
    injected = own_part(tracked_specs["policy"]["plain"])["env"]["train"]
    for variable in written["env"]:
        if variable["name"] != "CARBONBUDGET_CA_FILE":
            value = variable["value"].replace("carbonbudget-system", SYSTEM)
            assert injected[variable["name"]] == value
