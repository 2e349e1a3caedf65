"""From an object to the prepared budget and its questions."""

from __future__ import annotations

from typing import Any

import pytest
from tests.controller.objects import DECEMBER, NOVEMBER, NOW, Body, a_body, a_cluster_body, namespaces, stored

from carbonbudget_operator.admission.workload_kinds import workload_kinds
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.budgets.budget_sentence import format_instant
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.settled_use import SettledUse
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.budgets.verdict import Action, State, Threshold, Verdict
from carbonbudget_operator.controller.budget_limitations import enforcement_effective, figures_exact
from carbonbudget_operator.controller.budget_queries import period_queries
from carbonbudget_operator.controller.prepared_budget import InvalidBudget, PreparedBudget, prepare_budget
from carbonbudget_operator.namespace_labels import Namespaces

HOUR = 3600


def case_of(
    body: Body, known: Namespaces | None = None, now: int = NOW, former: EvaluationRecord | None = None
) -> PreparedBudget:
    return prepare_budget(stored(body), now, known or namespaces(), former)


def test_the_question_to_the_server_is_of_the_whole_period() -> None:
    (query,) = period_queries(case_of(a_body(selector={"matchLabels": {"a": "b"}})), 0, NOW)
    assert (query.id, query.namespaces, query.start, query.end) == ("team-a/monthly", ["team-a"], NOVEMBER, DECEMBER)
    assert (query.wishes.settled_through, query.workloads) == (0, 5)
    assert query.selector == LabelSelector(match_labels={"a": "b"})


def test_a_budget_per_workload_asks_for_as_many_of_them_as_can_be_named() -> None:
    (query,) = period_queries(case_of(a_body(per="Workload")), 0, NOW)
    assert query.workloads == 100


def test_thresholds_by_projection_are_left_to_the_webhook() -> None:
    thresholds = [{"at": 90, "action": "Warn"}, {"at": 100, "action": "Block", "basis": "Projected"}]
    assert case_of(a_body(thresholds=thresholds)).budget_limit.thresholds == (Threshold(90, Action.WARN),)


@pytest.mark.parametrize(("grace", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200)])
def test_the_grace_is_read_in_its_unit(grace: str, seconds: int) -> None:
    assert case_of(a_body(enforce={"grace": grace})).budget_limit.grace_s == seconds


def test_what_has_settled_is_asked_for_first_alone_then_with_the_next_hour_beside_it() -> None:
    data = NOVEMBER + 5 * HOUR + 100
    (first,) = period_queries(case_of(a_body()), data, NOW)
    assert (first.id, first.wishes.settled_through) == ("team-a/monthly", NOVEMBER + 5 * HOUR)
    verdict = Verdict(Period(NOVEMBER, DECEMBER), 3, 0, State.WITHIN, Action.NONE, 0)
    former = EvaluationRecord(verdict, SettledUse(NOVEMBER + 5 * HOUR, 10, 10))
    assert period_queries(case_of(a_body(), former=former), data, NOW) == [first]
    again, later = period_queries(case_of(a_body(), former=former), data + HOUR, NOW)
    assert again == first
    assert (later.id, later.wishes.settled_through) == ("team-a/monthly@settled", NOVEMBER + 6 * HOUR)


# --- whose pods count ------------------------------------------------------------------------------------------------

TEAMS = {"matchLabels": {"kind": "team"}}


def counting(**status: Any) -> Body:
    status.setdefault("period", {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"})
    return a_cluster_body(namespaceSelector=TEAMS) | {"status": {"evaluatedGeneration": 1} | status}


def test_without_a_selector_every_namespace_counts_also_those_that_are_gone() -> None:
    prepared = case_of(a_cluster_body())
    assert (prepared.key, prepared.namespaces) == ("/all", ("*",))


def test_a_selector_takes_those_that_match_now_and_those_that_counted_before() -> None:
    known = namespaces(team_a={"kind": "team"}, team_b={"kind": "team"}, other={})
    assert case_of(counting(), known).namespaces == ("team-a", "team-b")
    prepared = case_of(counting(namespaces=["gone", "other"]), known)
    assert prepared.namespaces == ("team-a", "team-b", "gone", "other")


def test_in_a_new_period_those_that_are_gone_count_no_more_but_in_the_former() -> None:
    known = namespaces(team_a={"kind": "team"})
    period = {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    prepared = case_of(counting(namespaces=["gone"], period=period), known)
    assert prepared.namespaces == ("team-a",)
    asked = [query for query in period_queries(prepared, 0, NOW) if "@" in query.id]
    assert [query.namespaces for query in asked] == [["gone"]]  # the other one counts from this period on


def test_an_edited_selector_lets_go_of_what_still_exists() -> None:
    body = counting(namespaces=["gone", "team-b"], evaluatedGeneration=0)
    assert case_of(body, namespaces(team_a={"kind": "team"}, team_b={})).namespaces == ("team-a", "gone")


def test_an_edit_that_counts_the_same_lets_go_of_no_namespace() -> None:
    """Else a new contact would take the use of a relabelled namespace off, and it would look like lost facts."""
    known = namespaces(team_a={"kind": "team"}, team_b={})
    first = case_of(counting(namespaces=["team-b"]), known)
    counted = {"hash": first.budget_limit.counted_hash, "generation": 0}
    body = counting(namespaces=["team-b"], evaluatedGeneration=0, counted=counted)
    assert case_of(body, known).namespaces == ("team-a", "team-b")
    body["spec"]["namespaceSelector"] = {"matchLabels": {"kind": "team"}, "matchExpressions": [
        {"key": "a", "operator": "DoesNotExist"},
    ]}  # fmt: skip
    assert case_of(body, known).namespaces == ("team-a",)


def test_before_all_namespaces_are_known_none_is_taken_for_all() -> None:
    assert case_of(a_cluster_body(namespaceSelector=TEAMS), Namespaces()).namespaces is None


def test_those_that_are_gone_are_kept_in_the_order_of_their_going() -> None:
    gone: list[str] = []
    for index in range(4):  # each build has a namespace of its own
        status = {"namespaces": gone} if gone else {}
        prepared = case_of(counting(**status), namespaces(**{f"build_{index}": {"kind": "team"}}))
        gone = list(prepared.namespaces or ())
    assert gone == ["build-3", "build-2", "build-1", "build-0"]


def test_when_those_that_are_gone_are_too_many_the_ones_gone_longest_count_no_more_and_it_is_evaluated_still() -> None:
    known = namespaces(team_a={"kind": "team"}, team_b={"kind": "team"})
    gone = [f"build-{index}" for index in range(1000)]
    prepared = case_of(counting(namespaces=gone), known)
    assert prepared.namespaces == ("team-a", "team-b", *gone[:998])
    assert prepared.namespaces_left_out
    assert figures_exact(prepared.namespaces, prepared.namespaces_left_out, (), False).reason == "NamespacesLeftOut"
    assert len(period_queries(prepared, 0, NOW)[0].namespaces) == 1000
    fits = case_of(counting(namespaces=gone[:998]), known)
    assert (len(fits.namespaces or ()), fits.namespaces_left_out) == (1000, False)
    assert figures_exact(fits.namespaces, fits.namespaces_left_out, (), False).reason == "Exact"


def test_more_namespaces_than_can_be_asked_for_are_refused_with_a_sentence() -> None:
    many = namespaces(**{f"n{index}": {"kind": "team"} for index in range(1001)})
    with pytest.raises(InvalidBudget, match="selects 1001 namespaces and 1000 are possible"):
        case_of(a_cluster_body(namespaceSelector=TEAMS), many)


def test_the_first_and_the_last_instant_that_are_possible_are_evaluated_in_every_zone() -> None:
    spec = {"period": None, "start": "1971-01-01T00:00:00Z", "end": "8999-12-31T23:59:59-05:00"}
    for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
        with pytest.raises(InvalidBudget, match="between the years 1971 and 9000"):
            case_of(a_body(timeZone=zone, **spec))
        prepared = case_of(a_body(timeZone=zone, **(spec | {"end": "8999-12-31T23:59:59Z"})))
        assert (prepared.budget_limit.period.start, period_queries(prepared, 0, NOW)[0].end) == (31536000, 221845391999)
        assert format_instant(prepared.budget_limit.period.end, prepared.zone)


# --- what cannot be evaluated -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"limit": "much"}, "must be a number with a unit"),
        ({"limit": None}, "spec.limit: Input should be a valid string"),
        ({"timeZone": "Mars/Phobos"}, "is no time zone"),
        ({"period": None}, "neither period nor start and end"),
        ({"period": None, "start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end must be after"),
        ({"selector": {"matchExpressions": [{"key": "", "operator": "In"}]}}, "key"),
        ({"enforce": {"grace": "soon"}}, "must be a number with s, m or h"),
        ({"period": None, "start": "1969-12-31", "end": "2026-01-01T00:00:00Z"}, "between the years 1971 and 9000"),
        ({"period": None, "start": "2026-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}, "years 1971 and 9000"),
        ({"period": None, "start": "2026-01-01T00:00:00Z", "end": "9999-12-31T23:59:59-05:00"}, "1971 and 9000"),
    ],
)
def test_a_bad_budget_that_got_in_says_why(spec: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidBudget, match=sentence):
        case_of(a_body(**spec))


def test_a_kind_that_the_cluster_does_not_enforce_is_named_in_the_condition() -> None:
    """A typing error would otherwise hold up nothing, in silence."""
    body = a_body(enforce={"kinds": ["Job", "PyTorchJob", "Deploiment"]})
    prepared = prepare_budget(stored(body), NOW, namespaces(), None, ENFORCED_KINDS | {"PyTorchJob"})
    found = enforcement_effective(prepared.unenforced, {})
    assert (found.status, found.reason) == ("False", "KindsNotEnforced")
    assert found.message.startswith("Deploiment of enforce.kinds is not enforced in this cluster: mistyped, or missing")
    assert prepare_budget(stored(a_body()), NOW, namespaces()).unenforced == ()


def test_the_kinds_that_a_budget_may_name_are_those_that_admission_limits() -> None:
    assert {shape.kind for shape in workload_kinds([]).values()} == ENFORCED_KINDS
