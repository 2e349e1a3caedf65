"""The page of troubles knows every reason that a budget's conditions give, and speaks of names that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from carbonbudget_operator.api import wire_names
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.controller import budget_limitations, status_conditions

ROOT = Path(__file__).resolve().parent.parent.parent
OPERATOR = ROOT / "operator" / "carbonbudget_operator"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
FINE = {"Evaluated", "Complete", "NoConflict", "Reverted"}  # Reverted has one condition, which the page names


def reasons() -> set[str]:
    """As the controller gives them: in a condition, or for want of an answer."""
    files = ("status_conditions.py", "budget_limitations.py", "query_sender.py")
    code = "".join((OPERATOR / "controller" / name).read_text() for name in files)
    code += (OPERATOR / "controller" / "evaluation_loop.py").read_text()
    given = re.findall(r'DesiredCondition\("\w+", "(?:True|False|Unknown)", "(\w+)"', code)
    given += re.findall(r'found\.append\(\("(\w+)", ', code)
    named = re.findall(r'DesiredCondition\("?\w+"?, "(?:True|False)", ([A-Z_]+),', code)
    named += re.findall(r"found\.append\(\(([A-Z_]+), ", code)
    credits = re.findall(r'"([A-Z][a-z]+[A-Z]\w+)",', (OPERATOR / "controller" / "credit_condition.py").read_text())
    return {
        *given, *credits,
        *(getattr(budget_limitations, name, "") or getattr(status_conditions, name) for name in named),
        *re.findall(r'ServerAnswers\([^"]*"(\w+)"', code),
        *re.findall(r'evaluate_without_answer\(\s*prepared, "(\w+)"', code),
    } - FINE  # fmt: skip


def test_every_reason_of_a_condition_that_is_a_trouble_is_on_the_page() -> None:
    assert reasons() >= {
        "BadSpec", "Gaps", "ServerUnavailable", "NamespacesUnknown", "UsedFell", "NamespacesLeftOut",
        "KindsNotEnforced", "BaselineNotMeasured", "QuestionRefused", "CountedProRata", "LocationStandsIn",
        "EnforcementLabelIgnored", "WaitingForReports",
    }  # fmt: skip
    assert {reason for reason in reasons() if f"`{reason}`" not in PAGE} == set()


def test_every_label_and_annotation_that_it_names_is_ours() -> None:
    ours = {value for value in vars(wire_names).values() if isinstance(value, str) and "/" in value}
    named = set(re.findall(r"carbonbudget\.dev/[a-z-]+", PAGE))
    assert len(named) >= 8
    assert named - ours == set()


def test_every_command_that_it_names_is_there() -> None:
    commands = {str(command.name) for command in app.registered_commands}
    commands |= {str(group.name) for group in app.registered_groups}
    assert set(re.findall(r"`carbonbudget ([a-z]+)", PAGE)) - commands == set()


@pytest.mark.parametrize(
    "heading",
    [
        "`basis: Projected` never refuses", "A Job was not suspended", "A Job was suspended and is not resumed",
        "A deferred Job does not start", "GitOps",
    ],
)  # fmt: skip
def test_what_people_ask_most_has_a_heading_of_its_own(heading: str) -> None:
    assert f"\n## {heading}\n" in PAGE


def test_the_link_into_another_page_leads_to_a_heading() -> None:
    def anchor(heading: str) -> str:
        return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")

    for page, target in re.findall(r"\]\(([\w.-]+\.md)#([\w-]+)\)", PAGE):
        headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert target in map(anchor, headings)
