"""The CRD's rules in the real API server: what is nonsense is refused at apply, with a sentence."""

from __future__ import annotations

import pytest
from tests.conftest import ROOT
from tests.e2e.conftest import Release, budget

pytestmark = pytest.mark.cluster

BAD: list[tuple[dict[str, object], str]] = [
    ({"limit": "5 kilos"}, "limit must be a number with a unit mg, g, kg or t, for example 5kg"),
    ({"limit": "-5kg"}, "limit must be a number with a unit"),
    ({"limit": "5"}, "limit must be a number with a unit"),
    ({"period": "Monthly"}, 'Unsupported value: "Monthly": supported values: "Day", "Week", "Month"'),
    ({"period": None}, "write either period (Day, Week, Month, Quarter or Year), or start and end"),
    ({"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}, "write either period"),
    ({"period": None, "start": "2026-01-01T00:00:00Z"}, "start and end belong together"),
    ({"period": None, "start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end must be after start"),
    ({"timeZone": "Mars/Phobos"}, "timeZone must be a name of the IANA database, for example Europe/Paris"),
    (
        {"thresholds": [{"at": 100, "action": "Block"}, {"at": 80, "action": "Warn"}]},
        "thresholds must be in ascending order of at",
    ),
    (
        {"thresholds": [{"at": 80, "action": "Warn"}, {"at": 80, "action": "Block"}]},
        "thresholds must be in ascending order of at, none twice",
    ),
    (
        {"thresholds": [{"at": 80, "action": "Block"}, {"at": 100, "action": "Warn"}]},
        "a threshold above a Block must be a Block too",
    ),
    ({"thresholds": [{"at": 0, "action": "Warn"}]}, "should be greater than or equal to 1"),
    ({"thresholds": [{"at": 80, "action": "Explode"}]}, 'supported values: "Warn", "Block"'),
    ({"selector": {"matchLabels": {"": "x"}}}, "selector.matchLabels has an empty key"),
    ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In and NotIn need values"),
    (
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}},
        "Exists and DoesNotExist take none",
    ),
    ({"enforce": {"kinds": ["Deployment"]}}, 'supported values: "Job", "Pod"'),
    ({"accounting": "Guessed"}, 'supported values: "LocationBased"'),
    ({"limmit": "5kg"}, 'unknown field "spec.limmit"'),
]


@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_nonsense_is_refused_with_a_sentence(
    release: Release, namespace: str, change: dict[str, object], sentence: str
) -> None:
    spec = {key: value for key, value in ({"limit": "5kg", "period": "Month"} | change).items() if value is not None}
    code, said = release.create(budget(namespace, "bad", **spec), "--dry-run=server")
    assert code == 1
    assert sentence in said


def test_every_example_is_accepted(release: Release) -> None:
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        done = release.cluster.kubectl("apply", "--dry-run=server", "-f", str(example), check=False)
        assert done.returncode == 0, done.stderr


def test_kubectl_explain_reads_well(release: Release) -> None:
    said = release.cluster.kubectl("explain", "carbonbudget.spec.limit").stdout
    assert "CO2e allowed in one period: a number with a unit mg, g, kg or t, for example 5kg." in " ".join(said.split())


@pytest.mark.parametrize(("verb", "answer"), [("get", "yes"), ("create", "no"), ("update", "no")])
def test_whoever_may_edit_a_namespace_reads_its_budgets_and_does_not_raise_them(
    release: Release, namespace: str, verb: str, answer: str
) -> None:
    release.cluster.kubectl("-n", namespace, "create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    ask = ("-n", namespace, "auth", "can-i", verb, "carbonbudgets", "--as=dev")
    assert release.cluster.kubectl(*ask, check=False).stdout.strip() == answer
