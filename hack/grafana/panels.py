"""Makes Grafana's classic dashboards from short descriptions, with grafana-foundation-sdk.

Classic JSON works in each Grafana since 10; the data source is a variable, so that a sidecar can install a dashboard
that asks nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it advises dashboards v2, which only Grafana 13 loads
    from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["timeseries", "stat", "table", "bargauge"]
TAG = "carbonbudget"
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24


@dataclass(frozen=True)
class Query:
    """One expression, and what its series are called: `{{label}}` stands for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel; `width` is of 24 columns. `unit` is Grafana's name of it, for example massg for grams."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    stacked: bool = False


@dataclass(frozen=True)
class Variable:
    """A choice above the panels, from the values of a metric's label."""

    name: str
    label: str
    query: str
    many: bool = True


@dataclass(frozen=True)
class Board:
    """A dashboard. `name` is the end of its uid and the name of its file."""

    name: str
    title: str
    description: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = field(default=())
    since: str = "now-7d"


def to_json(board: Board) -> str:
    """The dashboard as Grafana loads it."""
    made = (
        dashboard.Dashboard(f"Carbon budget / {board.title}")
        .uid(f"carbonbudget-{board.name}")
        .description(board.description)
        .tags([TAG])
        .refresh("1m")
        .time(board.since, "now")
        .timezone("browser")
        .readonly()
        .link(
            dashboard.DashboardLink("Carbon budget dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        made.with_variable(
            dashboard.QueryVariable(variable.name)
            .label(variable.label)
            .query(variable.query)
            .datasource(_SOURCE)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(variable.many)
            .include_all(variable.many)
        )
    for number, panel in enumerate(board.panels, start=1):
        made.with_panel(_panel(panel).id(number))
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(made.build())), indent=1, sort_keys=True) + "\n"


def _panel(panel: Panel) -> Any:
    made: Any = {
        "timeseries": timeseries.Panel, "stat": stat.Panel, "table": table.Panel, "bargauge": bargauge.Panel
    }[panel.kind]()  # fmt: skip
    made.title(panel.title).description(panel.description).datasource(_SOURCE)
    made.unit(panel.unit).span(min(panel.width, _WIDTH)).height(panel.height)
    if panel.kind == "timeseries":
        made.legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        made.fill_opacity(60 if panel.stacked else 5).line_width(1)
        if panel.stacked:
            made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id("ABCDEFGH"[number]).datasource(_SOURCE)
        if query.legend:
            target.legend_format(query.legend)
        if panel.kind != "timeseries":
            target.instant()
        if panel.kind == "table":
            target.format(PromQueryFormat.TABLE)
        made.with_target(target)
    return made
