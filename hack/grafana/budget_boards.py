"""What the dashboards of budgets show. Every metric is in docs/reference/metrics.md."""

from __future__ import annotations

from grafana.expressions import NAME, NAMESPACE, OF_BUDGETS
from grafana.panels import Board, Panel, Query

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
                    f"carbonbudget_budget_used_grams{{{OF_BUDGETS}}} / carbonbudget_budget_limit_grams{{{OF_BUDGETS}}}",
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
                    f"carbonbudget_budget_forecast_grams{{{OF_BUDGETS}}} / "
                    f"carbonbudget_budget_limit_grams{{{OF_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
            "bargauge", 12, 10,
        ),
        Panel(
            "State", "The state of each budget: one row a budget.", "short",
            [Query(f"carbonbudget_budget_state{{{OF_BUDGETS}}} == 1")], "table", 24, 10,
        ),
    ],
    [NAMESPACE, NAME],
)  # fmt: skip

BUDGET = Board(
    "budget", "One budget", "One budget over time: use, limit, forecast.",
    [
        Panel(
            "Used, limit and forecast",
            "Emissions in the period, the limit with its adjustments, and what is expected at the period's end.",
            "massg",
            [
                Query(f"carbonbudget_budget_used_grams{{{OF_BUDGETS}}}", "used {{namespace}}/{{name}}"),
                Query(f"carbonbudget_budget_limit_grams{{{OF_BUDGETS}}}", "limit {{namespace}}/{{name}}"),
                Query(f"carbonbudget_budget_forecast_grams{{{OF_BUDGETS}}}", "expected {{namespace}}/{{name}}"),
            ],
            width=24, height=10,
        ),
        Panel(
            "Left", "The limit less the emissions in the period. Below 0 the budget is exceeded.", "massg",
            [
                Query(
                    f"carbonbudget_budget_limit_grams{{{OF_BUDGETS}}} - carbonbudget_budget_used_grams{{{OF_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
        ),
        Panel(
            "Adjustments of the limit",
            "What changed the limit of the period, by reason. The limit above has them in it.", "massg",
            [
                Query(
                    f"max by (namespace, name, reason) (carbonbudget_budget_adjustment_grams{{{OF_BUDGETS}}})",
                    "{{namespace}}/{{name}} {{reason}}",
                )
            ],
        ),
        Panel(
            "Handed down", "Limits of the budgets that name a ClusterCarbonBudget as their parent, and its own.",
            "massg",
            [
                Query("max by (name) (carbonbudget_budget_allocated_grams)", "{{name}}, handed down"),
                Query(
                    "max by (name) (carbonbudget_budget_limit_grams "
                    "and on (kind, name) carbonbudget_budget_allocated_grams)",
                    "{{name}}, limit",
                ),
            ],
        ),
        Panel(
            "Blocks", "1 while the budget refuses new work or suspends Jobs.", "short",
            [Query(f"carbonbudget_budget_blocking{{{OF_BUDGETS}}}", "{{namespace}}/{{name}}")],
        ),
        Panel(
            "Age of the data", "Seconds since the instant up to which every node had reported.", "s",
            [
                Query(
                    f"time() - carbonbudget_budget_data_through_timestamp_seconds{{{OF_BUDGETS}}}",
                    "{{namespace}}/{{name}}",
                )
            ],
        ),
        Panel(
            "Facts lost", "1 while the ledger has less than it had; the last verdict stands meanwhile.", "short",
            [Query(f"carbonbudget_budget_used_fell{{{OF_BUDGETS}}}", "{{namespace}}/{{name}}")],
        ),
    ],
    [NAMESPACE, NAME],
)  # fmt: skip
