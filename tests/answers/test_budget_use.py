"""What budgets are told: the parts, workloads, settled part and hours add up to what was used, whatever is asked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.budgets.oracle import selected
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.hourly_use import hourly_use
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, BudgetWishes
from carbonbudget_operator.api.selector import LabelSelector, LabelSelectorRequirement
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.node_coverage import store_listed
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, LOCATION_UG
from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_761_868_800  # 2025-10-31: the last day of a month
HOUR = 3600
END = DAY + 60 * HOUR
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
NAMESPACES = ("team-a", "team-b", "kube-system")


def fill(engine: sa.Engine) -> None:
    """Sixty hours of two nodes and three namespaces, some hours without a report."""
    book(
        Booker(engine),
        *(
            a_report(
                DAY + hour * HOUR + 60 * minute, node, {f"{namespace}-p{hour % 3}": 10**9 + hour * 7_001},
                labels={"team": f"t{hour % 4}"} if hour % 5 else {"team": f"t{hour % 4}", "rare": "yes"},
                namespace=namespace,
            )
            for hour in range(0, 60, 4)
            for minute, namespace in zip((0, 17, 31), NAMESPACES, strict=True)
            for node in ("n1", "n2")
        ),
    )  # fmt: skip


def keep(engine: sa.Engine, settings: Settings, now: int) -> None:
    deriver = UpkeepSteps(ValuedReader(engine, settings), 35, 25)
    while deriver.step(now) is not None:
        pass


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], BudgetUseQueries]]:
    """Queries over facts alone, and over units that are kept but for the last hours."""
    made: dict[bool, BudgetUseQueries] = {}
    engines = []
    for kept in (False, True):
        engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('query')}/ledger.db")
        make_tables(engine)
        fill(engine)
        if kept:
            keep(engine, SETTINGS, DAY + 54 * HOUR)
        made[kept], _ = BudgetUseQueries(ValuedReader(engine, SETTINGS)), engines.append(engine)
    yield lambda kept: made[kept]
    for engine in engines:
        engine.dispose()


SELECTORS = st.sampled_from([
    None,
    LabelSelector(),
    LabelSelector(match_labels={"team": "t0"}),
    LabelSelector(match_labels={"team": "t0", "rare": "yes"}),
    LabelSelector(match_labels={"none": "x"}),
    LabelSelector(match_expressions=[LabelSelectorRequirement(key="rare", operator="DoesNotExist")]),
])  # fmt: skip
INSTANTS = st.integers(DAY - 2 * HOUR, END + 2 * HOUR)
INCLUDES = st.lists(st.sampled_from(["Dynamic", "Idle", "Overhead", "Embodied"]), max_size=4)


@st.composite
def budget_queries(draw: st.DrawFn) -> BudgetQuery:
    start = draw(INSTANTS)
    return BudgetQuery(
        id="x",
        namespaces=draw(st.one_of(st.just(["*"]), st.lists(st.sampled_from(NAMESPACES), min_size=1, max_size=3))),
        selector=draw(SELECTORS),
        start=start,
        end=start + draw(st.integers(1, 70 * HOUR)),
        accounting=draw(st.sampled_from(["LocationBased", "MarketBased"])),
        include=draw(INCLUDES),
        wishes=BudgetWishes(
            settled_through=draw(st.one_of(st.just(0), st.integers(-3, 65).map(lambda n: DAY + n * HOUR))),
            own_figures_through=draw(st.one_of(st.just(0), st.integers(-3, 65).map(lambda n: DAY + n * HOUR))),
        ),
        workloads=1000,
    )


@settings(max_examples=150, deadline=None)
@given(budget_queries(), st.booleans())
def test_parts_workloads_and_settled_add_up_to_what_was_used(
    asked: Callable[[bool], BudgetUseQueries], query: BudgetQuery, kept: bool
) -> None:
    (answer,) = asked(kept).budgets([query])
    parts = answer.parts
    assert parts.dynamic_ug + parts.idle_ug + parts.overhead_ug + parts.embodied_ug == answer.used_ug
    assert sum(use.used_ug for use in answer.workloads) == answer.used_ug
    assert sum(use.energy_uj for use in answer.workloads) == answer.energy_uj
    assert answer.workloads == sorted(answer.workloads, key=lambda u: (-u.used_ug, u.namespace, u.workload))
    wishes = query.wishes
    border, own_border = (
        min(max(through, query.start), query.end) for through in (wishes.settled_through, wishes.own_figures_through)
    )

    def part(start: int, end: int) -> BudgetAnswer | None:
        only = query.model_copy(update={"start": start, "end": end, "wishes": BudgetWishes()})
        return asked(kept).budgets([only])[0] if start < end else None

    before, after, own = part(query.start, border), part(border, query.end), part(query.start, own_border)
    assert (answer.own_figures_ug is None) == (not wishes.own_figures_through)
    assert (answer.settled_ug is None) == (answer.settled_energy_uj is None) == (not wishes.settled_through)
    assert answer.own_figures_ug in (None, own.used_ug if own else 0)
    if answer.settled_ug is not None:
        assert answer.settled_ug == (before.used_ug if before else 0)
        assert answer.settled_energy_uj == (before.energy_uj if before else 0)
        assert answer.used_ug - answer.settled_ug == (after.used_ug if after else 0)


@settings(max_examples=80, deadline=None)
@given(budget_queries())
def test_what_is_kept_and_what_is_asked_beside_it_changes_no_answer(
    asked: Callable[[bool], BudgetUseQueries], query: BudgetQuery
) -> None:
    other = query.model_copy(update={"id": "y", "start": query.start - 7, "selector": None})
    alone = asked(False).budgets([query])
    assert asked(True).budgets([other, query, other])[1:2] == alone
    assert asked(True).budgets([query]) == alone


@settings(max_examples=60, deadline=None)
@given(budget_queries())
def test_every_namespace_is_the_sum_of_all_but_the_rows_of_no_pod(
    asked: Callable[[bool], BudgetUseQueries], query: BudgetQuery
) -> None:
    every, *each = asked(True).budgets([
        query.model_copy(update={"namespaces": names}) for names in (["*"], *([name] for name in NAMESPACES))
    ])  # fmt: skip
    assert every.used_ug == sum(answer.used_ug for answer in each)
    assert every.energy_uj == sum(answer.energy_uj for answer in each)


@settings(max_examples=80, deadline=None)
@given(budget_queries(), st.booleans())
def test_hours_add_up_to_the_same_spans_use(
    asked: Callable[[bool], BudgetUseQueries], query: BudgetQuery, kept: bool
) -> None:
    (hours,) = hourly_use(asked(kept).book, [query])
    first, last = -(-query.start // HOUR) * HOUR, query.end // HOUR * HOUR
    assert hours.first_hour == first
    assert len(hours.used_ug) == max(0, last - first) // HOUR
    if first < last:
        (answer,) = asked(kept).budgets([query.model_copy(update={"start": first, "end": last})])
        assert sum(used or 0 for used in hours.used_ug) == answer.used_ug
        some = first + len(hours.used_ug) // 2 * HOUR
        (answer,) = asked(kept).budgets([query.model_copy(update={"start": some, "end": some + HOUR})])
        assert (hours.used_ug[len(hours.used_ug) // 2] or 0) == answer.used_ug if some < last else True


REQUIREMENTS = st.builds(
    lambda key, operator, values: {"key": key, "operator": operator} | ({"values": values} if "In" in operator else {}),
    st.sampled_from(["team", "rare", "none"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(st.sampled_from(["t0", "t1", "t3", "yes", "", "x"]), min_size=1, max_size=3),
)
MANIFESTS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(st.sampled_from(["team", "rare"]), st.sampled_from(["t0", "t2", "yes"])),
        "matchExpressions": st.lists(REQUIREMENTS, max_size=3),
    },
)


@settings(max_examples=120, deadline=None)
@given(
    MANIFESTS, st.lists(st.sampled_from([*NAMESPACES, "nobody", "__idle__"]), min_size=1, unique=True), st.booleans()
)
def test_an_answer_and_its_hours_are_the_rows_that_the_selector_selects_as_kubernetes_does(
    asked: Callable[[bool], BudgetUseQueries], manifest: dict[str, object] | None, names: list[str], kept: bool
) -> None:
    """The rule of coverage, whatever the ledger's statements and indexes leave out on the way to it."""
    selector = None if manifest is None else LabelSelector.model_validate(manifest)
    rows = [row for row in asked(False).book.rows(DAY, END) if selected(manifest, row.labels)]
    for namespaces in (names, [EVERY_NAMESPACE]):
        query = BudgetQuery(
            id="x", namespaces=namespaces, selector=selector, start=DAY, end=END,
            include=["Dynamic", "Idle", "Overhead", "Embodied"],
        )  # fmt: skip
        mine = [row for row in rows if (row.namespace in names if namespaces is names else not row.special)]
        expected = sum(sum(row.figures[LOCATION_UG]) + row.figures[EMBODIED_UG] for row in mine)
        assert asked(kept).budgets([query])[0].used_ug == expected
        assert sum(used or 0 for used in hourly_use(asked(kept).book, [query])[0].used_ug) == expected


def test_the_whole_cluster_is_every_row_that_is_not_special(asked: Callable[[bool], BudgetUseQueries]) -> None:
    query = BudgetQuery(
        id="x", namespaces=["*"], start=DAY, end=END, include=["Dynamic", "Idle", "Overhead", "Embodied"]
    )
    rows = [row for row in asked(False).book.rows(DAY, END) if not row.special]
    (answer,) = asked(True).budgets([query])
    assert answer.used_ug == sum(sum(row.figures[LOCATION_UG]) + row.figures[EMBODIED_UG] for row in rows) > 0


def test_only_as_many_workloads_as_were_asked_for_the_most_used_first(
    asked: Callable[[bool], BudgetUseQueries],
) -> None:
    query = BudgetQuery(id="x", namespaces=["*"], start=DAY, end=END, workloads=2)
    (some,), (all_,) = (asked(True).budgets([query.model_copy(update={"workloads": n})]) for n in (2, 1000))
    assert some.workloads == all_.workloads[:2]
    assert len(all_.workloads) == 9
    assert asked(True).budgets([query.model_copy(update={"workloads": 0})])[0].workloads == []


@pytest.mark.parametrize(
    ("start", "end", "data_from"),
    [
        (DAY - HOUR, END, DAY),  # reported first inside the span
        (DAY + 30, END, DAY + 30),  # before its start
        (DAY + HOUR, END, DAY + 4 * HOUR),  # nothing until the next report
        (DAY - 9 * HOUR, DAY, 0),  # nothing at all
    ],
)
def test_data_from_is_the_first_report_in_the_span(
    asked: Callable[[bool], BudgetUseQueries], start: int, end: int, data_from: int
) -> None:
    (answer,) = asked(True).budgets([BudgetQuery(id="x", namespaces=["*"], start=start, end=end)])
    assert answer.data_from == data_from


def test_memory_goes_by_the_rows_of_a_span_not_by_how_many_spans_are_asked_for(engine: sa.Engine) -> None:
    pods = {f"p{n}": 10**6 for n in range(200)}
    book(Booker(engine), *(a_report(DAY + hour * HOUR, "n1", pods) for hour in range(2)))

    def peak_bytes(spans: int) -> int:
        queries = BudgetUseQueries(ValuedReader(engine, SETTINGS), max_rows=2000)
        asked = [
            BudgetQuery(id="x", namespaces=["team-a"], start=DAY + 1 + n, end=DAY + 2 * HOUR) for n in range(spans)
        ]
        tracemalloc.start()
        try:
            queries.budgets(asked)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak_bytes(100) < 2 * peak_bytes(15)


def test_a_report_that_comes_late_is_in_the_next_answer(engine: sa.Engine) -> None:
    fill(engine)
    keep(engine, SETTINGS, END)
    queries = BudgetUseQueries(ValuedReader(engine, SETTINGS))
    query = BudgetQuery(
        id="x", namespaces=["team-a"], start=DAY, end=END, wishes=BudgetWishes(settled_through=DAY + 8 * HOUR)
    )
    (before,) = queries.budgets([query])
    book(Booker(engine), a_report(DAY + 600, "n1", {"late": 10**12}))
    (after,) = queries.budgets([query])
    assert (after.settled_energy_uj or 0) - (before.settled_energy_uj or 0) >= 10**12
    assert after.used_ug - (after.settled_ug or 0) == before.used_ug - (before.settled_ug or 0)


@pytest.mark.parametrize("kept", [False, True])
def test_an_hour_without_a_report_of_the_cluster_is_not_known_and_one_without_use_is_0(
    asked: Callable[[bool], BudgetUseQueries], kept: bool
) -> None:
    mine, other = (
        BudgetQuery(id="x", namespaces=[name], start=DAY - 2 * HOUR, end=DAY + 9 * HOUR) for name in ("team-a", "none")
    )
    found, nothing = (answer.used_ug for answer in hourly_use(asked(kept).book, [mine, other]))
    assert [number for number, used in enumerate(found) if used is not None] == [2, 6, 10]
    assert all(used for used in found if used is not None)
    assert nothing == [0 if used is not None else None for used in found]


def test_silent_nodes_with_pods_of_the_namespaces_are_counted_of_a_span_that_is_over(engine: sa.Engine) -> None:
    fill(engine)
    for at in (DAY - 600, END + 600):
        store_listed(engine, "default", {"n1": "u1", "n2": "u2", "mute": "u3", "silent": "u4"}, at)
    book(Booker(engine), a_report(DAY + 600, "silent", {"p": 7}, namespace="team-a"))
    queries = BudgetUseQueries(ValuedReader(engine, SETTINGS))
    over = BudgetQuery(id="over", namespaces=["team-a"], start=DAY, end=DAY + 8 * HOUR)
    present = over.model_copy(update={"end": END})
    others = over.model_copy(update={"namespaces": ["team-b"]})
    both = over.model_copy(update={"namespaces": ["team-b", "team-a"]})
    found = queries.budgets([over, present, others, both])
    assert [answer.nodes_behind for answer in found] == [1, 0, 0, 1]


def test_a_namespace_that_others_bear_is_in_their_workloads(engine: sa.Engine) -> None:
    fill(engine)
    shared = SETTINGS.model_copy(
        update={"allocation": Timeline.always(AllocationSettings(shared={"kube-system": "proportional"}))}
    )
    (answer,) = BudgetUseQueries(ValuedReader(engine, shared)).budgets(
        [BudgetQuery(id="x", namespaces=["*"], start=DAY, end=END, workloads=100)]
    )
    assert {use.namespace for use in answer.workloads} == {"team-a", "team-b"}
    (apart,) = BudgetUseQueries(ValuedReader(engine, SETTINGS)).budgets(
        [BudgetQuery(id="x", namespaces=["*"], start=DAY, end=END)]
    )
    assert answer.energy_uj == apart.energy_uj
