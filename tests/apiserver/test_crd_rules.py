"""The CRD's rules in the real API server: what is nonsense is refused at apply, with a sentence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from tests.api_requests import api_requests
from tests.conftest import Cluster
from tests.e2e.conftest import Release, budget, wait_for

from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.crd import Schema, crds
from carbonbudget_operator.enforcement.enforced_budgets import parse_budget

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]
NO_KEY = "no label can have this key: write a name of at most 63 letters"
NO_VALUE = "no label can have this value: write at most 63 letters"

BAD: list[tuple[dict[str, object], str]] = [
    ({"limit": "5 kilos"}, "limit must be a number with a unit mg, g, kg or t, without a space, for example 5kg"),
    ({"limit": "-5kg"}, "limit must be a number with a unit"),
    ({"limit": "5"}, "limit must be a number with a unit"),
    ({"limit": "5 kg"}, "with a unit mg, g, kg or t, without a space"),
    ({"limit": "0.0001mg"}, "limit is finer than a microgram"),
    ({"limit": "0.0000001g"}, "limit is finer than a microgram"),
    (
        {"period": None, "start": "1969-12-31T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "between the years 1971 and 9000",
    ),
    (
        {"period": None, "start": "2026-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"},
        "between the years 1971 and 9000",
    ),
    ({"timeZone": "+02:00"}, "timeZone must be a name of the IANA database"),
    ({"timeZone": "Local"}, "timeZone must be a name of the IANA database"),
    ({"contact": "ask\nAda"}, "contact must be one line"),
    ({"contact": "ask\u2028Ada"}, "contact must be one line of printable characters"),
    ({"contact": "\x1b[2Jask"}, "contact must be one line of printable characters"),
    ({"contact": "ask \u202eadA"}, "contact must be one line of printable characters"),
    ({"selector": {"matchLabels": {"k" * 318: "x"}}}, "spec.selector.matchLabels: Invalid value"),
    ({"selector": {"matchLabels": {"a b": "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"k" * 64: "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"a/b/c": "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"-a": "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"a..b/c": "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"a." * 126 + "aa/c": "x"}}}, NO_KEY),
    ({"selector": {"matchLabels": {"k": "a b"}}}, NO_VALUE),
    ({"selector": {"matchLabels": {"k": "a-"}}}, NO_VALUE),
    ({"selector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "a/b"]}]}}, NO_VALUE),
    ({"selector": {"matchLabels": {"k": "x" * 64}}}, "Too long: may not be more than 63"),
    ({"selector": {"matchLabels": {f"k{n}": "x" for n in range(65)}}}, "must have at most 64 items"),
    ({"selector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}, NO_KEY),
    ({"selector": {"matchExpressions": [{"key": "k" * 318, "operator": "Exists"}]}}, "may not be more than 317"),
    (
        {"selector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["x" * 64]}]}},
        "may not be more than 63",
    ),
    ({"enforce": {"kinds": ["J" * 64]}}, "may not be more than 63"),
    ({"enforce": {"kinds": ["Job"] * 17}}, "must have at most 16 items"),
    ({"period": "Monthly"}, 'Unsupported value: "Monthly": supported values: "Day", "Week", "Month"'),
    ({"period": None}, "write either period (Day, Week, Month, Quarter or Year), or start and end"),
    ({"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}, "write either period"),
    ({"period": None, "start": "2026-01-01T00:00:00Z"}, "start and end belong together"),
    ({"period": None, "start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end must be after start"),
    ({"timeZone": "Mars/Phobos"}, "timeZone must be a name of the IANA database, for example Europe/Paris"),
    (
        {"thresholds": [{"at": 80, "action": "Warn"}, {"at": 80, "action": "Block", "basis": "Used"}]},
        'spec.thresholds[1]: Duplicate value: {"at":80,"basis":"Used"}',
    ),
    ({"include": ["Idle", "Dynamic", "Idle"]}, 'spec.include[2]: Duplicate value: "Idle"'),
    ({"enforce": {"kinds": ["Job", "Pod", "Job"]}}, 'spec.enforce.kinds[2]: Duplicate value: "Job"'),
    (
        {"thresholds": [{"at": 80, "action": "Block"}, {"at": 100, "action": "Warn"}]},
        "a threshold above another cannot ask for less: what blocks at 80 cannot only warn at 100",
    ),
    (
        {"thresholds": [{"at": 80, "action": "Suspend"}, {"at": 100, "action": "Block"}]},
        "a threshold above another cannot ask for less",
    ),
    (
        {"thresholds": [{"at": 100, "action": "Suspend", "basis": "Projected"}]},
        "Suspend acts on running Jobs, so it goes by what was used: leave basis: Projected out",
    ),
    ({"thresholds": [{"at": 80, "action": "Warn", "basis": "Guessed"}]}, 'supported values: "Used", "Projected"'),
    ({"thresholds": []}, "should have at least 1 items"),
    ({"thresholds": [{"at": 0, "action": "Warn"}]}, "should be greater than or equal to 1"),
    ({"thresholds": [{"at": 80, "action": "Explode"}]}, 'supported values: "Warn", "Block", "Suspend"'),
    ({"selector": {"matchLabels": {"": "x"}}}, NO_KEY),
    ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In and NotIn need values"),
    (
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}},
        "Exists and DoesNotExist take none",
    ),
    *(
        ({"enforce": {"kinds": ["Pod", kind]}}, "in the singular, with capitals: Job, Pod, Deployment, StatefulSet")
        for kind in ("deployments", "Jobs", "DaemonSets", "Statefulset", "ReplicaSETs", "")
    ),
    ({"enforce": {"kinds": ["CronJobs"]}}, "a CronJob emits nothing by itself: write Job in enforce.kinds"),
    ({"enforce": {"kinds": ["CronJob"]}}, "a CronJob emits nothing by itself: write Job in enforce.kinds"),
    ({"enforce": {"grace": "half an hour soon"}}, "Too long: may not be more than 16"),
    *(({"enforce": {"grace": grace}}, "grace must be a duration of numbers") for grace in ("30", "", "30m1h", "1.5h")),
    ({"per": "Pod"}, 'supported values: "Selection", "Workload"'),
    ({"onMissingData": "Guess"}, 'supported values: "KeepLast", "Unknown"'),
    ({"include": []}, "should have at least 1 items"),
    ({"include": ["Heat"]}, 'supported values: "Dynamic", "Idle", "Overhead", "Embodied"'),
    ({"accounting": "Guessed"}, 'supported values: "LocationBased", "MarketBased"'),
    ({"contact": "x" * 65}, "Too long: may not be more than 64"),
    ({"timeZone": ""}, "should be at least 1 chars long"),
    ({"carryOver": {"max": 20}, "per": "Workload"}, "carryOver needs period, and per: Selection"),
    (
        {"carryOver": {"max": 20}, "period": None, "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "carryOver needs period, and per: Selection",
    ),
    ({"carryOver": {"max": 101}}, "should be less than or equal to 100"),
    ({"carryOver": {"max": 0}}, "should be greater than or equal to 1"),
    ({"carryOver": {"max": 20, "periods": 13}}, "should be less than or equal to 12"),
    ({"carryOver": {}}, "spec.carryOver.max: Required value"),
    ({"overspend": "Deduct", "per": "Workload"}, "overspend: Deduct needs period, and per: Selection"),
    (
        {"overspend": "Deduct", "period": None, "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "overspend: Deduct needs period, and per: Selection",
    ),
    ({"overspend": "Ignore"}, 'supported values: "Deduct", "Forgive"'),
    ({"parent": "Company 2026"}, "write the name of an object: lower-case letters, digits, - and ."),
    ({"parent": "team-a/monthly"}, "write the name of an object"),
    ({"parent": ""}, "should be at least 1 chars long"),
    ({"credits": [{"target": "UPPER", "cap": 5}]}, "write the name of an object"),
    ({"credits": [{"target": "t"}]}, "spec.credits[0].cap: Required value"),
    (
        {"credits": [{"target": "t", "cap": 5}, {"target": "t", "cap": 6}]},
        'spec.credits[1]: Duplicate value: {"target":"t"}',
    ),
    ({"credits": [{"target": f"t{n}", "cap": 5} for n in range(9)]}, "must have at most 8 items"),
    ({"limmit": "5kg"}, 'unknown field "spec.limmit"'),
]


CLUSTER_BAD: list[tuple[dict[str, object], str]] = [
    ({"namespaceSelector": {"matchLabels": {"": "x"}}}, NO_KEY),
    ({"namespaceSelector": {"matchLabels": {"k" * 318: "x"}}}, "spec.namespaceSelector.matchLabels: Invalid value"),
    (
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "namespaceSelector.matchExpressions: In and NotIn need values",
    ),
    ({"limit": "5"}, "limit must be a number with a unit"),
]
GOOD: list[dict[str, object]] = [
    {"carryOver": {"max": 100, "periods": 12}, "overspend": "Deduct", "parent": "company-2026.eu"},
    {"credits": [{"target": f"t{n}", "cap": 5, "share": 50, "expiresAfter": 3} for n in range(8)]},
    {"overspend": "Forgive", "per": "Workload", "parent": "company"},
    {"limit": "0g"},
    {"limit": "999999999.999999999t"},
    {"limit": "0.001mg"},
    {"limit": "0.000000001kg"},
    {"thresholds": [{"at": 80, "action": "Warn"}, {"at": 80, "action": "Block", "basis": "Projected"}]},
    {"thresholds": [{"at": 100, "action": "Block"}, {"at": 80, "action": "Warn"}]},
    {"thresholds": [{"at": 50, "action": "Block"}, {"at": 60, "action": "Warn", "basis": "Projected"}]},
    {"enforce": {"kinds": ["Job", "PyTorchJob", "Deployment"], "grace": "0s"}},
    {"enforce": {"grace": "1w2d3h30m15s"}},
    {"selector": {"matchExpressions": [{"key": f"k{n}", "operator": "Exists"} for n in range(32)]}},
    {"contact": "Équipe Énergie ⚡"},
    {"selector": {"matchLabels": {"p" * 253 + "/" + "k" * 63: "x" * 63, "a_B.c": ""}}},
    {"selector": {"matchLabels": {f"{n}.{'p.' * 60}com/{'k' * 63}": "x" * 63 for n in range(64)}}},
    {
        "selector": {
            "matchExpressions": [
                {"key": f"{n}.{'p.' * 60}com/{'k' * 63}", "operator": "In", "values": ["x" * 63] * 64}
                for n in range(32)
            ]
        }
    },
    {"selector": {"matchExpressions": [{"key": "example.com/team_A.b", "operator": "Exists"}]}},
]


@pytest.fixture(scope="module")
def with_crds(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """What creates objects as a person does: nothing is installed but the CRDs."""
    return Release(cluster, volumes=tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    name = f"rules-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_nonsense_is_refused_with_a_sentence(
    with_crds: Release, space: str, change: dict[str, object], sentence: str
) -> None:
    spec = {key: value for key, value in ({"limit": "5kg", "period": "Month"} | change).items() if value is not None}
    fine, said = api_requests(with_crds.cluster).create(budget(space, "bad", **spec), "--dry-run=server")
    assert not fine
    assert sentence in said


@pytest.mark.parametrize(("change", "sentence"), CLUSTER_BAD, ids=[sentence[:40] for _, sentence in CLUSTER_BAD])
def test_a_cluster_wide_one_is_held_to_the_same_rules(
    with_crds: Release, change: dict[str, object], sentence: str
) -> None:
    fine, said = api_requests(with_crds.cluster).create(
        {
            "apiVersion": "carbonbudget.dev/v1alpha1",
            "kind": "ClusterCarbonBudget",
            "metadata": {"name": "bad"},
            "spec": {"limit": "5kg", "period": "Month"} | change,
        },
        "--dry-run=server",
    )
    assert not fine
    assert sentence in said


@pytest.mark.parametrize("change", GOOD, ids=[str(change)[:40] for change in GOOD])
def test_what_is_unusual_but_right_is_accepted(with_crds: Release, space: str, change: dict[str, object]) -> None:
    spec = {"limit": "5kg", "period": "Month"} | change
    fine, said = api_requests(with_crds.cluster).create(budget(space, "odd", **spec), "--dry-run=server")
    assert fine, said


def apply(cluster: Cluster, manager: str, body: dict[str, object]) -> None:
    command = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
    cluster.kubectl(*command, stdin=json.dumps(body))


def test_two_managers_of_a_budget_each_have_their_own_threshold_and_credit(with_crds: Release, space: str) -> None:
    cluster, name = with_crds.cluster, "shared"
    warn, block = {"at": 80, "action": "Warn"}, {"at": 100, "action": "Block"}
    one, two = {"target": "one", "cap": 5}, {"target": "two", "cap": 6}
    apply(cluster, "platform", budget(space, name, limit="5kg", period="Month", thresholds=[block], credits=[one]))
    apply(cluster, "team", budget(space, name, thresholds=[warn], credits=[two]))
    spec = CarbonBudget.model_validate(cluster.get("-n", space, "carbonbudget", name)).spec
    assert {(each.at, each.action) for each in spec.thresholds or ()} == {(80, "Warn"), (100, "Block")}
    assert {each.target for each in spec.credits} == {"one", "two"}
    apply(cluster, "team", budget(space, name, contact="#team"))  # takes its own back, and leaves the platform's
    spec = CarbonBudget.model_validate(cluster.get("-n", space, "carbonbudget", name)).spec
    assert [(each.at, each.action) for each in spec.thresholds or ()] == [(100, "Block")]


def test_the_api_server_adds_no_empty_field(with_crds: Release, space: str) -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    apply(with_crds.cluster, "team", budget(space, "bare", limit="5kg", period="Month", selector=selector))
    spec = with_crds.cluster.get("-n", space, "carbonbudget", "bare")["spec"]
    assert isinstance(spec, dict)
    assert spec["selector"] == selector
    assert [name for name, value in spec.items() if value in ("", [], {})] == []


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Evaluated",
    "message": "",
    "lastTransitionTime": "2026-11-24T12:00:00Z",
}
BAD_CONDITIONS: list[tuple[list[dict[str, str]], str]] = [
    ([CONDITION, CONDITION], 'status.conditions[1]: Duplicate value: {"type":"Ready"}'),
    ([CONDITION | {"status": "Maybe"}], 'supported values: "True", "False", "Unknown"'),
    ([CONDITION | {"reason": "two words"}], "status.conditions[0].reason: Invalid value"),
    ([CONDITION | {"reason": ""}], "status.conditions[0].reason: Invalid value"),
    ([CONDITION | {"type": "not ready"}], "status.conditions[0].type: Invalid value"),
    ([CONDITION | {"message": "x" * 32769}], "may not be more than 32768"),
    ([CONDITION | {"type": f"Type{n}"} for n in range(17)], "must have at most 16 items"),
    *(
        (
            [{key: value for key, value in CONDITION.items() if key != missing}],
            f"conditions[0].{missing}: Required value",
        )
        for missing in CONDITION
    ),
]


@pytest.mark.parametrize(("conditions", "sentence"), BAD_CONDITIONS, ids=[said[:50] for _, said in BAD_CONDITIONS])
def test_a_condition_that_kubernetes_would_not_have_is_refused(
    with_crds: Release, space: str, conditions: list[dict[str, str]], sentence: str
) -> None:
    apply(with_crds.cluster, "team", budget(space, "conditions", limit="5kg", period="Month"))
    write = ("-n", space, "patch", "carbonbudget", "conditions", "--type=merge", "--subresource=status")
    done = with_crds.cluster.kubectl(*write, "-p", json.dumps({"status": {"conditions": conditions}}), check=False)
    assert done.returncode
    assert sentence in done.stderr


def test_a_budget_of_before_a_rule_is_still_evaluated_and_read(with_crds: Release, space: str) -> None:
    """An update that leaves alone what breaks a new rule is let in (Kubernetes 1.30: ratcheting)."""
    kubectl = with_crds.cluster.kubectl
    name = "carbonbudgets.carbonbudget.dev"
    rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    before = with_crds.cluster.get("crd", name)
    lax = [
        {"op": "remove", "path": f"{rules}/x-kubernetes-validations"},
        *(
            {"op": "remove", "path": f"{rules}/properties/{field}/x-kubernetes-validations"}
            for field in (
                "contact",
                "enforce/properties/kinds",
                "selector/properties/matchLabels",
                "selector/properties/matchExpressions/items/properties/key",
                "selector/properties/matchExpressions/items/properties/values",
            )
        ),
    ]
    old = {
        "contact": "\x1b[2Jask\u202e",
        "selector": {
            "matchLabels": {"k" * 1000: "a b"},
            "matchExpressions": [{"key": "a b", "operator": "In", "values": ["c d"]}],
        },
        "enforce": {"kinds": ["Jobs"]},
    }
    kubectl("patch", "crd", name, "--type=json", "-p", json.dumps(lax))
    try:
        made = budget(space, "old", limit="5kg", period="Month", **old)
        wait_for("the old rules", lambda: api_requests(with_crds.cluster).create(made)[0], 30)
    finally:
        kubectl("patch", "crd", name, "--type=merge", "-p", json.dumps({"spec": before["spec"]}))
    wait_for(
        "the rules", lambda: not api_requests(with_crds.cluster).create(budget(space, "new", limit="5kg", **old))[0], 30
    )
    write = ("-n", space, "patch", "carbonbudget", "old", "--type=merge")
    status = {"state": "Exceeded", "message": "x", "counted": {"hash": "4813930a8405ed06", "generation": 1}}
    kubectl(*write, "--subresource=status", "-p", json.dumps({"status": status}))
    kubectl(*write, "-p", json.dumps({"metadata": {"labels": {"carbonbudget.dev/blocking": "true"}}}))
    kubectl(*write, "-p", json.dumps({"spec": {"limit": "6kg", "enforce": {"grace": "1h"}}}))  # a person's edit
    body = with_crds.cluster.get("-n", space, "carbonbudget", "old")
    assert (body["spec"]["limit"], body["status"]["counted"]) == ("6kg", status["counted"])
    assert CarbonBudget.model_validate(body).status.state == "Exceeded"
    assert parse_budget(body) is not None


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("carbonbudget.spec.limit", "a number with a unit mg, g, kg or t, for example 5kg."),
        ("carbonbudget.spec.enforce.grace", "How long a running Job goes on after Suspend is reached"),
        ("carbonbudget.spec.enforce", "Left out: Jobs and bare pods, 30m."),
        ("carbonbudget.status.exhaustedAt", "When the forecast reaches the limit"),
        ("carbonbudget.status.enforcement", "What is in force now. Left out while nothing is"),
        ("clustercarbonbudget.spec.namespaceSelector", "Left out: all namespaces."),
    ],
)
def test_kubectl_explain_reads_well(with_crds: Release, field: str, sentence: str) -> None:
    assert sentence in " ".join(with_crds.cluster.kubectl("explain", field).stdout.split())


def test_kubectl_gets_all_kinds_by_their_category(with_crds: Release, space: str) -> None:
    kubectl = with_crds.cluster.kubectl
    apply(with_crds.cluster, "team", budget(space, "seen", limit="5kg", period="Month"))
    assert "carbonbudget.carbonbudget.dev/seen" in kubectl("-n", space, "get", "carbon", "-o", "name").stdout
    conditions = {"status": {"conditions": [CONDITION]}}
    write = ("-n", space, "patch", "carbonbudget", "seen", "--type=merge", "--subresource=status")
    kubectl(*write, "-p", json.dumps(conditions))
    header, row = kubectl("-n", space, "get", "carbonbudget", "seen", "-o", "wide").stdout.splitlines()
    columns = "NAME LIMIT USED PERCENT STATE ACTION ENDS AGE EFFECTIVE FORECAST PER ACCOUNTING READY AS OF"
    assert header.split() == columns.split()
    at = header.index("READY")
    assert row[at : header.index("AS OF")].strip() == "Evaluated"


def test_every_field_explains_itself() -> None:
    def bare(schema: Schema, path: str) -> list[str]:
        inner = schema.get("items", schema)
        missing = [path] if not (schema.get("description") or inner.get("description")) else []
        return missing + [
            found for name, field in inner.get("properties", {}).items() for found in bare(field, f"{path}.{name}")
        ]

    for crd in crds():
        fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert [hole for part in ("spec", "status") for hole in bare(fields[part], part)] == []
