"""The one sentence of a budget."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.budget_sentence import (
    MAX_MESSAGE,
    Subject,
    describe,
    format_instant,
    without_instant,
)
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.verdict import Action, State, Verdict
from carbonbudget_operator.printable import is_printable

PARIS = ZoneInfo("Europe/Paris")
NOVEMBER = Period(1793487600, 1796079600)  # 2026-11-01 to 2026-12-01 in Paris
VERDICT = Verdict(NOVEMBER, 1, 4_100_000_000, State.WARNING, Action.WARN, 0)
MONTHLY = Subject("monthly", PARIS, "#ml-platform")


def sentence(subject: Subject, forecast_ug: int | None = 6_300_000_000) -> str:
    return describe(subject, 5 * 10**9, VERDICT, forecast_ug)


def test_it_says_what_was_used_and_is_expected_when_it_resets_and_whom_to_ask() -> None:
    assert sentence(MONTHLY) == (
        "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), forecast 6.3kg, resets 2026-12-01; location-based; "
        "ask #ml-platform"
    )


def test_it_says_up_to_when_and_by_which_accounting_it_counts() -> None:
    text = describe(replace(MONTHLY, market=True), 5 * 10**9, VERDICT, None, NOVEMBER.end - 86400 - 60)
    assert text.endswith("resets 2026-12-01; market-based, as of 2026-11-29 23:59 CET; ask #ml-platform")
    later = describe(replace(MONTHLY, market=True), 5 * 10**9, VERDICT, None, NOVEMBER.end - 86400)
    assert later != text
    assert without_instant(later) == without_instant(text) == text.replace(", as of 2026-11-29 23:59 CET", "")
    assert without_instant(sentence(MONTHLY)) == sentence(MONTHLY)
    bare = describe(Subject("b", PARIS), 5 * 10**9, VERDICT, None, NOVEMBER.end)
    assert without_instant(bare) == describe(Subject("b", PARIS), 5 * 10**9, VERDICT, None)


def test_the_limit_has_all_its_digits_and_what_is_over_it_reads_as_more() -> None:
    over = replace(VERDICT, used_ug=1_255_000_000, state=State.EXCEEDED)
    assert "used 1.255kg of 1.25kg CO2e (100 %)" in describe(MONTHLY, 1_250_000_000, over, None)
    little = describe(MONTHLY, 5 * 10**9, replace(VERDICT, used_ug=40), None)
    assert "used 0.04mg of 5kg CO2e (<1 %)" in little


def test_a_limit_with_adjustments_names_the_limit_before_them() -> None:
    text = describe(MONTHLY, 6 * 10**9, VERDICT, None, base_limit_ug=5 * 10**9)
    assert "used 4.1kg of 6kg CO2e (68 %; 5kg before adjustments), resets" in text
    assert describe(MONTHLY, 5 * 10**9, VERDICT, None, base_limit_ug=5 * 10**9) == sentence(MONTHLY, None)


def test_with_adjustments_the_longest_sentence_keeps_its_figures() -> None:
    long = Subject("n" * 253, PARIS, "c" * 64, cluster=True, workload="w" * 253, market=True)
    revised = replace(VERDICT, used_ug=999_999_999_999_999, revised_ug=999_999_999_999_999)
    text = describe(long, 9_999_999_999, revised, 999_999_999_999_999, NOVEMBER.end - 60, 1_234_567_891)
    assert len(text) <= MAX_MESSAGE
    assert "1.234567891kg before adjustments" in text


def test_what_is_not_known_is_left_out() -> None:
    assert sentence(Subject("monthly", PARIS), None) == (
        "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), resets 2026-12-01; location-based"
    )


def test_a_single_period_ends_and_a_cluster_wide_budget_says_that_it_is_one() -> None:
    text = sentence(replace(MONTHLY, cluster=True, recurs=False))
    assert text.startswith("cluster carbon budget monthly: ")
    assert "ends 2026-12-01" in text


def test_a_budget_per_workload_names_the_one_that_used_most() -> None:
    assert sentence(replace(MONTHLY, workload="Job/train"), None).startswith(
        "carbon budget monthly: Job/train used 4.1kg of 5kg"
    )


def test_without_data_it_says_so_first() -> None:
    text = describe(MONTHLY, 5 * 10**9, replace(VERDICT, state=State.UNKNOWN), None)
    assert text.startswith("carbon budget monthly: no data now; last known: used 4.1kg")


# What an owner's name and a contact may hold: a terminal's commands, a line's end, a change of direction.
HOSTILE = "\x1b[2J\x1b[31mPWNED\x1b[0m\nDeployment/fake-row  0mg\x1b]0;title\a\u202eolleh\u2028"


def test_what_a_tenant_writes_is_shown_and_neither_acts_nor_deceives() -> None:
    text = sentence(Subject("monthly", PARIS, HOSTILE, workload=f"CronJob/{HOSTILE}"))
    assert is_printable(text)
    assert "CronJob/\\x1b[2J" in text
    assert "used 4.1kg of 5kg" in text


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_is_written_the_sentence_is_printable_and_of_one_line(workload: str, contact: str) -> None:
    text = sentence(Subject("monthly", PARIS, contact, workload=workload))
    assert is_printable(text)
    assert len(text) <= MAX_MESSAGE
    assert "used 4.1kg of 5kg CO2e" in text


@given(st.text("n", max_size=253), st.text("wé", max_size=300), st.text("c", max_size=64), st.booleans())
def test_it_fits_into_a_warning_and_names_are_cut_before_figures(
    name: str, workload: str, contact: str, cluster: bool
) -> None:
    text = sentence(Subject(name, PARIS, contact, cluster, workload=workload))
    assert len(text) <= MAX_MESSAGE
    assert "used 4.1kg of 5kg CO2e (82 %), forecast 6.3kg, resets 2026-12-01" in text
    assert text.endswith(contact)


def test_a_reset_inside_a_day_says_the_hour_and_the_zone() -> None:
    assert format_instant(NOVEMBER.end + 5400, PARIS) == "2026-12-01 01:30 CET"


def test_a_contact_of_several_lines_is_one_and_a_blank_one_is_none() -> None:
    assert sentence(replace(MONTHLY, contact=" #ml\r\n  platform\u2028now\n")).endswith("; ask #ml platform now")
    assert sentence(replace(MONTHLY, contact="\n \t")).endswith("resets 2026-12-01; location-based")


@given(st.text(max_size=64))
def test_whatever_the_contact_is_a_message_is_one_line(contact: str) -> None:
    """The API server discards a messageExpression with a line break, and says nothing of the budget then."""
    assert len(sentence(replace(MONTHLY, contact=contact)).splitlines()) == 1
