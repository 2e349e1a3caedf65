"""Whether a budget's selector picks work of which only a selector is known. Pure.

A Scale has no pod labels, only the workload's own selector in `status.selector`. Pods carry what that asks for,
and may carry more: so it settles some questions and not others.
"""

from __future__ import annotations

import re

from carbonbudget_operator.api.selector import LabelSelector, LabelSelectorRequirement

_EQUALS = re.compile(r"([^\s=!,()]+)\s*==?\s*([^\s=!,()]*)")


def known_labels(selector: str) -> dict[str, str]:
    """Labels that every pod under a selector such as "app=web,tier in (a,b)" has: its equalities."""
    terms = re.split(r",(?![^(]*\))", selector)
    return {match[1]: match[2] for term in terms if (match := _EQUALS.fullmatch(term.strip())) is not None}


def decided(selector: LabelSelector | None, known: dict[str, str]) -> bool | None:
    """Whether pods with at least the labels `known` are selected; None where their other labels decide."""
    if selector is None:
        return True
    answers = [known[key] == value if key in known else None for key, value in selector.match_labels.items()]
    answers += [_holds(requirement, known) for requirement in selector.match_expressions]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(requirement: LabelSelectorRequirement, known: dict[str, str]) -> bool | None:
    if requirement.key not in known:
        return None
    return LabelSelector(match_expressions=[requirement]).matches(known)
