"""The block `co2_eq_emissions` of a model's README on the Hugging Face Hub, as YAML front matter. Pure.

Fields: https://huggingface.co/docs/hub/model-cards-co2. Emissions are in grams; some cards have kilograms there.
"""

from __future__ import annotations

import json
from typing import Final

from carbonbudget_operator.model_card.card_terms import CardTerms
from carbonbudget_operator.model_card.card_texts import source_of, training_of
from carbonbudget_operator.model_card.model_figures import ModelFigures
from carbonbudget_operator.printable import printable

_MOST_CHARACTERS: Final = 300


def hugging_face_card(model: ModelFigures, terms: CardTerms) -> str:
    """The front matter, from `---` to `---`. Raises ModelCardError without a training."""
    training = training_of(model)
    block: dict[str, object] = {
        "emissions": training.location_ug / 1_000_000,
        "source": source_of(model, training),
        "training_type": "fine-tuning" if terms.fine_tuned else "pre-training",
    }
    block |= {
        key: printable(text, _MOST_CHARACTERS)
        for key, text in (("geographical_location", terms.location), ("hardware_used", terms.hardware))
        if text
    }
    # A string of JSON is one of YAML.
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in block.items()]
    return "\n".join(["---", "co2_eq_emissions:", *lines, "---", ""])
