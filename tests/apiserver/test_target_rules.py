"""The rules of both kinds of target in the real API server: what is nonsense is refused at apply, with a sentence."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api_requests import api_requests
from tests.conftest import Cluster
from tests.e2e.conftest import Release

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPEC: dict[str, Any] = {
    "unit": {"name": "token", "per": 1_000_000, "source": {"preset": "vLLMOutputTokens"}},
    "baseline": {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
    "target": {"reduction": 20, "by": "2027-03-01T00:00:00Z"},
}
NOT_ONE = "unit.source: write exactly one of preset, counter and client"
NO_METRIC = "metric must be the name of a counter"
OURS = "matchLabels cannot name namespace, pod, exported_* or __*"
NO_LABEL = "matchLabels must be names of Prometheus labels"
EITHER = "baseline: write either start and end of a span that was measured, or value"
HOURS = "baseline.start and baseline.end must be full hours of UTC"
STEPS = "target.steps must be in ascending order of by and of reduction, none twice"
TOO_MUCH = "no step may ask for more than target.reduction, nor come after target.by"
STEPPED = "target.steps belong to path: Stepped, which needs at least one"


def counter(metric: str = "http_requests_total", **labels: str) -> dict[str, Any]:
    return {"unit": {"name": "request", "source": {"counter": {"metric": metric, "matchLabels": labels}}}}


def source(**fields: object) -> dict[str, Any]:
    return {"unit": {"name": "request", "source": fields}}


def unit_name(name: str) -> dict[str, Any]:
    return {"unit": {"name": name, "source": {"client": "inference"}}}


def baseline(**fields: str) -> dict[str, Any]:
    return {"baseline": fields}


def steps(*found: tuple[str, int], **target: object) -> dict[str, Any]:
    listed = [{"by": f"{day}T00:00:00Z", "reduction": reduction} for day, reduction in found]
    return {"target": SPEC["target"] | {"path": "Stepped", "steps": listed} | target}


BAD: list[tuple[dict[str, Any], str]] = [
    (source(), NOT_ONE),
    (source(preset="vLLMOutputTokens", client="x"), NOT_ONE),
    (source(counter={"metric": "a"}, client="x"), NOT_ONE),
    (source(preset="vLLMSmiles"), "Unsupported value"),
    (source(client="a\nb"), "unit.source.client must be one line of printable characters"),
    (counter("rate(http_requests_total[5m])"), NO_METRIC),
    (counter("http requests"), NO_METRIC),
    (counter('a{namespace="b"}'), NO_METRIC),
    (counter("1a"), NO_METRIC),
    (counter(""), "should be at least 1 chars long"),
    (counter("a" * 129), "may not be more than 128"),
    (counter(namespace="team-b"), OURS),
    (counter(pod="x"), OURS),
    (counter(exported_namespace="team-b"), OURS),
    (counter(exported_pod="x"), OURS),
    (counter(__name__="b"), OURS),
    (counter(**{"a-b": "x"}), NO_LABEL),
    (counter(**{'a="b",c': "x"}), NO_LABEL),
    (counter(**{"": "x"}), NO_LABEL),
    (counter(a="x" * 254), "may not be more than 253"),
    (counter(**{f"l{n}": "x" for n in range(17)}), "must have at most 16 items"),
    (unit_name("to\nken"), "unit.name must be one line of printable characters"),
    (unit_name("\x1b[2Jtoken"), "unit.name must be one line of printable characters"),
    (unit_name("t\u202eoken"), "unit.name must be one line of printable characters"),
    (unit_name("t" * 33), "may not be more than 32"),
    ({"unit": SPEC["unit"] | {"per": 0}}, "should be greater than or equal to 1"),
    (baseline(), EITHER),
    (baseline(start="2026-09-01T00:00:00Z", end="2026-10-01T00:00:00Z", value="42g"), EITHER),
    (baseline(start="2026-09-01T00:00:00Z"), "baseline.start and baseline.end belong together"),
    (baseline(end="2026-09-01T00:00:00Z"), "baseline.start and baseline.end belong together"),
    (baseline(start="2026-10-01T00:00:00Z", end="2026-09-01T00:00:00Z"), "baseline.end must be after baseline.start"),
    (baseline(start="2026-09-01T00:00:00Z", end="2026-09-01T00:00:00Z"), "baseline.end must be after baseline.start"),
    (baseline(start="2025-01-01T00:00:00Z", end="2026-10-01T00:00:00Z"), "may be at most 366 days long"),
    (baseline(start="2026-09-01T00:30:00Z", end="2026-10-01T00:00:00Z"), HOURS),
    (baseline(start="2026-09-01T00:00:00Z", end="2026-10-01T00:00:01Z"), HOURS),
    (baseline(start="2026-09-01T00:00:00.5Z", end="2026-10-01T00:00:00Z"), HOURS),
    (baseline(start="2026-09-01T00:00:00+05:30", end="2026-10-01T00:00:00Z"), HOURS),
    (baseline(start="1969-09-01T00:00:00Z", end="2026-10-01T00:00:00Z"), "between the years 1971 and 9000"),
    (baseline(value="42"), "baseline.value must be a number with a unit mg, g, kg or t"),
    (baseline(value="42 g"), "baseline.value must be a number with a unit"),
    (baseline(value="-42g"), "baseline.value must be a number with a unit"),
    (baseline(value="0.0001mg"), "baseline.value is finer than a microgram"),
    (baseline(value="0g"), "baseline.value must be more than 0"),
    (baseline(value="0.000mg"), "baseline.value must be more than 0"),
    (
        baseline(value="42g") | {"basis": "Efficiency"},
        "basis: Efficiency compares at the grid of the baseline's span: write baseline.start and baseline.end",
    ),
    ({"target": {"reduction": 20, "by": "2026-10-01T00:00:00Z"}}, "target.by must be after baseline.end"),
    ({"target": {"reduction": 20, "by": "9999-01-01T00:00:00Z"}}, "must lie between the years 1971 and 9000"),
    ({"target": {"reduction": 0, "by": "2027-03-01T00:00:00Z"}}, "should be greater than or equal to 1"),
    ({"target": {"reduction": 101, "by": "2027-03-01T00:00:00Z"}}, "should be less than or equal to 100"),
    (steps(), STEPPED),
    (steps(("2026-12-01", 5), path="Linear"), STEPPED),
    (steps(("2026-12-01", 5), path="AtEnd"), STEPPED),
    (steps(("2027-01-01", 5), ("2026-12-01", 10)), STEPS),
    (steps(("2026-12-01", 10), ("2027-01-01", 5)), STEPS),
    (steps(("2026-12-01", 5), ("2026-12-01", 10)), STEPS),
    (steps(("2026-12-01", 5), ("2027-01-01", 5)), STEPS),
    (steps(("2026-12-01", 5), ("2027-01-01", 21)), TOO_MUCH),
    (steps(("2026-12-01", 5), ("2027-04-01", 10)), TOO_MUCH),
    ({"timeZone": "+02:00"}, "timeZone must be a name of the IANA database"),
    ({"timeZone": "Mars/Phobos"}, "timeZone must be a name of the IANA database"),
    ({"window": "Year"}, 'supported values: "Day", "Week", "Month"'),
    ({"tolerance": 101}, "should be less than or equal to 100"),
    ({"minimumUnits": -1}, "should be greater than or equal to 0"),
    ({"basis": "Guess"}, 'supported values: "Total", "Efficiency"'),
    ({"include": []}, "should have at least 1 items"),
    ({"selector": {"matchLabels": {"a b": "x"}}}, "no label can have this key"),
    ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In and NotIn need values"),
    ({"tolerence": 5}, 'unknown field "spec.tolerence"'),
]
OWN_BAD: list[tuple[dict[str, Any], str]] = [
    (source(query="sum(increase(a[1h]))"), 'unknown field "spec.unit.source.query"'),
    ({"namespaceSelector": {}}, 'unknown field "spec.namespaceSelector"'),
]
CLUSTER_BAD: list[tuple[dict[str, Any], str]] = [
    (source(), NOT_ONE.replace(" and client", "")),
    (source(query="x", client="y"), "unit.source: write exactly one of preset, counter, client and query"),
    (source(query="a\x07"), "unit.source.query must be one line of printable characters"),
    (source(query="x" * 1025), "may not be more than 1024"),
    ({"namespaceSelector": {"matchLabels": {"": "x"}}}, "no label can have this key"),
    (
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "namespaceSelector.matchExpressions: In and NotIn need values",
    ),
]
GOOD: list[dict[str, Any]] = [
    {},
    counter(),
    counter("a:b_c"),
    counter(**{f"l{n}": "x" * 253 for n in range(16)}),
    counter(le="", status='2.."}) or vector(1) #'),
    source(client="images per second"),
    unit_name("jeton généré"),
    baseline(value="0.001mg"),
    baseline(value="42g"),
    baseline(start="2026-09-01T05:30:00+05:30", end="2026-09-01T01:00:00Z"),
    baseline(start="2025-01-01T00:00:00Z", end="2026-01-02T00:00:00Z"),
    {"basis": "Efficiency", "tolerance": 0, "minimumUnits": 10**15, "window": "Month", "timeZone": "Europe/Paris"},
    steps(("2026-12-01", 5), ("2027-03-01", 20)),
    steps(*((f"2026-{month:02}-{day:02}", 1 + day + 12 * (month - 11)) for month in (11, 12) for day in range(1, 13)),
          reduction=100),
    {"target": SPEC["target"] | {"path": "AtEnd", "reduction": 100}},
    {"selector": {"matchExpressions": [{"key": f"k{n}", "operator": "Exists"} for n in range(32)]}},
]  # fmt: skip
CLUSTER_GOOD: list[dict[str, Any]] = [
    source(query='sum by (namespace, pod) (increase(tokens_total{kind="out"}[1h]))'),
    {"namespaceSelector": {"matchLabels": {"team": "a"}}},
]


def manifest(kind: str, change: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"name": "t"} | ({"namespace": namespace} if kind == "CarbonTarget" else {})
    spec = copy.deepcopy(SPEC) | change
    return {"apiVersion": "carbonbudget.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def with_crds(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """What creates objects as a person does: nothing is installed but the CRDs."""
    return Release(cluster, volumes=tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    name = f"targets-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


BAD_CASES = [
    *(("CarbonTarget", *case) for case in BAD + OWN_BAD),
    *(("ClusterCarbonTarget", *case) for case in BAD[1:] if case[1] != NOT_ONE),
    *(("ClusterCarbonTarget", *case) for case in CLUSTER_BAD),
]
GOOD_CASES = [
    *(("CarbonTarget", change) for change in GOOD),
    *(("ClusterCarbonTarget", change) for change in GOOD + CLUSTER_GOOD),
]


@pytest.mark.parametrize(("kind", "change", "sentence"), BAD_CASES, ids=[f"{c[0]}: {c[2][:40]}" for c in BAD_CASES])
def test_nonsense_is_refused_with_a_sentence(
    with_crds: Release, space: str, kind: str, change: dict[str, Any], sentence: str
) -> None:
    fine, said = api_requests(with_crds.cluster).create(manifest(kind, change, space), "--dry-run=server")
    assert not fine
    assert sentence in said


@pytest.mark.parametrize(("kind", "change"), GOOD_CASES, ids=[f"{kind}: {str(c)[:40]}" for kind, c in GOOD_CASES])
def test_what_is_unusual_but_right_is_accepted(
    with_crds: Release, space: str, kind: str, change: dict[str, Any]
) -> None:
    fine, said = api_requests(with_crds.cluster).create(manifest(kind, change, space), "--dry-run=server")
    assert fine, said


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("carbontarget.spec.unit.source.counter.matchLabels", "cannot be given. Left out: any labels."),
        ("carbontarget.spec.target.path", "AtEnd no reduction until then. Default: Linear."),
        ("carbontarget.spec.basis", "cleaner electricity neither helps nor hurts. Default: Total."),
        ("carbontarget.status.state", "Violated: beyond that."),
        ("clustercarbontarget.spec.namespaceSelector", "Left out: all namespaces."),
        ("clustercarbontarget.spec.unit.source.query", "A PromQL expression"),
    ],
)
def test_kubectl_explain_reads_well(with_crds: Release, field: str, sentence: str) -> None:
    assert sentence in " ".join(with_crds.cluster.kubectl("explain", field).stdout.split())


def test_short_names_and_columns_are_those_that_people_use(with_crds: Release, space: str) -> None:
    kubectl = with_crds.cluster.kubectl
    assert api_requests(with_crds.cluster).create(manifest("CarbonTarget", {}, space))[0]
    heads = kubectl("-n", space, "get", "ct").stdout.splitlines()[0].split()
    assert heads == ["NAME", "UNIT", "PER", "CURRENT", "EXPECTED", "BASELINE", "STATE", "BY", "AGE"]
    assert kubectl("get", "cct").returncode == 0
