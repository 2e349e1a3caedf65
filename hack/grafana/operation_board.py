"""What the dashboard of our own processes shows. Every metric is in docs/reference/metrics.md."""

from __future__ import annotations

from grafana.panels import Board, Panel, Query

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
