"""`carbonbudget gate`: lets a pipeline go on only where a run or model emitted little enough, or a target is met."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn
from xml.etree import ElementTree

import typer

from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.cli.answer_source import AnswerSource, AnswerSourceError
from carbonbudget_operator.cli.answer_source_options import SourceOptions, exit_on_unknown_answer, with_source_options
from carbonbudget_operator.cli.card import Stage, label_of_option
from carbonbudget_operator.cli.common_options import check_namespace, fail, instant
from carbonbudget_operator.cli.exit_codes import GATE_EXIT_CODES
from carbonbudget_operator.cli.service_account import ServiceAccount
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE

if TYPE_CHECKING:
    from carbonbudget_operator.budgets.pipeline_gate import Emitted, GateResult

_DAYS: Final = 365
_PERCENT: Final = re.compile(r"[+-]?[0-9]{1,7}(\.[0-9]{1,9})?%?")
_LONGER_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?%?")


class GateFormat(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


@with_source_options
def gate(
    where: SourceOptions,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Whose run, model or target.")] = "",
    run: Annotated[str, typer.Option(help="A run, with --max: its label carbonbudget.dev/run.")] = "",
    most: Annotated[str, typer.Option("--max", help="The most that it may have emitted, such as 5kg.")] = "",
    model: Annotated[str, typer.Option(help="A model, with --version, --against, --max-increase.")] = "",
    version: Annotated[str, typer.Option(help="The version that is to go on.")] = "",
    against: Annotated[str, typer.Option(help="The version that it is compared with.")] = "",
    max_increase: Annotated[str, typer.Option(help="In per cent: 10, or -5 for a fall that is asked for.")] = "",
    target: Annotated[str, typer.Option(help="A target: NAMESPACE/NAME, or NAME of a ClusterCarbonTarget.")] = "",
    stage: Annotated[Stage, typer.Option(help="Which stage of the model is compared.")] = Stage.TRAINING,
    embodied: Annotated[bool, typer.Option("--embodied", help="Count embodied emissions too.")] = False,
    start: Annotated[str, typer.Option("--from", help="Since when: 2026-01-01.  [default: a year ago]")] = "",
    service_account: ServiceAccount = "",
    output: Annotated[GateFormat, typer.Option("--output", "-o", help="text, json or junit.")] = GateFormat.TEXT,
) -> None:
    """Fail a pipeline that emitted too much or broke a target.

    Exit code 0: within the limit; or the target is OnTrack or Achieved. 3: within the limit, but the last hour is not
    reported yet; or the target is Behind. 4: above the limit; or the target is Violated. 5: not answerable. 2: a bad
    option. Location-based emissions are compared; of a target those of its own accounting.
    """
    from carbonbudget_operator.budgets.pipeline_gate import GateResult, GateVerdict

    now = int(time.time())
    since = instant(start, "--from") if start else now - _DAYS * 86_400
    if since >= now:
        fail("--from must be before now", code=2)
    of_run, of_model = {run, most}, {model, version, against, max_increase}
    if target:
        if any(of_run) or any(of_model) or start or embodied or stage is not Stage.TRAINING:
            fail("give --target alone: its window and components are its own, so leave all other options of a gate out",
                 code=2)  # fmt: skip
        namespace, name = _target_name(target, namespace)
        _finish(_of_target(where, service_account, namespace, name, now), f"target {target}", output)
    if bool(any(of_run)) == bool(any(of_model)) or (any(of_run) and "" in of_run) or (any(of_model) and "" in of_model):
        fail("give --run and --max, or --model, --version, --against and --max-increase, or --target", code=2)
    if not namespace:
        fail(f"give --namespace too: a {'run' if run else 'model'} is of one namespace", code=2)
    check_namespace("--namespace", namespace)
    if model and label_of_option(version, "--version") == label_of_option(against, "--against"):
        fail(f"--version and --against are the same version {version!r}: name the earlier one in --against", code=2)
    asked = _Gate((since, now), namespace, embodied)
    limit = _limit(most, max_increase)
    source = where.source(account=service_account)
    try:
        with exit_on_unknown_answer():
            result = (
                asked.run(source, label_of_option(run, "--run"), int(limit)) if run
                else asked.version(source, model, version, against, stage, limit)
            )  # fmt: skip
    except AnswerSourceError as error:
        result = GateResult(GateVerdict.UNANSWERABLE, str(error), None, None)
    _finish(result, f"run {run}" if run else f"model {model} {version}", output)


def _finish(result: GateResult, name: str, output: GateFormat) -> NoReturn:
    print(_text(result, name, output))
    raise typer.Exit(GATE_EXIT_CODES[result.verdict])


def _target_name(target: str, namespace: str) -> tuple[str, str]:
    """Namespace, empty for a ClusterCarbonTarget, and name."""
    before, slash, name = target.rpartition("/")
    if slash and namespace and before != namespace:
        fail(f"--target {target!r} is in another namespace than -n {namespace}: leave -n out", code=2)
    where = before if slash else namespace
    if not is_subdomain(name) or ((slash or where) and not is_label(where)):
        fail(f"--target must be NAMESPACE/NAME, or NAME of a ClusterCarbonTarget, not {target!r}", code=2)
    return where, name


def _of_target(where: SourceOptions, service_account: str, namespace: str, name: str, now: int) -> GateResult:
    from carbonbudget_operator.budgets.pipeline_gate import GateResult, GateVerdict, TargetStanding, gate_target

    if where.local:
        fail("--target asks a server: leave --ledger and --config out, or name --server-url", code=2)
    source = where.server(service_account)
    try:
        with exit_on_unknown_answer():
            found = source.target(namespace, name)
            through = found["data_through"]
            standing = TargetStanding(
                name=f"target {namespace}/{name}" if namespace else f"target {name}",
                state=str(found["state"] or ""),
                message=str(found["message"] or ""),
                unit=str(found["unit"]),
                per=int(found["per"] or 1),
                current_ug=None if found["current_ug"] is None else int(found["current_ug"]),
                expected_ug=None if found["expected_ug"] is None else int(found["expected_ug"]),
                is_current=found["current"] is not False,
                is_refused=found["ready"] is False and found["state"] == "NoData",
                age_seconds=None if through is None else now - int(dt.datetime.fromisoformat(through).timestamp()),
            )
            return gate_target(standing)
    except AnswerSourceError as error:
        return GateResult(GateVerdict.UNANSWERABLE, str(error), None, None)


class _Gate:
    def __init__(self, span: tuple[int, int], namespace: str, embodied: bool) -> None:
        self._span, self._namespace, self._embodied = span, namespace, embodied

    def run(self, source: AnswerSource, run: str, limit_ug: int) -> GateResult:
        from carbonbudget_operator.budgets.pipeline_gate import gate_run

        found = self._emitted(source, f"run {run}", {RUN: run})
        return _unknown(f"run {run}", self._namespace) if found is None else gate_run(found, limit_ug)

    def version(
        self, source: AnswerSource, model: str, new: str, old: str, stage: Stage, increase_percent: Fraction
    ) -> GateResult:
        from carbonbudget_operator.budgets.pipeline_gate import gate_version

        found: list[Emitted] = []
        for version, option in ((new, "--version"), (old, "--against")):
            labels = {
                MODEL: label_of_option(model, "--model"),
                MODEL_VERSION: label_of_option(version, option),
                STAGE: stage.value,
            }
            name = f"{stage.value} of {labels[MODEL]} {labels[MODEL_VERSION]}"
            one = self._emitted(source, name, labels)
            if one is None:
                return _unknown(name, self._namespace)
            found.append(one)
        return gate_version(found[0], found[1], increase_percent)

    def _emitted(self, source: AnswerSource, name: str, labels: dict[str, str]) -> Emitted | None:
        from carbonbudget_operator.budgets.pipeline_gate import Emitted

        answer = source.runs(self._span, self._namespace, labels)
        if not answer["rows"]:
            return None
        total: dict[str, Any] = answer["total"]
        micrograms = int(total["location_ug"]) + (int(total["embodied_ug"]) if self._embodied else 0)
        return Emitted(name, micrograms, all(row["state"] == "final" for row in answer["rows"]))


def _unknown(name: str, namespace: str) -> GateResult:
    from carbonbudget_operator.budgets.pipeline_gate import GateResult, GateVerdict

    sentence = f"no pod of namespace {namespace} is of {name}: see `carbonbudget usage -n {namespace}`"
    return GateResult(GateVerdict.UNANSWERABLE, sentence, None, None)


def _limit(most: str, max_increase: str) -> Fraction:
    """Micrograms of --max, or per cent of --max-increase."""
    from carbonbudget_operator.budgets.quantity import parse_mass

    if most:
        try:
            return Fraction(parse_mass(most))
        except ValueError as error:
            fail(f"--max: {error}", code=2)
    outside = "--max-increase must be between -100 and 1,000,000 per cent, with at most nine decimals"
    if not _PERCENT.fullmatch(max_increase):
        if _LONGER_NUMBER.fullmatch(max_increase):
            fail(outside, code=2)
        fail(f"--max-increase must be a number of per cent such as 10 or -5, not {max_increase!r}", code=2)
    found = Fraction(max_increase.removesuffix("%"))
    if not -100 <= found <= 1_000_000:
        fail(outside, code=2)
    return found


def _text(result: GateResult, name: str, output: GateFormat) -> str:
    if output is GateFormat.TEXT:
        return printable_cell(f"{result.verdict}: {result.sentence}")
    if output is GateFormat.JSON:
        return json.dumps(
            {
                "verdict": result.verdict, "exitCode": GATE_EXIT_CODES[result.verdict], "sentence": result.sentence,
                "emitted_ug": _digits(result.emitted_ug), "limit_ug": _digits(result.limit_ug),
            },
            indent=2,
        )  # fmt: skip
    return _junit(result, printable_cell(name))


def _digits(micrograms: int | None) -> str | None:
    return None if micrograms is None else str(micrograms)


def _junit(result: GateResult, name: str) -> str:
    """One suite with one case, as GitLab, Jenkins and GitHub's actions read it. A warning is a pass with output."""
    failed, unknown = result.verdict == "failed", result.verdict == "unanswerable"
    suite = ElementTree.Element(
        "testsuite", name="carbonbudget gate", tests="1", failures=str(int(failed)), errors=str(int(unknown))
    )
    case = ElementTree.SubElement(suite, "testcase", classname="carbonbudget.gate", name=name)
    sentence = printable_cell(result.sentence)
    if failed or unknown:
        ElementTree.SubElement(case, "failure" if failed else "error", message=sentence)
    else:
        ElementTree.SubElement(case, "system-out").text = sentence
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
