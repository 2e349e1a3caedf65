"""Real receivers of remote write have the ledger's own figures, also of a restated hour."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.conftest import ROOT
from tests.exports.exporting import (
    HOSTILE,
    HOUR,
    Export,
    allocated,
    fill,
    full_hour_ago,
    hour_rows,
    settings_of,
    upkeep,
)
from tests.exports.receivers import PrometheusReceiver, VictoriaMetrics
from tests.prometheus import until

from carbonbudget_operator.answers.allocation_groups import AllocationGroup
from carbonbudget_operator.exports.export_target_http import TargetHttp
from carbonbudget_operator.exports.exported_rows import exported_rows
from carbonbudget_operator.exports.remote_write import RemoteWrite
from carbonbudget_operator.line_protocol_text import tag_value
from carbonbudget_operator.settings import Settings

HOURS = 3
Receivers = PrometheusReceiver | VictoriaMetrics
Sums = dict[tuple[str, str], float]


def latest(cluster: str) -> str:
    """The query of docs/exports.md: figures of each hour's latest revision."""
    page = (ROOT / "docs/exports.md").read_text(encoding="utf-8")
    query = page.split("```promql\n")[1].split("```")[0]
    assert 'cluster="default"' in query
    return query.replace('cluster="default"', f'cluster="{cluster}"')


def target(receiver: Receivers) -> dict[str, object]:
    return {"name": "metrics", "kind": "remoteWrite", "url": f"{receiver.url}/api/v1/write"}


def of_cluster(cluster: str, *targets: dict[str, object], **more: object) -> Settings:
    """Tests share a receiver: each has its own cluster in it."""
    return settings_of(*targets, **more).model_copy(update={"cluster": cluster})  # type: ignore[arg-type]


async def sent(engine: sa.Engine, settings: Settings, now: int) -> Export:
    upkeep(engine, settings, now)
    export = Export(engine, settings)
    assert await export.step(now) is False
    await export.close()
    assert (export.count("rows_refused_total"), export.count("failures_total")) == (0, 0)
    return export


def samples(prometheus: PrometheusReceiver, query: str, at: int) -> Sums:
    return {
        (one["metric"]["namespace"], one["metric"].get("workload") or one["metric"]["namespace"]): float(
            one["value"][1]
        )
        for one in prometheus.ask(query, at)
    }


def expected_grams(own: dict[tuple[str, str], AllocationGroup]) -> Sums:
    return {key: group.location_ug / 1_000_000 for key, group in own.items() if group.location_ug}


async def test_prometheus_has_each_figure_to_its_last_digit(engine: sa.Engine, prometheus: PrometheusReceiver) -> None:
    first = full_hour_ago(HOURS + 2)
    settings = of_cluster("default", target(prometheus))
    fill(engine, first, HOURS)
    await sent(engine, settings, first + HOURS * HOUR + 1000)
    for n in range(HOURS):
        hour = first + n * HOUR
        own = allocated(engine, settings, hour, hour + HOUR)
        by = "sum by (namespace, workload)"
        energy = samples(prometheus, f'{by} (carbonbudget_energy_kwh{{cluster="default"}})', hour + HOUR)
        assert energy == pytest.approx({key: group.energy_uj / 3.6e12 for key, group in own.items()}, rel=1e-15)
        grams = samples(
            prometheus,
            f'{by} (carbonbudget_emissions_grams{{cluster="default", accounting="LocationBased"}})',
            hour + HOUR,
        )
        assert grams == pytest.approx(expected_grams(own), rel=1e-15)
    # One figure alone is the double that is nearest to the ledger's integer.
    match = 'carbonbudget_emissions_grams{cluster="default", accounting="Embodied", namespace="team-a"}'
    embodied = samples(prometheus, match, first + HOUR)
    own = allocated(engine, settings, first, first + HOUR)
    assert len(embodied) == 2
    assert embodied == {key: own[key].embodied_ug / 1_000_000 for key in embodied}


async def test_a_restated_hour_counts_once_by_the_query_of_the_documentation(
    engine: sa.Engine, prometheus: PrometheusReceiver
) -> None:
    """Rows vanish, figures change, and one hour is restated twice."""
    first = full_hour_ago(24)
    cluster = f"restated-{engine.dialect.name}"
    end, now = first + HOURS * HOUR, first + HOURS * HOUR + 1000
    shared: dict[str, object] = {"shared": {"kube-system": "proportional"}}
    versions = [
        of_cluster(cluster, target(prometheus)),
        of_cluster(cluster, target(prometheus), pue=1.9),
        of_cluster(cluster, target(prometheus), pue=1.1, allocation=shared),
    ]
    fill(engine, first, HOURS, cluster=cluster)
    fill(engine, first, HOURS, {"s": 5 * 10**9}, namespace="kube-system", node="node-2", cluster=cluster)
    for n, settings in enumerate(versions):
        if n == 2:
            fill(engine, first + HOUR, 1, {"late": 77}, node="node-3", cluster=cluster)
        await sent(engine, settings, now + 60 * n)
        own: Sums = {}
        for (namespace, _), group in allocated(engine, settings, first, end).items():
            own[namespace, namespace] = own.get((namespace, namespace), 0) + group.location_ug / 1_000_000
        found = {key: grams for key, grams in samples(prometheus, latest(cluster), end).items() if grams}
        assert found == pytest.approx({key: grams for key, grams in own.items() if grams}, rel=1e-12)
    revisions = prometheus.ask(f'max(carbonbudget_hour_revision{{cluster="{cluster}"}})', end)
    assert [one["value"][1] for one in revisions] == ["3"]


async def test_the_same_hour_sent_twice_is_taken_by_prometheus(
    engine: sa.Engine, prometheus: PrometheusReceiver
) -> None:
    first = full_hour_ago(5)
    cluster = f"twice-{engine.dialect.name}"
    settings = of_cluster(cluster, target(prometheus))
    fill(engine, first, 1, cluster=cluster)
    await sent(engine, settings, first + 2 * HOUR)
    engine_rows = sa.text("UPDATE export_hour SET sent = :no")
    with engine.begin() as connection:  # as a server leaves it that ended before it wrote that all was sent
        connection.execute(engine_rows, {"no": False})
    export = await sent(engine, settings, first + 2 * HOUR + 200)
    assert export.count("rows_total") > 0
    (one,) = prometheus.ask(f'max(carbonbudget_hour_revision{{cluster="{cluster}"}})', first + HOUR)
    assert one["value"][1] == "1"


async def test_hostile_names_are_read_back_from_both_as_they_were(
    prometheus: PrometheusReceiver, victoria: VictoriaMetrics
) -> None:
    hour = full_hour_ago(3)
    rows = exported_rows(hour_rows(("team", f"Job/{name}", 10 + n) for n, name in enumerate(HOSTILE)), {})
    made = RemoteWrite('cl,"us\\ter')
    wanted = {f"Job/{name}": (10 + n) / 3.6e12 for n, name in enumerate(HOSTILE)}
    for receiver in (prometheus, victoria):
        http = TargetHttp(settings_of(target(receiver)).exports[0], f"{receiver.url}/api/v1/write", made.headers)
        assert await http.send(made.body(list(made.pieces(hour, rows, 1)))) is None
        await http.close()
    match = 'carbonbudget_energy_kwh{component="Dynamic", cluster="cl,\\"us\\\\ter"}'
    found = {one["metric"]["workload"]: float(one["value"][1]) for one in prometheus.ask(match, hour + HOUR)}
    assert found == wanted

    def there() -> bool:
        stored = {one["metric"]["workload"]: one["values"] for one in victoria.samples(match)}
        return stored == {name: [pytest.approx(value, rel=1e-14)] for name, value in wanted.items()}

    until("VictoriaMetrics to have the samples", there)


async def test_old_samples_that_prometheus_refuses_are_counted_and_the_next_hours_go_on(
    engine: sa.Engine, tmp_path: Path
) -> None:
    class Strict(PrometheusReceiver):
        window = "0s"

    prometheus = Strict(tmp_path)
    try:
        recent, old = full_hour_ago(2), full_hour_ago(200)
        settings = settings_of(target(prometheus))
        fill(engine, recent, 1)
        upkeep(engine, settings, recent + HOUR + 1000)
        export = Export(engine, settings)
        await export.step(recent + HOUR + 1000)
        assert export.count("rows_refused_total") == 0
        fill(engine, old, 1)
        upkeep(engine, settings, recent + HOUR + 1060)
        await export.step(recent + HOUR + 1060)
        assert export.count("rows_refused_total") > 0
        assert (export.count("hours_waiting"), export.count("failures_total")) == (0, 0)
        await export.close()
    finally:
        prometheus.stop()


async def test_victoria_metrics_has_the_sums_by_both_kinds_of_export(
    engine: sa.Engine, victoria: VictoriaMetrics
) -> None:
    first = full_hour_ago(HOURS + 2)
    cluster = f"both-{engine.dialect.name}"
    v2 = {"name": "v2", "kind": "influx", "url": victoria.url, "org": "o", "bucket": "b"}
    fill(engine, first, HOURS, cluster=cluster)
    for made in (v2, target(victoria)):
        await sent(engine, of_cluster(cluster, made), first + HOURS * HOUR + 1000)
    own = allocated(engine, of_cluster(cluster), first, first + HOURS * HOUR)
    wanted_ug = {key: group.location_ug for key, group in own.items() if group.location_ug}

    def sums(match: str) -> Sums:
        found: Sums = {}
        for one in victoria.samples(match):
            metric = one["metric"]
            key = (metric["namespace"], tag_value(metric.get("workload", "")) or metric["namespace"])
            found[key] = found.get(key, 0) + sum(one["values"])
        return found

    where = f'{{cluster="{cluster}", accounting="LocationBased"}}'
    until("micrograms", lambda: sums(f"carbonbudget_emissions_micrograms{where}") == wanted_ug)
    by_write = f'carbonbudget_emissions_grams{{cluster="{cluster}", accounting="LocationBased", revision="1"}}'
    wanted = pytest.approx({key: ug / 1_000_000 for key, ug in wanted_ug.items()}, rel=1e-12)
    until("grams", lambda: sums(by_write) == wanted)
    stamps = {stamp // 1000 for one in victoria.samples(by_write) for stamp in one["timestamps"]}
    assert stamps == {first + (n + 1) * HOUR for n in range(HOURS)}
