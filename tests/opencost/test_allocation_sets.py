"""Allocation sets: keys, and that no grouping, step, filter or share of idle loses a microgram."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.price import Price
from carbonbudget_operator.ledger.valued_rows import COLUMNS, EMBODIED_UG, ENERGY_UJ, LOCATION_UG, MARKET_UG, ValuedRow
from carbonbudget_operator.opencost.allocation_body import allocations_json, rounded, summary_json
from carbonbudget_operator.opencost.allocation_properties import (
    AggregateError,
    key_function,
    parse_aggregate,
    properties_of,
)
from carbonbudget_operator.opencost.allocation_sets import (
    AllocationFigures,
    Allocations,
    SetBuilder,
    TooManyAllocations,
)
from carbonbudget_operator.opencost.request_parameters import AllocationRequest, RequestError, read_request

NOW = 1_764_000_000
WINDOW = f"{NOW - 7_200},{NOW}"
NAMES = st.sampled_from(["team-a", "team-b", "team-c"])
WORKLOADS = st.sampled_from(["Job/x", "Deployment/x", "Pod/x", "CronJob/y", "StatefulSet/z"])
FIGURES = st.lists(st.integers(0, 10**15), min_size=COLUMNS, max_size=COLUMNS)
PODS = st.builds(
    ValuedRow, st.just(0), st.just(3_600), st.sampled_from(["", "n1"]), st.just(""), NAMES, WORKLOADS,
    st.dictionaries(st.sampled_from(["team", "app.kubernetes.io/name"]), st.sampled_from(["a", "b"])),
    FIGURES, st.just(frozenset()),
)  # fmt: skip
SPECIAL = st.builds(
    ValuedRow, st.just(0), st.just(3_600), st.just(""), st.just(""), st.sampled_from(["__idle__", "__system__"]),
    st.just(""), st.just({}), FIGURES, st.just(frozenset()),
)  # fmt: skip
ROWS = st.lists(PODS | SPECIAL, max_size=12)
AGGREGATES = st.sampled_from(
    ["", "namespace", "node", "cluster", "controller", "controllerKind", "pod", "job,namespace", "label:team",
     "product", "service", "label:app.kubernetes.io/name,deployment", "controllerNamespace"]
)  # fmt: skip


def request(**parameters: str) -> AllocationRequest:
    return read_request({"window": WINDOW} | parameters, NOW)


def sets(rows: list[ValuedRow], **parameters: str) -> Allocations:
    return SetBuilder(request(**parameters), "c", 1_000).build([rows])


def total(found: Allocations) -> AllocationFigures:
    whole = AllocationFigures()
    for allocation in found.values():
        whole.add(allocation.figures)
    return whole


def whole_of(rows: list[ValuedRow]) -> AllocationFigures:
    figures = [sum(row.figures[column] for row in rows) for column in range(COLUMNS)]
    return AllocationFigures(
        sum(figures[ENERGY_UJ]), figures[3], sum(figures[LOCATION_UG]), sum(figures[MARKET_UG]),
        figures[EMBODIED_UG], figures[5],
    )  # fmt: skip


@given(ROWS, AGGREGATES)
def test_every_aggregation_adds_up_to_all_rows(rows: list[ValuedRow], aggregate: str) -> None:
    assert total(sets(rows, aggregate=aggregate, includeIdle="true")) == whole_of(rows)
    assert total(sets(rows, aggregate="all", includeIdle="true")) == whole_of(rows)


@given(ROWS, AGGREGATES)
def test_without_idle_the_rest_is_unchanged(rows: list[ValuedRow], aggregate: str) -> None:
    with_idle = sets(rows, aggregate=aggregate, includeIdle="true")
    with_idle.pop("__idle__", None)
    assert sets(rows, aggregate=aggregate) == with_idle


@given(ROWS, AGGREGATES)
def test_shared_idle_is_all_borne_by_pods(rows: list[ValuedRow], aggregate: str) -> None:
    found = total(sets(rows, aggregate=aggregate, includeIdle="true", shareIdle="true"))
    wanted = whole_of(rows)
    assert (found.energy_uj, found.metered_uj, found.location_ug, found.market_ug, found.embodied_ug) == (
        wanted.energy_uj, wanted.metered_uj, wanted.location_ug, wanted.market_ug, wanted.embodied_ug,
    )  # fmt: skip


FILTERS = st.sampled_from(
    [('namespace:"team-a","team-b"', 'namespace!:"team-a","team-b"'),
     ('label[team]~:"a"', 'label[team]!~:"a"'),
     ('controllerKind<~:"j"+namespace:"team-a"', 'controllerKind!<~:"j"|namespace!:"team-a"'),
     ('namespace:"__idle__"', 'namespace!:"__idle__"')]
)  # fmt: skip


@given(ROWS, AGGREGATES, FILTERS, st.booleans())
def test_a_filter_and_its_opposite_add_up_to_all_rows(
    rows: list[ValuedRow], aggregate: str, pair: tuple[str, str], share: bool
) -> None:
    options = {"aggregate": aggregate, "includeIdle": "true", "shareIdle": str(share)}
    parts = total(sets(rows, filter=pair[0], **options))
    parts.add(total(sets(list(reversed(rows)), filter=pair[1], **options)))
    assert parts == total(sets(rows, **options))


@given(st.lists(ROWS, min_size=1, max_size=4), AGGREGATES, st.booleans())
def test_steps_add_up_to_the_accumulated_set(steps: list[list[ValuedRow]], aggregate: str, share: bool) -> None:
    options = {"aggregate": aggregate, "includeIdle": "true", "shareIdle": str(share)}
    accumulated = SetBuilder(request(**options), "c", 1_000).build(steps)
    names = {name for step in steps for name in sets(step, **options)}
    assert names == set(accumulated)
    for name in names:
        figures = AllocationFigures()
        for step in steps:
            found = sets(step, **options).get(name)
            if found is not None:
                figures.add(found.figures)
        assert figures == accumulated[name].figures


@given(ROWS, st.integers(1, 5))
def test_pages_add_up_to_the_whole_set(rows: list[ValuedRow], limit: int) -> None:
    whole = sets(rows, includeIdle="true")
    found: Allocations = {}
    for offset in range(0, len(whole) + 1, limit):
        found |= sets(rows, includeIdle="true", limit=str(limit), offset=str(offset))
    assert list(found) == list(whole)
    assert total(found) == total(whole)


JOB = properties_of("c", "n1", "ns", "Job/train", {"app.kubernetes.io/name": "app", "env": "prod"})
BARE = properties_of("c", "n1", "ns", "Pod/shell", {})


@pytest.mark.parametrize(
    ("aggregate", "of_job", "of_bare"),
    [
        ("", "c/ns/job:train", "c/ns/__unallocated__"),
        ("all", "all", "all"),
        ("cluster", "c", "c"),
        ("node,namespace", "n1/ns", "n1/ns"),
        ("controllerKind", "job", "__unallocated__"),
        ("controller", "job:train", "__unallocated__"),
        ("controllernamespace", "job:ns:train", "__unallocated__"),
        ("namespace,controllerNamespace", "ns/job:train", "ns/__unallocated__"),
        ("job", "train", "__unallocated__"),
        ("deployment", "__unallocated__", "__unallocated__"),
        ("pod", "job:train", "shell"),
        ("container", "job:train", "shell"),
        ("service", "__unallocated__", "__unallocated__"),
        ("annotation:x", "__unallocated__", "__unallocated__"),
        ("label:app.kubernetes.io/name", "app", "__unallocated__"),
        ("label:app_kubernetes_io_name", "app", "__unallocated__"),
        ("environment,product", "prod/__unallocated__", "__unallocated__/__unallocated__"),
    ],
)
def test_a_key_is_named_as_in_opencost(aggregate: str, of_job: str, of_bare: str) -> None:
    name = key_function(parse_aggregate(aggregate))
    assert (name(JOB), name(BARE)) == (of_job, of_bare)


@pytest.mark.parametrize("aggregate", ["nonsense", "label:", "label", "all,namespace", ",".join("abcdefghijk")])
def test_an_unknown_aggregation_is_an_error(aggregate: str) -> None:
    with pytest.raises(AggregateError, match=r"^aggregate: "):
        parse_aggregate(aggregate)


@pytest.mark.parametrize(
    "parameters",
    [{"window": ""}, {"accumulate": "maybe"}, {"includeIdle": "perhaps"}, {"limit": "-1"}, {"offset": "x"},
     {"step": "5m"}, {"filter": "x"}, {"aggregate": "x"}, {"shareIdle": "even"}, {"filterLabels": "x"},
     {"window": "90d", "aggregate": "node"}, {"window": "90d", "filter": 'node:"n"'}],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(parameters: dict[str, str]) -> None:
    with pytest.raises(RequestError) as error:
        request(**parameters)
    assert "\n" not in str(error.value)


def test_a_request_accumulates_and_steps_as_opencost_does() -> None:
    assert len(request(window="7d", step="1d").steps) == 7
    assert len(request(window="7d").steps) == 1
    assert len(request(window="7d", accumulate="false", step="1d").steps) == 7
    assert len(request(window="7d", accumulate="true", step="1d").steps) == 1
    assert len(request(window="7d", accumulate="true", step="1d", shareIdle="true").shared_in) == 7
    assert len(request(window="7d", accumulate="day").steps) == 7
    assert len(request(window="7d", accumulate="true", accumulateBy="day").steps) == 7
    assert len(request(window="7d", accumulate="true", accumulateBy="none", step="1d").steps) == 7


def test_unknown_parameters_are_ignored_and_named() -> None:
    asked = request(resolution="1m", idleByNode="true", AGGREGATE="namespace")
    assert asked.ignored == ("idleByNode", "resolution")
    assert asked.keys == ("namespace",)


def a_row(namespace: str, workload: str, **labels: str) -> ValuedRow:
    return ValuedRow(0, 3_600, "", "", namespace, workload, labels, [0] * COLUMNS, frozenset())


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"filterNamespaces": "team-a,other"}, {"team-a"}),
        ({"filterNamespaces": "team-*"}, {"team-a", "team-b"}),
        ({"filterControllers": "job:x"}, {"team-a"}),
        ({"filterLabels": "app:web"}, {"team-b"}),
        ({"filterNamespaces": "team-*", "filter": 'namespace!:"team-a"'}, {"team-b"}),
    ],
)
def test_filters_of_version_1_are_read(parameters: dict[str, str], names: set[str]) -> None:
    rows = [a_row("team-a", "Job/x"), a_row("team-b", "Deployment/x", app="web"), a_row("z", "Pod/x")]
    assert set(sets(rows, aggregate="namespace", **parameters)) == names


def test_too_many_allocations_are_refused_before_they_take_memory() -> None:
    builder = SetBuilder(request(aggregate="namespace"), "c", 3)
    assert len(builder.build([[a_row("a", "Job/x"), a_row("b", "Job/x")]])) == 2
    with pytest.raises(TooManyAllocations):
        builder.build([[a_row("a", "Job/x"), a_row("b", "Job/x")]])


# The fields of core/pkg/opencost/allocation_json.go, in its order.
GO_FIELDS = (
    "name", "properties", "window", "start", "end", "minutes",
    "cpuCores", "cpuCoreRequestAverage", "cpuCoreLimitAverage", "cpuCoreUsageAverage", "cpuCoreHours", "cpuCost",
    "cpuCostAdjustment", "cpuCostIdle", "cpuEfficiency",
    "gpuCount", "gpuHours", "gpuCost", "gpuCostAdjustment", "gpuCostIdle", "gpuEfficiency",
    "networkTransferBytes", "networkReceiveBytes", "networkCost", "networkCrossZoneCost", "networkCrossRegionCost",
    "networkInternetCost", "networkCostAdjustment", "loadBalancerCost", "loadBalancerCostAdjustment",
    "pvBytes", "pvByteHours", "pvCost", "pvs", "pvCostAdjustment",
    "ramBytes", "ramByteRequestAverage", "ramByteLimitAverage", "ramByteUsageAverage", "ramByteHours", "ramCost",
    "ramCostAdjustment", "ramCostIdle", "ramEfficiency",
    "externalCost", "sharedCost", "totalCost", "totalEfficiency", "lbAllocations", "gpuAllocation",
)  # fmt: skip


def test_an_allocation_has_the_fields_of_the_go_struct_and_ours_beside_them() -> None:
    row = a_row("team-a", "Job/x", team="ml")
    row.figures[:] = [*(3_600_000_000_000, 0, 0), 1_800_000_000_000, *(1_234_567_891, 1_000, 0), *([5] * 11)]
    body = json.loads(allocations_json([((NOW, NOW + 7_200), sets([row]))], NOW + 100, True))
    assert (body["code"], body["status"]) == (200, "success")
    ((name, found),) = body["data"][0].items()
    assert list(found) == [*GO_FIELDS, "carbonKilograms", "carbonbudget"]
    assert name == found["name"] == "c/team-a/job:x"
    assert found["properties"] == {
        "cluster": "c", "controller": "x", "controllerKind": "job", "namespace": "team-a", "labels": {"team": "ml"},
    }  # fmt: skip
    assert (found["start"], found["end"], found["minutes"]) == ("2025-11-24T16:00:00Z", "2025-11-24T16:01:40Z", 1.66667)
    assert found["window"] == {"start": "2025-11-24T16:00:00Z", "end": "2025-11-24T18:00:00Z"}
    assert found["carbonKilograms"] == 1.234568891
    assert found["carbonbudget"] == {
        "energyKWh": 1.0, "locationG": 1234.568891, "marketG": 0.000015, "embodiedG": 0.000005, "idleG": 0.001,
        "measuredPercent": 50,
    }  # fmt: skip
    assert found["totalCost"] == 0
    assert found["pvs"] is None


def test_the_cost_of_emissions_is_external_and_the_whole_of_the_total() -> None:
    row = a_row("team-a", "Job/x")
    row.figures[:] = [*(3_600_000_000_000, 0, 0), 0, *(2 * 10**12, 0, 0), *([0] * 11)]
    price = Price(85_000_000, 300_000, "EUR")
    found = SetBuilder(request(aggregate="namespace"), "c", 10).build([[row], [row]], [price, None])
    body = json.loads(allocations_json([((NOW, NOW + 7_200), found)], NOW, False))
    ((_, shown),) = body["data"][0].items()
    assert (shown["externalCost"], shown["totalCost"], shown["cpuCost"]) == (170, 170, 0)
    assert shown["carbonbudget"]["energyCost"] == 0.3
    assert shown["carbonKilograms"] == 4000


def test_a_summary_is_in_opencosts_other_form() -> None:
    window = (NOW, NOW + 7_200)
    body = json.loads(summary_json([(window, sets([a_row("team-a", "Job/x")], aggregate="namespace"))], window, NOW))
    (only,) = body["data"]["sets"]
    assert body["data"]["step"] == 7_200 * 10**9
    assert only["allocations"]["team-a"]["totalCost"] == 0
    assert only["allocations"]["team-a"]["carbonKilograms"] == 0


@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        (1.000005, 1.00001),
        (-1.000005, -1.00001),
        (0.1, 0.1),
        (float("nan"), None),
        (float("inf"), None),
        (1e308, 1e308),
    ],
)
def test_floats_are_rounded_as_in_go(figure: float, shown: float | None) -> None:
    assert rounded(figure) == shown
