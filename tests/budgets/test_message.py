"""The one sentence of a budget."""

from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.evaluate import DEFAULT_THRESHOLDS, Budget, evaluate
from carbonbudget_operator.budgets.message import describe, format_instant
from carbonbudget_operator.budgets.period import Period

PARIS = ZoneInfo("Europe/Paris")
NOVEMBER = Period(1793487600, 1796079600)  # 2026-11-01 to 2026-12-01 in Paris


def sentence(name: str, contact: str) -> str:
    budget = Budget(5 * 10**9, NOVEMBER, DEFAULT_THRESHOLDS, 1)
    verdict = evaluate(budget, 4_100_000_000, NOVEMBER.start + 1, 3600, None)
    return describe(name, budget.limit_ug, verdict, PARIS, contact)


def test_it_says_what_was_used_when_it_resets_and_whom_to_ask() -> None:
    assert sentence("monthly", "#ml-platform") == (
        "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), resets 2026-12-01; ask #ml-platform"
    )


def test_without_a_contact_it_ends_with_the_reset() -> None:
    assert sentence("monthly", "").endswith("resets 2026-12-01")


def test_it_fits_into_a_warning_whatever_the_names() -> None:
    assert len(sentence("n" * 253, "c" * 64)) == 256


def test_a_reset_inside_a_day_says_the_hour_and_the_zone() -> None:
    assert format_instant(NOVEMBER.end + 5400, PARIS) == "2026-12-01 01:30 CET"
