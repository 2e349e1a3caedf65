"""What the seven dashboards show. Every metric is in docs/reference/metrics.md.

Emissions and power are gauges of the last whole hour. They are added up over time, each interval times its hours, and
are never the input of `rate`.
"""

from __future__ import annotations

from grafana.panels import Board, Panel, Query, Variable

_BUDGETS = 'namespace=~"$namespace",name=~"$name"'
_ACCOUNTING = 'accounting="$accounting"'
_OF_LABEL = f'label="$label",{_ACCOUNTING}'
_OF_EMITTER = f'namespace=~"$emitter",{_ACCOUNTING}'
_NAMESPACE = Variable("namespace", "Namespace", "label_values(carbonbudget_budget_limit_grams, namespace)")
_NAME = Variable("name", "Budget", 'label_values(carbonbudget_budget_limit_grams{namespace=~"$namespace"}, name)')
_CHOSEN = Variable(
    "accounting", "Accounting",
    'label_values(carbonbudget_emissions_rate_grams_per_hour{accounting!="Embodied"}, accounting)', many=False,
)  # fmt: skip
_EMITTERS = Variable("emitter", "Namespace", "label_values(carbonbudget_emissions_rate_grams_per_hour, namespace)")
_LABEL = Variable("label", "Label", "label_values(carbonbudget_label_emissions_rate_grams_per_hour, label)", many=False)
_INSTANCE = Variable("instance", "Node's agent", "label_values(carbonbudget_agent_windows_total, instance)")


def _rate(matchers: str) -> str:
    """Grams an hour. Each server exports the whole cluster, a restarted one under another name: one of them counts."""
    name = "carbonbudget_emissions_rate_grams_per_hour"
    return f"max by (namespace, accounting, component) ({name}{{{matchers}}})"


def _label_rate(matchers: str) -> str:
    """The same by label."""
    return f"max by (label, value, accounting) (carbonbudget_label_emissions_rate_grams_per_hour{{{matchers}}})"


def _power(matchers: str = "") -> str:
    """Watts, of one server."""
    return f"max by (namespace, component) (carbonbudget_energy_rate_watts{{{matchers}}})"


def _in_range(rate: str, by: str = "") -> str:
    """Grams in the time that the dashboard shows: what each interval has an hour, times its hours."""
    return f"sum {by}(sum_over_time(({rate})[$__range:$__interval])) * $__interval_ms / 3600000"


BUDGETS = Board(
    "budgets", "Budgets", "All budgets: how much each has used, and what it does about it.",
    [
        Panel(
            "Budgets that refuse or suspend work", "Budgets that block new work or suspend Jobs now.", "short",
            [Query("sum(carbonbudget_budget_blocking) or vector(0)")], "stat", 6, 4,
        ),
        Panel(
            "Budgets", "Budgets that the controller evaluates.", "short",
            [Query("count(carbonbudget_budget_limit_grams)")], "stat", 6, 4,
        ),
        Panel(
            "Age of the data", "Seconds since the instant up to which every node had reported.", "s",
            [Query("time() - min(carbonbudget_budget_data_through_timestamp_seconds)")], "stat", 6, 4,
        ),
        Panel(
            "Jobs suspended by budgets", "Jobs that are suspended by budgets now.", "short",
            [Query("sum(carbonbudget_enforcement_suspended_jobs)")], "stat", 6, 4,
        ),
        Panel(
            "Used of the limit", "Emissions in the period as a share of the limit. Above 100 % the budget is exceeded.",
            "percentunit",
            [
                Query(
                    f"carbonbudget_budget_used_grams{{{_BUDGETS}}} / carbonbudget_budget_limit_grams{{{_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
            "bargauge", 12, 10,
        ),
        Panel(
            "Expected at the end of the period",
            "The forecast as a share of the limit. Absent while too little is known.", "percentunit",
            [
                Query(
                    f"carbonbudget_budget_forecast_grams{{{_BUDGETS}}} / carbonbudget_budget_limit_grams{{{_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
            "bargauge", 12, 10,
        ),
        Panel(
            "State", "The state of each budget: one row a budget.", "short",
            [Query(f"carbonbudget_budget_state{{{_BUDGETS}}} == 1")], "table", 24, 10,
        ),
    ],
    [_NAMESPACE, _NAME],
)  # fmt: skip

BUDGET = Board(
    "budget", "One budget", "One budget over time: use, limit, forecast.",
    [
        Panel(
            "Used, limit and forecast", "Emissions in the period, the limit, and what is expected at the period's end.",
            "massg",
            [
                Query(f"carbonbudget_budget_used_grams{{{_BUDGETS}}}", "used {{namespace}}/{{name}}"),
                Query(f"carbonbudget_budget_limit_grams{{{_BUDGETS}}}", "limit {{namespace}}/{{name}}"),
                Query(f"carbonbudget_budget_forecast_grams{{{_BUDGETS}}}", "expected {{namespace}}/{{name}}"),
            ],
            width=24, height=10,
        ),
        Panel(
            "Left", "The limit less the emissions in the period. Below 0 the budget is exceeded.", "massg",
            [
                Query(
                    f"carbonbudget_budget_limit_grams{{{_BUDGETS}}} - carbonbudget_budget_used_grams{{{_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
        ),
        Panel(
            "Blocks", "1 while the budget refuses new work or suspends Jobs.", "short",
            [Query(f"carbonbudget_budget_blocking{{{_BUDGETS}}}", "{{namespace}}/{{name}}")],
        ),
        Panel(
            "Age of the data", "Seconds since the instant up to which every node had reported.", "s",
            [
                Query(
                    f"time() - carbonbudget_budget_data_through_timestamp_seconds{{{_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
        ),
        Panel(
            "Facts lost", "1 while the ledger has less than it had; the last verdict stands meanwhile.", "short",
            [Query(f"carbonbudget_budget_used_fell{{{_BUDGETS}}}", "{{namespace}}/{{name}}")],
        ),
    ],
    [_NAMESPACE, _NAME],
)  # fmt: skip

TEAMS = Board(
    "teams", "Project, team and model", "Emissions and power of pods by a label that the settings name.",
    [
        Panel(
            "Emissions by label",
            "CO2e an hour of the pods with each value of the label. Pods without it are __unlabelled__.", "massg",
            [
                Query(
                    f"sum by (value) ({_label_rate(_OF_LABEL)})",
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
                    _in_range(_label_rate(_OF_LABEL), "by (value) "),
                    "{{value}}",
                )
            ],
            "bargauge", 12, 10,
        ),
        Panel(
            "Power by label", "Mean power of the last hour.", "watt",
            [Query('max by (value) (carbonbudget_label_energy_rate_watts{label="$label"})', "{{value}}")],
            height=10, stacked=True,
        ),
        Panel(
            "Emissions without the label", "Share of the pods' emissions whose pods do not have the label.",
            "percentunit",
            [
                Query(
                    f"""(sum({_label_rate(_OF_LABEL + ',value="__unlabelled__"')}) or vector(0)) / """
                    f"sum({_label_rate(_OF_LABEL)})",
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
                    f"""sum by (value) ({_label_rate('label="$label",accounting="Embodied"')})""",
                    "{{value}}",
                )
            ],
        ),
    ],
    [_LABEL, _CHOSEN],
)  # fmt: skip

CLUSTER = Board(
    "cluster", "Cluster and allocation", "The cluster's energy and emissions, and who is charged with them.",
    [
        Panel(
            "Emissions in the time shown",
            "CO2e of the cluster in the time that this dashboard shows, so far as it is known.", "massg",
            [Query(_in_range(_rate(_ACCOUNTING)))], "stat", 6, 4,
        ),
        Panel(
            "Power", "Mean power of the last hour.", "watt", [Query(f"sum({_power()})")],
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
                    f"sum by (namespace) ({_rate(_OF_EMITTER)})",
                    "{{namespace}}",
                )
            ],
            width=24, height=10, stacked=True,
        ),
        Panel(
            "Emissions by component", "What pods used (Dynamic), idle energy and overhead.", "massg",
            [
                Query(
                    f"sum by (component) ({_rate(_OF_EMITTER)})",
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
                    f"""sum by (accounting) ({_rate('namespace=~"$emitter"')})""",
                    "{{accounting}}",
                )
            ],
        ),
        Panel(
            "Power by namespace", "Mean power of the last hour, with idle energy and overhead.", "watt",
            [Query(f'''sum by (namespace) ({_power('namespace=~"$emitter"')})''', "{{namespace}}")],
            width=24, stacked=True,
        ),
    ],
    [_CHOSEN, _EMITTERS],
)  # fmt: skip

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
    [_INSTANCE],
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
                )
            ],
            width=24,
        ),
    ],
)  # fmt: skip

OPERATION = Board(
    "operation", "Operation", "The server, the controller, the webhook and the exports.",
    [
        Panel(
            "Reports", "Reports a second by what became of them.", "short",
            [
                Query("sum by (fate) (rate(carbonbudget_ingest_reports_total[$__rate_interval]))", "{{fate}}"),
                Query(
                    "sum by (reason) (rate(carbonbudget_ingest_refused_total[$__rate_interval]))",
                    "refused: {{reason}}",
                ),
            ],
        ),
        Panel(
            "Commit", "Mean time of a transaction.", "s",
            [
                Query(
                    "rate(carbonbudget_ledger_commit_seconds_total[$__rate_interval]) / "
                    "(rate(carbonbudget_ledger_commits_total[$__rate_interval]) > 0)"
                )
            ],
        ),
        Panel(
            "Questions, 95th percentile", "Time of an answer by endpoint.", "s",
            [
                Query(
                    "histogram_quantile(0.95, sum by (le, endpoint) "
                    "(rate(carbonbudget_query_duration_seconds_bucket[$__rate_interval])))",
                    "{{endpoint}}",
                )
            ],
        ),
        Panel(
            "Questions refused", "Questions a second that were refused, by reason.", "short",
            [Query("sum by (reason) (rate(carbonbudget_query_refused_total[$__rate_interval]))", "{{reason}}")],
        ),
        Panel(
            "Upkeep that fails", "Hours and steps a second that could not be valued, sealed or dropped.", "short",
            [Query("sum by (step) (rate(carbonbudget_upkeep_failures_total[$__rate_interval]))", "{{step}}")],
        ),
        Panel(
            "Evaluation", "Mean time of one evaluation of all budgets.", "s",
            [
                Query(
                    "rate(carbonbudget_evaluation_duration_seconds_sum[$__rate_interval]) / "
                    "(rate(carbonbudget_evaluation_duration_seconds_count[$__rate_interval]) > 0)"
                )
            ],
        ),
        Panel(
            "Webhook", "Reviews a second by outcome.", "short",
            [Query("sum by (outcome) (rate(carbonbudget_admission_reviews_total[$__rate_interval]))", "{{outcome}}")],
        ),
        Panel(
            "Webhook, 99th percentile", "Time of a review, without the network.", "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le) "
                    "(rate(carbonbudget_admission_duration_seconds_bucket[$__rate_interval])))"
                )
            ],
        ),
        Panel(
            "Enforcement", "What was done to Jobs, a second.", "short",
            [Query("sum by (action) (rate(carbonbudget_enforcement_actions_total[$__rate_interval]))", "{{action}}")],
        ),
        Panel(
            "Age of watches", "Seconds since the data of a watch was last known to be complete.", "s",
            [Query("time() - min by (path) (carbonbudget_watch_current_timestamp_seconds)", "{{path}}")],
        ),
        Panel(
            "Certificates", "Seconds until the certificate that is served expires.", "s",
            [Query("min by (name) (carbonbudget_certificate_expiration_timestamp_seconds) - time()", "{{name}}")],
        ),
        Panel(
            "Lag of exports", "Age of the oldest closed hour of which a target has nothing; 0 if it has all.", "s",
            [Query("max by (target) (carbonbudget_export_lag_seconds)", "{{target}}")],
        ),
        Panel(
            "Hours that wait for export", "Closed hours, new or restated, that a target does not have.", "short",
            [Query("max by (target) (carbonbudget_export_hours_waiting)", "{{target}}")],
        ),
        Panel(
            "Rows exported", "Points or samples a second that targets accepted, and that they refused.", "short",
            [
                Query("sum by (target) (rate(carbonbudget_export_rows_total[$__rate_interval]))", "{{target}}"),
                Query(
                    "sum by (target) (rate(carbonbudget_export_rows_refused_total[$__rate_interval]))",
                    "{{target}}, refused",
                ),
            ],
        ),
        Panel(
            "Exports that fail", "Attempts a second that ended early: the target or the ledger was away.", "short",
            [Query("sum by (target) (rate(carbonbudget_export_failures_total[$__rate_interval]))", "{{target}}")],
        ),
    ],
    since="now-6h",
)  # fmt: skip

BOARDS = (BUDGETS, BUDGET, TEAMS, CLUSTER, NODES, GRID, OPERATION)
