"""`carbonbudget card`: what a model used and emitted over its life, in the forms that others read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carbonbudget_operator.cli.answer_source import AnswerSource
from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_on_unknown_answer,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import announce, check_namespace, fail, instant
from carbonbudget_operator.cli.covered_span import future_sentence
from carbonbudget_operator.cli.output_files import written_whole
from carbonbudget_operator.cli.service_account import ServiceAccount
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, as_label

if TYPE_CHECKING:
    from carbonbudget_operator.model_card.card_terms import CardTerms
    from carbonbudget_operator.model_card.model_figures import ModelFigures

    CardForm = Callable[[ModelFigures, CardTerms], str]

_LIFE_DAYS = 365


class CardFormat(StrEnum):
    """Whose form it is."""

    JSON = "json"
    CSV = "csv"
    HUGGING_FACE = "hf"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    SCI = "sci"
    GPAI = "gpai"


class Stage(StrEnum):
    """A stage of a model's life, as the label carbonbudget.dev/stage has it."""

    DATA = "data"
    TRAINING = "training"
    EVALUATION = "evaluation"
    DEPLOYMENT = "deployment"
    INFERENCE = "inference"
    RETIREMENT = "retirement"


@with_source_options
def card(
    where: SourceOptions,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Whose model: models are named by namespace.")],
    model: Annotated[str, typer.Option(help="The label carbonbudget.dev/model of its pods.")],
    version: Annotated[str, typer.Option(help="carbonbudget.dev/model-version.  [default: all versions]")] = "",
    start: Annotated[str, typer.Option("--from", help="Start of its life: 2026-01-01.  [default: a year ago]")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included.  [default: now]")] = "",
    unlabelled_stage: Annotated[
        Stage | None, typer.Option(help="The stage of pods without the label carbonbudget.dev/stage.")
    ] = None,
    fine_tuned: Annotated[bool, typer.Option("--fine-tuned", help="The training was a fine-tuning.")] = False,
    consumer_units: Annotated[str, typer.Option(help="Units of inference for SCI: '1.2e6 token'.")] = "",
    provider_units: Annotated[str, typer.Option(help="Units of training for SCI: '3e12 training token'.")] = "",
    location: Annotated[str, typer.Option(help="Where it was trained, as text.")] = "",
    hardware: Annotated[str, typer.Option(help="What it was trained on, as text.")] = "",
    provider: Annotated[str, typer.Option(help="Who supplied the energy, as text.")] = "",
    service_account: ServiceAccount = "",
    form: Annotated[CardFormat, typer.Option("--format", help="Whose form.")] = CardFormat.JSON,
    file: Annotated[Path | None, typer.Option("--output-file", help="A new file; else standard output.")] = None,
) -> None:
    """Write a model's emissions as a card.

    All pods with the model's label count, those of failed runs too. Stages are by the label carbonbudget.dev/stage.
    """
    from carbonbudget_operator.model_card.card_terms import CardTerms, parse_units
    from carbonbudget_operator.model_card.model_figures import ModelCardError

    now = int(time.time())
    span = (
        instant(start, "--from") if start else now - _LIFE_DAYS * 86_400,
        instant(end, "--to") if end else now,
    )
    check_namespace("--namespace", namespace)
    labels = {MODEL: label_of_option(model, "--model")} | (
        {MODEL_VERSION: label_of_option(version, "--version")} if version else {}
    )
    if sentence := future_sentence(span[0], now):
        fail(sentence)
    if span[0] >= span[1]:
        fail("--from must be before --to", code=2)
    try:
        terms = CardTerms(
            created=now, fine_tuned=fine_tuned, location=location, hardware=hardware, provider=provider,
            consumer_units=parse_units(consumer_units), provider_units=parse_units(provider_units),
        )  # fmt: skip
    except ModelCardError as error:
        fail(str(error), code=2)
    rest = unlabelled_stage.value if unlabelled_stage else ""
    source = where.source(account=service_account)
    try:
        with exit_without_answer(), exit_on_unknown_answer():
            figures, settings = _figures(source, span, namespace, labels, rest)
        text = _form(form)(figures, terms)
    except ModelCardError as error:
        fail(str(error))
    if settings:
        announce(settings, None, where.local and not where.config)
    _write(text, file)


def label_of_option(name: str, option: str) -> str:
    """The label value for the name that an option gives. Ends the process where nothing is left of it."""
    found = as_label(name)
    if not found:
        fail(f"{option}: {printable_cell(name)!r} has no letter and no digit", code=2)
    return found


def _figures(
    source: AnswerSource, span: tuple[int, int], namespace: str, labels: dict[str, str], unlabelled_as: str
) -> tuple[ModelFigures, str]:
    """One question: the answer has the stages apart, since a run may have pods of several."""
    from carbonbudget_operator.answers.window_parser import parse_instant
    from carbonbudget_operator.model_card.model_figures import (
        WITHOUT_STAGE,
        ModelCardError,
        ModelFigures,
        by_stage,
        figures_of,
    )

    whole = source.runs(span, namespace, labels)
    if not whole["rows"]:
        shown = ", ".join(f"{key}={value}" for key, value in labels.items())
        raise ModelCardError(f"no pod in namespace {namespace} had {shown} in that time: see `carbonbudget usage`")
    if "stages" not in whole or "facility_energy_uj" not in whole["total"]:
        raise ModelCardError(
            "the server answers without stages or without the energy of cooling: are versions mixed? Upgrade the server"
        )
    parts = {its["stage"]: figures_of(its) for its in whole["stages"] if its["stage"] is not None}
    states = {row["state"] for row in whole["rows"]}
    figures = ModelFigures(
        namespace=namespace, model=labels[MODEL], version=labels.get(MODEL_VERSION, ""),
        start=parse_instant(whole["start"]), end=parse_instant(whole["end"]),
        stages=by_stage(figures_of(whole["total"]), parts, unlabelled_as or WITHOUT_STAGE),
        runs=sum(row["run"] is not None for row in whole["rows"]),
        state="final" if states == {"final"} else "provisional",
        tool=f"carbonbudget {metadata.version('carbonbudget')}",
    )  # fmt: skip
    return figures, str(whole.get("settings") or "")  # the public API does not name them


def _form(form: CardFormat) -> CardForm:
    """Imported here: `--help` should not wait for them."""
    from carbonbudget_operator.model_card.card_formats.cyclonedx import cyclonedx_card
    from carbonbudget_operator.model_card.card_formats.gpai import gpai_card
    from carbonbudget_operator.model_card.card_formats.hugging_face import hugging_face_card
    from carbonbudget_operator.model_card.card_formats.plain import csv_card, json_card
    from carbonbudget_operator.model_card.card_formats.sci import sci_card
    from carbonbudget_operator.model_card.card_formats.spdx import spdx_card

    forms: dict[CardFormat, CardForm] = {
        CardFormat.JSON: json_card, CardFormat.CSV: csv_card, CardFormat.HUGGING_FACE: hugging_face_card,
        CardFormat.CYCLONEDX: cyclonedx_card, CardFormat.SPDX: spdx_card, CardFormat.SCI: sci_card,
        CardFormat.GPAI: gpai_card,
    }  # fmt: skip
    return forms[form]


def _write(text: str, file: Path | None) -> None:
    if file is None:
        sys.stdout.write(text)
        return
    with written_whole(file) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    print(f"{printable_cell(str(file))}: written", file=sys.stderr)
