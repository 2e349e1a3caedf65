"""What the dashboards of labels, models and the cluster show. Every metric is in docs/reference/metrics.md."""

from __future__ import annotations

from grafana.expressions import (
    ACCOUNTING,
    CHOSEN,
    EMITTERS,
    LABEL,
    OF_EMITTER,
    OF_LABEL,
    in_range,
    label_rate,
    model_rate,
    power_of,
    rate_of,
    version_rate,
)
from grafana.panels import Board, Panel, Query

TEAMS = Board(
    "teams", "Project, team and model", "Emissions and power of pods by a label that the settings name.",
    [
        Panel(
            "Emissions by label",
            "CO2e an hour of the pods with each value of the label. Pods without it are __unlabelled__.", "massg",
            [
                Query(
                    f"sum by (value) ({label_rate(OF_LABEL)})",
                    "{{value}}",
                )
            ],
            width=24, height=10, stacked=True,
        ),
        Panel(
            "Emissions in the time shown",
            "CO2e of each value in the time that this dashboard shows, so far as it is known.", "massg",
            [
                Query(
                    in_range(label_rate(OF_LABEL), "by (value) "),
                    "{{value}}",
                )
            ],
            "bargauge", 12, 10,
        ),
        Panel(
            "Power by label", "Mean power of the machines in the last hour (IT energy, without cooling).", "watt",
            [Query('max by (value) (carbonbudget_label_energy_rate_watts{label="$label"})', "{{value}}")],
            height=10, stacked=True,
        ),
        Panel(
            "Emissions without the label", "Share of the pods' emissions whose pods do not have the label.",
            "percentunit",
            [
                Query(
                    f"""(sum({label_rate(OF_LABEL + ',value="__unlabelled__"')}) or vector(0)) / """
                    f"sum({label_rate(OF_LABEL)})",
                )
            ],
            "stat", 12, 4,
        ),
        Panel(
            "Energy without required labels",
            "Share of the pods' energy in the last hour of pods without a label that the settings require.",
            "percentunit",
            [Query("max by (label) (carbonbudget_unlabelled_energy_ratio)", "{{label}}")],
        ),
        Panel(
            "Embodied emissions by label",
            "CO2e an hour of the manufacturing of what the pods reserve; in no other figure.", "massg",
            [
                Query(
                    f"""sum by (value) ({label_rate('label="$label",accounting="Embodied"')})""",
                    "{{value}}",
                )
            ],
        ),
        Panel(
            "Emissions by model", "CO2e an hour of pods with the label carbonbudget.dev/model, by namespace and model.",
            "massg",
            [Query(f"sum by (namespace, model) ({model_rate(ACCOUNTING)})", "{{namespace}}/{{model}}")],
            height=10, stacked=True,
        ),
        Panel(
            "Emissions by model version",
            "CO2e an hour of the same pods by the label carbonbudget.dev/model-version; __unlabelled__ without it.",
            "massg",
            [
                Query(
                    f"sum by (namespace, model, version) ({version_rate(ACCOUNTING)})",
                    "{{namespace}}/{{model}} {{version}}",
                )
            ],
            height=10, stacked=True,
        ),
        Panel(
            "Emissions of model versions in the time shown",
            "CO2e of each model version in the time that this dashboard shows, so far as it is known.", "massg",
            [
                Query(
                    in_range(version_rate(ACCOUNTING), "by (namespace, model, version) "),
                    "{{namespace}}/{{model}} {{version}}",
                )
            ],
            "bargauge", 24, 10,
        ),
    ],
    [LABEL, CHOSEN],
)  # fmt: skip

CLUSTER = Board(
    "cluster", "Cluster and allocation", "The cluster's energy and emissions, and who is charged with them.",
    [
        Panel(
            "Emissions in the time shown",
            "CO2e of the cluster in the time that this dashboard shows, so far as it is known.", "massg",
            [Query(in_range(rate_of(ACCOUNTING)))], "stat", 6, 4,
        ),
        Panel(
            "Power", "Mean power of the machines in the last hour (IT energy, without cooling).", "watt",
            [Query(f"sum({power_of()})")],
            "stat", 6, 4,
        ),
        Panel(
            "Measured", "Share of the last hour's energy that a meter measured; the rest is modelled.", "percentunit",
            [Query("max(carbonbudget_measured_ratio)")], "stat", 6, 4,
        ),
        Panel(
            "Coverage", "Share of the last hour's node-time that was reported.", "percentunit",
            [Query("max(carbonbudget_coverage_ratio)")], "stat", 6, 4,
        ),
        Panel(
            "Emissions by namespace", "CO2e an hour, with the idle energy and overhead that each is charged.", "massg",
            [
                Query(
                    f"sum by (namespace) ({rate_of(OF_EMITTER)})",
                    "{{namespace}}",
                )
            ],
            width=24, height=10, stacked=True,
        ),
        Panel(
            "Emissions by component", "What pods used (Dynamic), idle energy and overhead.", "massg",
            [
                Query(
                    f"sum by (component) ({rate_of(OF_EMITTER)})",
                    "{{component}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Location-based, market-based and embodied",
            "The same energy by both ways of accounting, and embodied emissions.", "massg",
            [
                Query(
                    f"""sum by (accounting) ({rate_of('namespace=~"$emitter"')})""",
                    "{{accounting}}",
                )
            ],
        ),
        Panel(
            "Power by namespace",
            "Mean power of the machines in the last hour (IT energy, without cooling), with idle energy and overhead.",
            "watt",
            [Query(f'''sum by (namespace) ({power_of('namespace=~"$emitter"')})''', "{{namespace}}")],
            width=24, stacked=True,
        ),
    ],
    [CHOSEN, EMITTERS],
)  # fmt: skip
