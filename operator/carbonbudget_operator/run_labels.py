"""The labels of runs and models on pods: their keys, the stages, and how a longer name becomes a label value. Pure.

The labels count on the pod template. A run is identified by its namespace and the value of `RUN`, a model by its
namespace and the value of `MODEL`: two namespaces may use the same name for different things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from carbonbudget_operator.name_rules import is_label_key, is_label_value

RUN: Final = "carbonbudget.dev/run"
MODEL: Final = "carbonbudget.dev/model"
MODEL_VERSION: Final = "carbonbudget.dev/model-version"
STAGE: Final = "carbonbudget.dev/stage"
RUN_LABELS: Final = (RUN, MODEL, MODEL_VERSION, STAGE)

# The stages of SCI for AI, with its "Retirement" and the two parts of its operation under names that teams use.
STAGES: Final = ("data", "training", "evaluation", "deployment", "inference", "retirement")

# What people write where a grouping is asked for, and the label that it stands for.
SHORT_NAMES: Final = {"run": RUN, "model": MODEL, "model-version": MODEL_VERSION, "stage": STAGE}
# A run's name is unique in its namespace, a version's among those of its model: they are never shown without these.
_UNIQUE_IN: Final = {"run": ("namespace",), "model": ("namespace",), "model-version": ("namespace", "model")}

_MAX_KEYS: Final = 10
_MAX_LABEL_TEXT: Final = 63
_NO_LABEL_TEXT: Final = re.compile(r"[^A-Za-z0-9._-]")
_EDGES: Final = "._-"


def as_label(name: str) -> str:
    """The label value for a name: what a label cannot have becomes `.`, cut at 63 characters; "" if nothing is left.

    >>> as_label("org/model")
    'org.model'
    """
    return _NO_LABEL_TEXT.sub(".", name).strip(_EDGES)[:_MAX_LABEL_TEXT].rstrip(_EDGES)


def with_keys(fields: Iterable[str]) -> tuple[str, ...]:
    """The fields of a grouping, each once, those that a run, a model or a version is only unique in before it.

    >>> with_keys(["model"])
    ('namespace', 'model')
    """
    found: dict[str, None] = {}
    asked = tuple(fields)
    for field in asked:
        for key in _UNIQUE_IN.get(field, ()):
            if key not in asked:
                found[key] = None
        found[field] = None
    return tuple(found)


def parse_labels(text: str) -> dict[str, str]:
    """ "experiment=x,team=a" to keys and values, at most ten. Raises ValueError with a sentence.

    That is the part of kubectl's label selectors that the ledger answers.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = (item.strip() for item in part.partition("="))
        value = value.removeprefix("=")  # kubectl also takes ==
        if not separator or not is_label_key(key) or not is_label_value(value):
            raise ValueError("labels are KEY=VALUE joined by commas; other selectors are not answered")
        if found.get(key, value) != value:
            raise ValueError(f"labels name {key} twice, and no pod has two values of it")
        found[key] = value
    if len(found) > _MAX_KEYS:
        raise ValueError(f"labels name {len(found)} keys: name at most {_MAX_KEYS}")
    return found
