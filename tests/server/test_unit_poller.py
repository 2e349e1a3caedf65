"""Units of a real Prometheus: what its raw samples say, hour by hour, and nothing where it says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import sqlalchemy as sa
from tests.prometheus import Prometheus
from tests.server.stored_metrics import full_hour_ago, prometheus_with, scraped
from tests.server.unit_polling import HOUR, TOKENS, Polling

from carbonbudget_operator.ledger.unit_store import WantedCounter
from carbonbudget_operator.server.unit_queries import QueryFailed
from carbonbudget_operator.units.counter_expression import CounterExpression

MICRO = 1_000_000
HOSTILE = 'a"} or {x="\\\n\t}[1h]#'
FIRST = full_hour_ago(10)
REQUESTS = CounterExpression("vllm:request_success_total", (("model_name", HOSTILE),))


def chat_samples() -> list[tuple[int, str]]:
    """Four hours of a pod: a reset in the second one, a gap in the third, the edge of an hour hit."""
    samples, value = [], 1000
    for at in range(FIRST, FIRST + 4 * HOUR + 1, 30):
        if FIRST + 2 * HOUR + 600 < at < FIRST + 2 * HOUR + 2400:
            value += 7  # nobody scrapes, and it counts on
            continue
        value = 3 if at == FIRST + HOUR + 900 else value + 11
        samples.append((at, f"{value}"))
    return samples


def by_hand(samples: list[tuple[int, str]]) -> dict[int, int]:
    """Units by hour, straight from the samples."""
    found: dict[int, int] = {}
    for (_, before), (at, value) in pairwise(samples):
        hour = (at - 1) // HOUR * HOUR
        grown = int(value) - int(before)
        found[hour] = found.get(hour, 0) + (grown if grown >= 0 else int(value))
    return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Ten hours that were scraped, four of them with units of two namespaces."""
    quoted = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    other = [(at, str(at - FIRST)) for at in range(FIRST, FIRST + 4 * HOUR, 60)]
    history = {
        "vllm:generation_tokens_total": {
            '{namespace="team-a",pod="chat-0"}': chat_samples(),
            '{namespace="team-a",pod="chat-1"}': [(at, f"{(at - FIRST) / 4}") for at in range(FIRST, FIRST + HOUR, 15)],
            '{namespace="team-b",pod="chat-0"}': other,
        },
        "vllm:request_success_total": {
            f'{{namespace="team-a",pod="chat-0",model_name="{quoted}"}}': [(FIRST + 60, "1"), (FIRST + 120, "5")],
            '{namespace="team-a",pod="chat-0",model_name="x"}': [(FIRST + 60, "1"), (FIRST + 120, "1000")],
        },
        "up": scraped(FIRST - HOUR, FIRST + 8 * HOUR),
    }
    started = prometheus_with(tmp_path_factory.mktemp("prometheus"), history)
    yield started
    started.stop()


def url_of(prometheus: Prometheus) -> str:
    return f"http://127.0.0.1:{prometheus.port}"


async def test_hours_are_what_the_raw_samples_say_to_the_digit(engine: sa.Engine, prometheus: Prometheus) -> None:
    polling, now = Polling(engine, url_of(prometheus)), FIRST + 6 * HOUR + 300
    polling.want(FIRST, now, "team-a", "team-b")
    assert await polling.poller.step(now) == 12
    await polling.poller.close()
    found = polling.hours("team-a", FIRST, FIRST + 6 * HOUR)
    chat = {hour: units["team-a", "chat-0"] for hour, units in found.units.items()}
    assert chat == {hour: units * MICRO for hour, units in by_hand(chat_samples()).items()}
    assert found.units[FIRST]["team-a", "chat-1"] == (HOUR - 15) * MICRO // 4
    assert found.states == {
        **{FIRST + n * HOUR: "counted" for n in range(5)}, FIRST + 5 * HOUR: "absent",
    }  # fmt: skip
    assert (found.gaps, found.reason) == (frozenset(), "")
    assert {pod for units in found.units.values() for pod in units} == {("team-a", "chat-0"), ("team-a", "chat-1")}
    assert polling.waiting() == [0, 0, 0]


async def test_one_query_is_sent_for_each_counter_and_hour(engine: sa.Engine, prometheus: Prometheus) -> None:
    polling, now = Polling(engine, url_of(prometheus)), FIRST + 4 * HOUR + 300
    polling.want(FIRST, now, "team-a", "team-b")
    await polling.poller.step(now)
    assert polling.metric("unit_queries_total") == 8
    assert await polling.poller.step(now + 60) == 0
    assert polling.metric("unit_queries_total") == 8
    assert await polling.poller.step(now + HOUR) == 2
    await polling.poller.close()


async def test_a_hostile_value_is_a_value_and_reads_its_own_series_alone(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    polling, now = Polling(engine, url_of(prometheus)), FIRST + HOUR + 300
    polling.want(FIRST, now, "team-a", 'team-b"} or {', expression=REQUESTS)
    assert await polling.poller.step(now) == 2
    await polling.poller.close()
    assert polling.hours("team-a", FIRST, FIRST + HOUR, REQUESTS).units == {FIRST: {("team-a", "chat-0"): 4 * MICRO}}
    other = polling.hours('team-b"} or {', FIRST, FIRST + HOUR, REQUESTS)
    assert (other.units, other.states) == ({}, {FIRST: "absent"})


async def test_a_query_of_the_cluster_kind_counts_its_value_at_the_end_of_the_hour(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    rate = 'rate(vllm:generation_tokens_total{namespace="team-b"}[10m])'
    query = CounterExpression(query=f"sum by (namespace, pod) ({rate})")
    polling, now = Polling(engine, url_of(prometheus)), FIRST + 2 * HOUR + 300
    polling.want(FIRST, now, "", expression=query)
    assert await polling.poller.step(now) == 2
    await polling.poller.close()
    units = polling.hours("", FIRST, FIRST + 2 * HOUR, query).units
    assert units == {FIRST + n * HOUR: {("team-b", "chat-0"): MICRO} for n in range(2)}


async def test_a_counter_that_does_not_exist_is_known_to_be_zero_only_while_the_store_was_scraping(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    """`up` ends eight hours after FIRST: after that the store was away, or has forgotten."""
    nothing = CounterExpression("no_such_metric_total")
    polling, now = Polling(engine, url_of(prometheus)), FIRST + 10 * HOUR + 300
    polling.want(FIRST + 6 * HOUR, now, "team-a", expression=nothing)
    assert await polling.poller.step(now) == 2
    await polling.poller.close()
    found = polling.hours("team-a", FIRST + 6 * HOUR, FIRST + 10 * HOUR, nothing)
    hours = [FIRST + n * HOUR for n in range(6, 10)]
    assert found.states == dict(zip(hours, ["absent", "absent", "failed", "failed"], strict=True))
    assert "has forgotten the hour" in found.reason
    assert polling.waiting() == [0, 2, 0]


async def test_prometheus_away_is_asked_again_and_after_a_month_the_hours_are_missing_and_never_zero(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    away = Polling(engine, "http://127.0.0.1:9")
    now = FIRST + 4 * HOUR + 300
    away.want(FIRST, now, "team-a")
    with pytest.raises(Exception, match="nothing counts as zero"):
        await away.poller.step(now)
    states = away.hours("team-a", FIRST, FIRST + 4 * HOUR).states
    assert set(states.values()) == {"failed"}
    assert away.metric("unit_query_failures_total") == 4
    await away.poller.close()
    month = away.hours("team-a", FIRST - 20 * 24 * HOUR, FIRST)
    assert (month.states, month.units) == ({}, {})

    back = Polling(engine, url_of(prometheus))
    back.store.acquire(now + 130, back.poller._holder)  # the lease of the first poller is over
    assert await back.poller.step(now + 3 * HOUR) == 7
    assert set(back.hours("team-a", FIRST, FIRST + 4 * HOUR).states.values()) == {"counted"}
    await back.poller.close()

    later = Polling(engine, "http://127.0.0.1:9")
    later.want(FIRST - 2 * HOUR, now + 31 * 24 * HOUR, "team-a")
    with pytest.raises(Exception, match="asked for again"):
        await later.poller.step(now + 31 * 24 * HOUR)
    await later.poller.close()
    found = later.hours("team-a", FIRST - 2 * HOUR, FIRST + HOUR)
    assert found.states == {FIRST - 2 * HOUR: "missing", FIRST - HOUR: "missing", FIRST: "counted"}
    assert "give_up_days" in found.reason
    assert set(found.units) == {FIRST}
    assert later.waiting()[2] > 0


async def test_that_prometheus_is_away_is_raised_once_and_counted_each_time(engine: sa.Engine) -> None:
    polling, now = Polling(engine, "http://127.0.0.1:9"), FIRST + HOUR + 300
    polling.want(FIRST, now, "team-a")
    raised = []
    for at in range(now, now + HOUR, 30):
        try:
            await polling.poller.step(at)
        except QueryFailed as error:
            raised.append(str(error))
    await polling.poller.close()
    assert [said.partition(": ")[0] for said in raised] == ["Prometheus does not answer"]
    assert polling.metric("unit_query_failures_total") > 2


async def test_hours_that_prometheus_has_forgotten_are_missing_and_the_later_ones_are_counted(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    polling, now = Polling(engine, url_of(prometheus)), FIRST + 3 * HOUR + 300
    first = FIRST - 50 * HOUR
    polling.want(first, now, "team-a")
    assert await polling.poller.step(now) == 4  # with the hour before FIRST
    assert await polling.poller.step(now + 30) == 0  # the rest: a round has at most 48 hours of a counter
    await polling.poller.close()
    states = polling.hours("team-a", first, FIRST + 3 * HOUR).states
    assert states[first] == "missing"
    assert states[FIRST - 2 * HOUR] == "failed"
    assert (states[FIRST - HOUR], states[FIRST]) == ("counted", "counted")  # a sample at FIRST is of the hour before
    waiting, failed, missing = polling.waiting()
    assert missing == sum(state == "missing" for state in states.values()) > 0
    assert (failed, waiting + failed + missing) == (sum(state == "failed" for state in states.values()), 49)


async def test_of_two_servers_one_asks_and_the_other_takes_over_when_it_is_gone(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    one, two = (Polling(engine, url_of(prometheus)) for _ in range(2))
    now = FIRST + 2 * HOUR + 300
    one.want(FIRST, now, "team-a")
    assert await one.poller.step(now) == 2
    assert await two.poller.step(now + HOUR) == 1  # the lease is over
    assert await one.poller.step(now + HOUR + 30) == 0
    assert one.waiting() == [0, 0, 0]
    assert await one.poller.step(now + 2 * HOUR) == 1
    for polling in (one, two):
        await polling.poller.close()
    assert len(one.hours("team-a", FIRST, FIRST + 4 * HOUR).states) == 4


async def test_without_a_url_nothing_is_opened(engine: sa.Engine) -> None:
    polling = Polling(engine, "")
    assert await polling.poller.step(FIRST) == 0
    await polling.poller.close()


async def test_a_counter_of_which_no_query_can_be_made_fails_with_the_reason(
    engine: sa.Engine, prometheus: Prometheus
) -> None:
    """As after a change of units.pod_label; the other counters go on."""
    polling, now = Polling(engine, url_of(prometheus), pod_label="k8s_pod"), FIRST + HOUR + 300
    forged = CounterExpression("vllm:generation_tokens_total", (("k8s_pod", "chat-0"),))
    polling.want(FIRST, now, "team-a", expression=forged)
    polling.store.register([WantedCounter("team-a", TOKENS, FIRST)], now)
    with pytest.raises(Exception, match="asked for again"):
        await polling.poller.step(now)
    await polling.poller.close()
    assert "cannot have k8s_pod" in polling.hours("team-a", FIRST, FIRST + HOUR, forged).reason
    assert "no series has the label k8s_pod" in polling.hours("team-a", FIRST, FIRST + HOUR).reason
