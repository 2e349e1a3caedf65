"""Renders a report as one HTML file: without scripts, without anything loaded from elsewhere, fit for A4 paper. Pure.

Names of namespaces and labels are text that tenants choose. Each value is made printable and escaped, and the page's
own Content-Security-Policy forbids scripts and everything that is loaded.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib import resources
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from carbonbudget_operator.cli.covered_span import covers_line, date_of
from carbonbudget_operator.cli.report_change import percent_of, sealed_lines, settings_changes, signed
from carbonbudget_operator.cli.report_charts import energy_chart, namespace_chart
from carbonbudget_operator.cli.report_cost import COST_COLUMNS, price_lines, shown_costs
from carbonbudget_operator.cli.report_numbers import coverage_lines, number_line
from carbonbudget_operator.cli.table_cells import printable_cell, rounded
from carbonbudget_operator.decimal_text import grams, kilowatt_hours

MOST_ROWS: Final = 200  # of one table; JSON and CSV have all
OWNERS: Final = {"owned": "nodes owned", "cloud": "nodes of clouds", "leased": "nodes leased"}
_SUMS: Final = ("it_energy_uj", "location_ug", "market_ug", "embodied_ug")
Row = Mapping[str, Any]


def report_html(report: Mapping[str, Any], name: str, closed_sha256: str = "") -> str:
    """The page of a report in its JSON form; `name` is the period's, empty for a span by its ends.

    Raises LookupError, TypeError, ValueError or ArithmeticError for what has another form.
    """
    files = resources.files("carbonbudget_operator.cli") / "templates"
    template, style = ((files / file).read_text(encoding="utf-8") for file in ("report.html.j2", "report.css"))
    made = Environment(
        loader=DictLoader({"report": template}), autoescape=True, undefined=StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return made.get_template("report").render(
        style=Markup(style),  # noqa: S704 # our own file
        style_hash=digest,
        **_context(report, name, closed_sha256),
    )


def _shown(value: object) -> object:
    """What a placeholder prints. Style and escaped text are Markup and stay as they are."""
    return value if isinstance(value, Markup) else printable_cell(value)


def _context(report: Mapping[str, Any], name: str, closed_sha256: str) -> dict[str, Any]:
    by_owner = report["ownership"] if "ownership" in report else report["scopes"]  # as an earlier version closed it
    covered = report.get("covers", report)
    asked = (report["from"], report["to"])
    numbers = report.get("location_factors", {})
    change = report.get("change")
    return {
        "report": report,
        "name": name,
        "span": f"{date_of(report['from'])} to {date_of(report['to'])}",
        "covers": covers_line(report, asked) if (covered["from"], covered["to"]) != asked else "",
        "total": report["total"],
        "inventory": report.get("inventory", ()),
        "owners": [(OWNERS.get(owner, owner), figures) for owner, figures in by_owner.items()],
        "namespaces": _rows(report["namespaces"]),
        "labels": _labels(report.get("labels")),
        "unlabelled": report.get("labels"),
        "change": change,
        "change_span": f"{date_of(change['from'])} to {date_of(change['to'])}" if change else "",
        "changes": _changes(change) if change and change["has_data"] else (),
        "changed_settings": settings_changes(change) if change else (),
        "bars": namespace_chart(report["namespaces"]),
        "columns": energy_chart(numbers, covered["to"] - covered["from"]),
        "coverage": list(coverage_lines(report)),
        "factors": [
            (one, number_line(numbers[one]) if one in numbers else "") for one in report["factors"][:MOST_ROWS]
        ],
        "factors_left": max(0, len(report["factors"]) - MOST_ROWS),
        "settings_changes": [
            (date_of(one["from"]), "; ".join(one["settings"])) for one in report.get("settings_changes", ())
        ],
        "sealed": list(sealed_lines(report)),
        "costs": _costs(report),
        "prices": price_lines(report["cost"]) if "cost" in report else (),
        "external": report.get("external", ()),
        "closed": report.get("closed"),
        "closed_at": date_of(report["closed"]["at"]) if "closed" in report else "",
        "closed_sha256": closed_sha256,
        "reopened": [(date_of(one["at"]), one["sha256"], one["reason"]) for one in report.get("reopened", ())],
        "settings": report.get("settings") or "",
        "rounded": rounded,
        "most_rows": MOST_ROWS,
    }  # fmt: skip


def _rows(found: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """The largest, and the sum of the others in a row of its own."""
    ordered = sorted(found.items(), key=lambda one: (-int(one[1]["location_ug"]), one[0]))
    if len(ordered) <= MOST_ROWS:
        return ordered
    rest = [figures for _, figures in ordered[MOST_ROWS:]]
    uj, location, market, embodied = (sum(int(figures[key]) for figures in rest) for key in _SUMS)
    together = {
        "it_energy_kwh": kilowatt_hours(uj), "location_g": grams(location), "market_g": grams(market),
        "embodied_g": grams(embodied), "measured_percent": "",
    }  # fmt: skip
    return [*ordered[:MOST_ROWS], (f"{len(rest):,} more", together)]


def _costs(report: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The total's, the owners' and the largest namespaces' costs; the others' in a row of its own."""
    if (cost := report.get("cost")) is None:
        return []
    ordered = sorted(cost["namespaces"].items(), key=lambda one: (-Decimal(one[1]["location_cost"]), one[0]))
    named = [("total", cost["total"]), *((OWNERS.get(name, name), its) for name, its in cost["ownership"].items())]
    named += ordered[:MOST_ROWS]
    if rest := [found for _, found in ordered[MOST_ROWS:]]:
        together = {column: str(sum(Decimal(found[column]) for found in rest)) for column in COST_COLUMNS}
        named.append((f"{len(rest):,} more", together))
    return [(name, shown_costs(found, cost["currency"])) for name, found in named]


def _labels(labels: Mapping[str, Any] | None) -> list[tuple[str, str, Sequence[Row], int]]:
    """Label, its unlabelled share, its largest values, and how many more there are."""
    if labels is None:
        return []
    shares = labels["unlabelled_energy_percent_by_label"]
    return [
        (key, shares[key], rows[:MOST_ROWS], max(0, len(rows) - MOST_ROWS)) for key, rows in labels["values"].items()
    ]


def _changes(change: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Tables of changes: a caption, and for each name its cells."""
    parts = {"namespace": change["namespaces"], **{f"label {key}": values for key, values in change["labels"].items()}}
    total = ("total", _cells(change["total"]))

    return [(what, [total, *_changed_rows(found)]) for what, found in parts.items()]


def _changed_rows(found: Mapping[str, Row]) -> list[tuple[str, list[str]]]:
    """Rows by the larger figure of either period, highest first, and the sum of the others in a row of its own."""

    def order(one: tuple[str, Row]) -> tuple[Decimal, str]:
        return -max(Decimal(one[1]["location_g"]), Decimal(one[1]["location_g_before"])), one[0]

    ordered = sorted(found.items(), key=order)
    rows = [(name, _cells(one)) for name, one in ordered[:MOST_ROWS]]
    if rest := [one for _, one in ordered[MOST_ROWS:]]:
        rows.append((f"{len(rest):,} more", _cells(_summed(rest))))
    return rows


def _summed(rest: Sequence[Row]) -> Row:
    together: dict[str, Any] = {}
    for figure in ("energy_kwh", "location_g"):
        new, old = (sum(Decimal(one[key]) for one in rest) for key in (figure, f"{figure}_before"))
        share = f"{(new - old) * 100 / old:.1f}" if old else None
        together |= {figure: f"{new:f}", f"{figure}_change": f"{new - old:f}", f"{figure}_change_percent": share}
    return together


def _cells(one: Row) -> list[str]:
    return [
        cell
        for figure in ("energy_kwh", "location_g")
        for cell in (
            rounded(one[figure]), signed(one[f"{figure}_change"]), percent_of(one[f"{figure}_change_percent"]),
        )
    ]  # fmt: skip
