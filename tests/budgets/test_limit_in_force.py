"""One function knows a budget's limit in force, and nobody else parses `spec.limit`."""

from __future__ import annotations

import ast
from pathlib import Path

import carbonbudget_operator
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug, limit_in_force_text, limit_in_force_ug

_KILO = 10**9
_PACKAGE = Path(carbonbudget_operator.__path__[0])


def budget(limit: str, *amounts: int) -> CarbonBudget:
    adjustments = [
        {"reason": "TransferIn", "amount": "?", "micrograms": amount, "source": str(n)}
        for n, amount in enumerate(amounts)
    ]
    return CarbonBudget.model_validate(
        {
            "metadata": {"name": "monthly", "namespace": "team-a"},
            "spec": {"limit": limit, "period": "Month"},
            "status": {"adjustments": adjustments or None},
        }
    )


def test_without_adjustments_the_limit_is_the_specs_and_is_written_as_there() -> None:
    assert limit_in_force_ug(budget("5000g")) == 5 * _KILO
    assert limit_in_force_text(budget("5000g")) == "5000g"


def test_adjustments_of_the_status_change_it() -> None:
    adjusted = budget("5kg", 2 * _KILO, -_KILO)
    assert limit_in_force_ug(adjusted) == 6 * _KILO
    assert limit_in_force_text(adjusted) == "6kg"
    assert base_limit_ug(adjusted) == 5 * _KILO


def test_it_is_never_below_zero() -> None:
    assert limit_in_force_ug(budget("5kg", -9 * _KILO)) == 0
    assert limit_in_force_text(budget("5kg", -9 * _KILO)) == "0mg"


def test_nobody_else_reads_the_limit_of_a_spec() -> None:
    """What is shown or compared goes by the limit in force: a new reader of `spec.limit` would forget adjustments."""

    def reads(module: Path) -> bool:
        return any(
            isinstance(node, ast.Attribute)
            and node.attr == "limit"
            and ast.unparse(node.value).rpartition(".")[2] == "spec"
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        )

    found = {str(module.relative_to(_PACKAGE)) for module in _PACKAGE.rglob("*.py") if reads(module)}
    assert found == {"budgets/limit_in_force.py"}
