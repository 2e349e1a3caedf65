"""Reads the API server's answer to one dry-run create: allowed, warned, refused by a budget, or no answer. Pure.

`carbonbudget check` (check.py) prints the result; dry_run_client.py gets the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from carbonbudget_core.jsons import parse_object, text
from carbonbudget_operator.admission.check_command_figures import FIGURES
from carbonbudget_operator.admission.run_label_warnings import BEGINNING as LABEL_BEGINNING
from carbonbudget_operator.api.wire_names import EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.workload_demand import no_duration
from carbonbudget_operator.kube.client import ApiResponse


class CheckVerdict(StrEnum):
    """Whether carbon budgets let an object be created."""

    YES = "yes"
    WARNED = "warned"
    REFUSED = "refused"
    UNANSWERABLE = "unanswerable"


# What decides where there are several objects: a refusal comes before an unknown answer, and that before a warning.
_WORST: Final = (CheckVerdict.REFUSED, CheckVerdict.UNANSWERABLE, CheckVerdict.WARNED, CheckVerdict.YES)

# RFC 9111 dropped the header's definition, which is that of RFC 7234, section 5.5: code, agent, quoted text, maybe
# a date; several by commas. Kubernetes sends 299 and "-".
_WARNING: Final = re.compile(r'\s*,?\s*(\d{3}) (\S+) "((?:[^"\\]|\\.)*)"(?: "[^"]*")?')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
# As the policy's and the webhook's sentences begin (budgets.message, admission_decision).
_OURS: Final = re.compile(
    rf"(?:would be refused: )?(?:cluster )?carbon budget |{re.escape(EXPECTED_DURATION_ANNOTATION)} "
    rf"|{re.escape(LABEL_BEGINNING)}"
)
# Anchored: other refusals may quote what the manifest holds.
_POLICY: Final = re.compile(
    r'^[a-z0-9.-]+ (?:"[^"]*" )?is forbidden: '
    r"ValidatingAdmissionPolicy 'carbonbudget(?:-[a-z0-9-]+)?' (?:with binding '[^']*' )?"
    r"denied request: "
)
# For controllers alone: a Job tried as a CronJob's is made by the one who asks.
_CONTROLLER: Final = re.compile(r" \(if [^()]* is a controller, name it in enforcement\.controllerAccounts\)")
_WEBHOOK: Final = re.compile(r'^admission webhook "[a-z.-]*\.carbonbudget\.dev" denied the request: ')


@dataclass(frozen=True, slots=True)
class DryRunOutcome:
    """One object's verdict. `carbon` are budgets' sentences, `other` all other warnings, `reason` why not more.

    `figures` are sentences of what is expected and what is left, or why that is not known.
    """

    verdict: CheckVerdict
    carbon: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    reason: str = ""
    exists: bool = False
    figures: tuple[str, ...] = ()


def worst(verdicts: Iterable[CheckVerdict]) -> CheckVerdict:
    """The one that decides; YES for none."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST if verdict in found), CheckVerdict.YES)


def with_unread_duration(outcome: DryRunOutcome, stated: str) -> DryRunOutcome:
    """The outcome of an object that states a duration which is none: a warning at least.

    The webhook warns of it too, and names the duration that it uses instead. Without the webhook, or without a
    budget that needs a duration, the mistake is the same.
    """
    if not stated or any(sentence.startswith(EXPECTED_DURATION_ANNOTATION) for sentence in outcome.carbon):
        return outcome
    said = (*outcome.carbon, no_duration(EXPECTED_DURATION_ANNOTATION, stated))
    return replace(outcome, verdict=worst([outcome.verdict, CheckVerdict.WARNED]), carbon=said)


def without_controller_hint(outcome: DryRunOutcome) -> DryRunOutcome:
    """The outcome of an object that the asker tried in a controller's place: the asker is none."""
    return replace(outcome, carbon=tuple(_CONTROLLER.sub("", sentence) for sentence in outcome.carbon))


def parse_warnings(values: Iterable[str]) -> list[str]:
    """The texts of Warning headers; what is none is left out."""
    texts = []
    for value in values:
        at = 0
        while (match := _WARNING.match(value, at)) is not None:
            texts.append(_ESCAPED.sub(r"\1", match[3]))
            at = match.end()
    return texts


def interpret_answer(answer: ApiResponse, kind: str) -> DryRunOutcome:
    """What the answer to a dry-run create says.

    The API server asks policies and webhooks before it looks whether the name is taken: AlreadyExists means that
    they let it pass.
    """
    texts = parse_warnings(answer.warnings)
    figures = tuple(text.removeprefix(FIGURES) for text in texts if text.startswith(FIGURES))
    texts = [text for text in texts if not text.startswith(FIGURES)]
    return replace(_outcome_of(answer, kind, texts), figures=figures)


def _outcome_of(answer: ApiResponse, kind: str, texts: Sequence[str]) -> DryRunOutcome:
    carbon = tuple(text for text in texts if _OURS.match(text))
    other = tuple(text for text in texts if not _OURS.match(text))
    body = parse_object(answer.text)
    message = text(body.get("message"))
    reason = body.get("reason")
    if answer.status in (200, 201) and body.get("kind") == kind:
        return DryRunOutcome(CheckVerdict.WARNED if carbon else CheckVerdict.YES, carbon, other)
    if body.get("kind") == "Status" and answer.status == 409 and reason == "AlreadyExists":
        return DryRunOutcome(CheckVerdict.WARNED if carbon else CheckVerdict.YES, carbon, other, exists=True)
    if body.get("kind") == "Status" and (sentence := _refusal(answer.status, message)):
        return DryRunOutcome(CheckVerdict.REFUSED, (sentence, *carbon), other)
    return DryRunOutcome(CheckVerdict.UNANSWERABLE, carbon, other, _why(answer, message, body.get("kind") == "Status"))


def _refusal(status: int, message: str) -> str:
    """The budget's sentence of a refusal of ours; empty for any other."""
    if 400 <= status < 500:
        for pattern in (_POLICY, _WEBHOOK):
            if match := pattern.match(message):
                return message[match.end() :]
    return ""


def _why(answer: ApiResponse, message: str, is_status: bool) -> str:
    if not is_status:
        return f"{answer.status} {answer.reason}".strip() + ": that is no answer of a Kubernetes API server"
    sentence = " ".join(message.split()) or answer.reason
    if answer.status == 401:
        return f"the API server does not know who you are ({sentence}): renew your credentials"
    if answer.status == 429 or answer.status >= 500:
        return f"the API server could not answer ({answer.status}): {sentence}; try again"
    if answer.status == 403 and re.search(r" cannot (create|patch) resource ", sentence):
        return f"the right to create it is missing: {sentence}"
    return f"it is refused, but not for carbon: {sentence}"
