"""Which objects of manifests are tried."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.cli.manifests import ManifestError, ManifestObject, read_manifests, to_try

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": TEMPLATE["spec"]}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": TEMPLATE}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"containers": "x"}}


def cron(**template: object) -> dict[str, object]:
    spec = {"schedule": "0 1 * * *", "jobTemplate": {"spec": JOB["spec"]} | template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "n", "namespace": "ns"}, "spec": spec}


def titles(entries: list[ManifestObject]) -> list[str]:
    return [entry.title for entry in entries]


def test_documents_and_lists_are_taken_apart_in_their_order() -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [POD, {"kind": "JobList", "items": [JOB]}]}
    text = yaml.safe_dump_all([CONFIG, None, items])
    entries = read_manifests(text, "f")
    assert titles(entries) == ["ConfigMap/c", "Pod/p", "Job/j"]
    assert [entry.source for entry in entries] == ["f", "f, document 3", "f, document 3"]


def test_json_is_read_too() -> None:
    assert titles(read_manifests(json.dumps(JOB), "f")) == ["Job/j"]


def test_a_date_without_quotes_stays_a_text_as_with_kubectl() -> None:
    (entry,) = read_manifests("{apiVersion: v1, kind: Pod, metadata: {annotations: {since: 2026-11-24}}}", "f")
    assert entry.metadata["annotations"] == {"since": "2026-11-24"}


def test_digits_with_colons_stay_a_text_as_with_kubectl() -> None:
    (entry,) = read_manifests("{apiVersion: v1, kind: Pod, spec: [22:22, 1:30.5, 0x1f, 1_000, 1.5, !!int 7, on]}", "f")
    assert entry.manifest["spec"] == ["22:22", "1:30.5", 31, 1000, 1.5, 7, True]
    assert read_manifests(f"apiVersion: v1\nkind: Pod\nspec: 1{':59' * 10_000}", "f")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is no YAML: line 1, column 5: expected the node content"),
        ("a: 1\nb:\n  - x\n y: 2", "is no YAML: line 4, column 2: expected <block end>"),
        ("apiVersion: v1\nkind: Pod\nkind: Job", "'kind' occurs twice in one mapping, first in line 2"),
        ("apiVersion: v1\nkind: Pod\nspec: " + "[" * 5_000 + "]" * 5_000, "is nested too deeply"),
        (f"apiVersion: v1\nkind: Pod\nspec: {'9' * 5_000}", "a number has more than 100 characters: put a text in"),
        ("apiVersion: v1\nkind: Pod\nspec: 0x_", "0x_ is no number: put a text in quotes"),
        ("- 1", "needs apiVersion and kind"),
        ("hello", "needs apiVersion and kind"),
        ("kind: Pod", "apiVersion is missing"),
        ("apiVersion: v1\nkind: 5", "kind is missing"),
        ("apiVersion: v1\nkind: List\nitems: [5]", "f, item 1 is no Kubernetes object"),
        ("apiVersion: v1\nkind: Pod\nspec: !!set {a}", "holds what JSON cannot"),
        ("apiVersion: v1\nkind: Pod\nspec: !!python/object:os.system {}", "is no YAML"),
        ("{{ .Values.name }}: 1", "f"),
    ],
)
def test_what_is_no_manifest_is_told_in_a_line(text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason) as error:
        read_manifests(text, "f")
    assert "\n" not in str(error.value)


@given(st.text(max_size=200))
def test_any_text_is_objects_or_one_line(text: str) -> None:
    told = ""
    try:
        assert all(entry.kind and entry.api_version for entry in read_manifests(text, "f"))
    except ManifestError as error:
        told = str(error)
    assert "\n" not in told


def test_only_what_makes_pods_is_tried() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": {"template": TEMPLATE}}
    torch = {
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "t"},
        "spec": {"pytorchReplicaSpecs": {"Worker": {"template": TEMPLATE}}},
    }  # fmt: skip
    stored = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"}, "template": TEMPLATE}
    entries = [ManifestObject("f", one) for one in (POD, JOB, deployment, torch, CONFIG, stored)]
    tried, others = to_try(entries)
    assert [entry.kind for entry in tried] == ["Pod", "Job", "Deployment", "PyTorchJob"]
    assert [entry.kind for entry in others] == ["ConfigMap", "PodTemplate"]


@pytest.mark.parametrize("kind", ["Job", "CronJob", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_a_kind_that_always_makes_pods_is_tried_whatever_its_template(kind: str) -> None:
    version = "batch/v1" if kind.endswith("Job") else "apps/v1"
    typed = ManifestObject(
        "f", {"apiVersion": version, "kind": kind, "metadata": {"name": "t"}, "spec": {"tmplate": TEMPLATE}}
    )
    assert to_try([typed])[1] == []
    foreign = ManifestObject("f", {"apiVersion": "x.dev/v1", "kind": kind, "metadata": {"name": "t"}, "spec": {}})
    assert to_try([foreign]) == ([], [foreign])


def test_a_cronjobs_job_is_tried_after_it_with_its_labels_and_its_owner() -> None:
    tried, _ = to_try([ManifestObject("f", cron(metadata={"labels": {"x": "y"}, "annotations": {"e": "3h"}}))])
    assert titles(tried) == ["CronJob/n", "Job of CronJob/n"]
    job = tried[1].manifest
    assert job["spec"] == JOB["spec"]
    assert tried[1].metadata["labels"] == {"x": "y"}
    assert tried[1].metadata["annotations"] == {"e": "3h"}
    assert tried[1].metadata["generateName"] == "n-"
    assert tried[1].namespace == "ns"
    (owner,) = tried[1].metadata["ownerReferences"]  # type: ignore[misc,attr-defined] # a list of one
    assert (owner["kind"], owner["name"], owner["controller"]) == ("CronJob", "n", True)


def test_jobs_of_an_exempt_template_are_checked_by_nobody_and_not_tried() -> None:
    exempt = cron(metadata={"labels": {"carbonbudget.dev/exempt": "true"}})
    assert titles(to_try([ManifestObject("f", exempt)])[0]) == ["CronJob/n"]


def test_a_generated_name_is_shown_as_one() -> None:
    assert (
        ManifestObject("f", {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "t-"}}).title
        == "Job/t-*"
    )


HOLDER = "apiVersion: v1\nkind: ConfigMap\n"
# Each line names the line before ten times: a billion values, or keys, of one kilobyte.
TIMES_TEN = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10))
KEYS = ", ".join(f"k{n}: 1" for n in range(100))
MERGES = "\n".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HOLDER}l0: &l0 [x]\n{TIMES_TEN}", "f has more than 5,000,000 values with its aliases"),
        (f"{HOLDER}m0: &m0 {{k: v}}\n{MERGES}", "<< merges more than 100 mappings, or all of them"),
        (f"{HOLDER}a: &a {{{KEYS}}}\nb: [{', '.join(['{<<: *a}'] * 200)}]", "all of them more than 10,000 keys"),
        (f"{HOLDER}m0: &m0 {{k: v}}\nm1: {{<<: [{', '.join(['*m0'] * 101)}]}}", "<< merges more than 100 mappings"),
        (f"{HOLDER}me: &me [*me]", "has an alias .* inside of itself"),
        (f"{HOLDER}long: &long {'x' * 100_000}\nl: [{', '.join(['*long'] * 300)}]", "more than 5,000,000 values"),
        (
            f"{HOLDER}long: &long {{{'x' * 1_000}: 1}}\nl: [{', '.join(['*long'] * 30_000)}]",
            "more than 5,000,000 values",
        ),
    ],
    ids=["aliases", "merges", "one long merge", "many merges", "itself", "a long text", "a long key"],
)
def test_a_short_text_that_becomes_huge_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read_manifests(text, "f")


def test_aliases_and_merges_as_people_write_them_are_read() -> None:
    (entry,) = read_manifests(f"{HOLDER}a: &a {{x: 1}}\nb: {{<<: *a, y: 2}}\nc: {{<<: [*a, {{z: 3}}]}}\nd: *a\n", "f")
    assert (entry.manifest["b"], entry.manifest["c"]) == ({"x": 1, "y": 2}, {"x": 1, "z": 3})
    assert entry.manifest["d"] == {"x": 1}
