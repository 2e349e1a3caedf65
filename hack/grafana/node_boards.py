"""What the dashboards of nodes and the grid show. Every metric is in docs/reference/metrics.md."""

from __future__ import annotations

from grafana.expressions import INSTANCE
from grafana.panels import Board, Panel, Query

NODES = Board(
    "nodes", "Nodes and meters", "What the agents measure, and what they cannot measure.",
    [
        Panel(
            "Nodes that should report", "By the cluster's own list.", "short",
            [Query("max(carbonbudget_ingest_nodes_expected)")], "stat", 6, 4,
        ),
        Panel(
            "Agents", "Agents that Prometheus scrapes.", "short", [Query("count(carbonbudget_agent_windows_total)")],
            "stat", 6, 4,
        ),
        Panel(
            "Reports that wait", "Reports on the nodes that the server does not have yet.", "short",
            [Query("sum(carbonbudget_agent_outbox_reports)")], "stat", 6, 4,
        ),
        Panel(
            "Pods on nodes without an agent", "No figure has their energy.", "short",
            [Query("sum(max by (namespace) (carbonbudget_ingest_pods_without_agent)) or vector(0)")], "stat", 6, 4,
        ),
        Panel(
            "Power of nodes by part", "Measured or modelled power by who is charged with it.", "watt",
            [
                Query(
                    "sum by (part) (rate(carbonbudget_node_energy_joules_total"
                    '{instance=~"$instance"}[$__rate_interval]))',
                    "{{part}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Power of nodes by meter", "Power by domain and by the meter that measures it.", "watt",
            [
                Query(
                    "sum by (domain, method) (rate(carbonbudget_node_energy_joules_total"
                    '{instance=~"$instance"}[$__rate_interval]))',
                    "{{domain}} {{method}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Pods that use most", "Power of the ten pods that use most.", "watt",
            [
                Query(
                    "topk(10, sum by (namespace, pod) (rate(carbonbudget_pod_energy_joules_total"
                    '{instance=~"$instance"}[$__rate_interval])))',
                    "{{namespace}}/{{pod}}",
                )
            ],
            width=24,
        ),
        Panel(
            "Readings without a figure", "Readings of meters a second that failed or could not be true.", "short",
            [
                Query(
                    'sum(rate(carbonbudget_agent_meter_errors_total{instance=~"$instance"}[$__rate_interval]))',
                    "failed",
                ),
                Query(
                    'sum(rate(carbonbudget_agent_meter_implausible_total{instance=~"$instance"}[$__rate_interval]))',
                    "not plausible",
                ),
            ],
        ),
        Panel(
            "Duration of a sample", "How long an agent takes to read all meters and cgroups.", "s",
            [Query('max(carbonbudget_agent_sample_duration_seconds{instance=~"$instance"})', "slowest agent")],
        ),
    ],
    [INSTANCE],
    "now-6h",
)  # fmt: skip

GRID = Board(
    "grid", "Grid", "What the energy is valued by, and how old the figures are.",
    [
        Panel(
            "Grid intensity", "gCO2e per kWh by zone, as the last hour was valued, before the PUE.", "massg",
            [
                Query(
                    "max by (zone, basis) (carbonbudget_grid_intensity_grams_per_kilowatt_hour)", "{{zone}} {{basis}}"
                )
            ],
            width=24, height=10,
        ),
        Panel(
            "PUE", "Power usage effectiveness by zone.", "short",
            [Query("max by (zone) (carbonbudget_power_usage_effectiveness_ratio)", "{{zone}}")],
        ),
        Panel(
            "Age of the last hour", "Seconds since the end of the hour that the figures are of.", "s",
            [Query("time() - max(carbonbudget_emissions_hour_timestamp_seconds) - 3600")],
        ),
        Panel(
            "Questions to sources of intensities", "Questions a second by source and outcome.", "short",
            [
                Query(
                    "sum by (source, outcome) (rate(carbonbudget_intensity_polls_total[$__rate_interval]))",
                    "{{source}} {{outcome}}",
                ),
                Query(
                    "sum by (source, outcome) (rate(carbonbudget_intensity_forecast_polls_total[$__rate_interval]))",
                    "forecast of {{source}} {{outcome}}",
                ),
            ],
            width=24,
        ),
    ],
)  # fmt: skip
