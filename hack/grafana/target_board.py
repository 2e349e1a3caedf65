"""What the dashboard of targets and deferred Jobs shows. Every metric is in docs/reference/metrics.md."""

from __future__ import annotations

from grafana.expressions import OF_BUDGETS as OF_TARGETS  # the same two variables
from grafana.panels import Board, Panel, Query, Variable

_NAMESPACE = Variable("namespace", "Namespace", "label_values(carbonbudget_target_state, namespace)")
_NAME = Variable("name", "Target", 'label_values(carbonbudget_target_state{namespace=~"$namespace"}, name)')
_TARGET = "{{namespace}}/{{name}}"


def _per_unit(figure: str) -> str:
    """Grams per unit; a restarted controller has other labels: one of them counts."""
    matchers = f'{OF_TARGETS},figure="{figure}"'
    return f"max by (kind, namespace, name) (carbonbudget_target_grams_per_unit{{{matchers}}})"


def _count(states: str) -> str:
    return f'count(max by (kind, namespace, name) (carbonbudget_target_state{{state=~"{states}"}}) == 1) or vector(0)'


TARGETS = Board(
    "targets", "Targets and deferred Jobs", "Emissions per unit of work against their path, and Jobs that wait.",
    [
        Panel(
            "Violated", "Targets whose figure is above the path by more than the tolerance.", "short",
            [Query(_count("Violated"))], "stat", 6, 4,
        ),
        Panel(
            "Behind", "Targets whose figure is above the path, within the tolerance.", "short",
            [Query(_count("Behind"))], "stat", 6, 4,
        ),
        Panel(
            "On track or achieved", "Targets whose figure is not above the path.", "short",
            [Query(_count("OnTrack|Achieved"))], "stat", 6, 4,
        ),
        Panel(
            "Units known", "The smallest share of a target's window whose units are known.", "percentunit",
            [Query(f"min(carbonbudget_target_units_known_ratio{{{OF_TARGETS}}})")], "stat", 6, 4,
        ),
        Panel(
            "Emissions per unit", "CO2e per spec.unit.per units of the window, and what the path asks for.", "massg",
            [
                Query(_per_unit("current"), f"{_TARGET}"),
                Query(_per_unit("expected"), f"{_TARGET} expected"),
                Query(_per_unit("baseline"), f"{_TARGET} baseline"),
            ],
            width=24, height=10,
        ),
        Panel(
            "Against the path", "The figure as a share of what the path asks for now. Above 100 % it is Behind.",
            "percentunit", [Query(f"{_per_unit('current')} / {_per_unit('expected')}", _TARGET)], "bargauge", 12, 8,
        ),
        Panel(
            "Against the baseline", "The figure as a share of the baseline.", "percentunit",
            [Query(f"{_per_unit('current')} / {_per_unit('baseline')}", _TARGET)], "bargauge", 12, 8,
        ),
        Panel(
            "Saved in the last window",
            "What the last calendar window saved against the baseline at its grid. Below 0, more was emitted.",
            "massg",
            [Query(f"max by (kind, namespace, name) (carbonbudget_target_saved_grams{{{OF_TARGETS}}})", _TARGET)],
            "bargauge", 12, 8,
        ),
        Panel(
            "State", "The state of each target: one row a target.", "short",
            [Query(f"max by (kind, namespace, name, state) (carbonbudget_target_state{{{OF_TARGETS}}}) == 1")],
            "table", 12, 8,
        ),
        Panel(
            "Hours without units", "Hours of counters that wait for an answer, failed, or are missing for good.",
            "short",
            [Query("max by (state) (carbonbudget_unit_hours)", "{{state}}")],
        ),
        Panel(
            "Questions for units", "Questions a second to the source of units, and those that failed.", "short",
            [
                Query("sum(rate(carbonbudget_unit_queries_total[$__rate_interval]))", "asked"),
                Query("sum(rate(carbonbudget_unit_query_failures_total[$__rate_interval]))", "failed"),
            ],
        ),
        Panel(
            "Deferred Jobs", "Jobs that wait for cleaner hours.", "short",
            [Query("sum by (namespace) (carbonbudget_deferred_jobs)", "{{namespace}}")],
        ),
        Panel(
            "Next start of a deferred Job",
            "Seconds until the earliest chosen start, and until a Job must have started to end by its deadline.", "s",
            [
                Query(
                    "min by (namespace) (carbonbudget_deferred_job_start_timestamp_seconds) - time()",
                    "{{namespace}}",
                ),
                Query(
                    "min by (namespace) (carbonbudget_deferred_job_latest_start_timestamp_seconds) - time()",
                    "{{namespace}} at the latest",
                ),
            ],
        ),
    ],
    [_NAMESPACE, _NAME],
    "now-30d",
)  # fmt: skip
