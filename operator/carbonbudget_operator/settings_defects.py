"""Error messages for invalid settings files: an unknown key, or a file of another kind. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from carbonbudget_operator.printable import printable
from carbonbudget_operator.settings_sections import sections_in, tags_of
from carbonbudget_operator.settings_sentences import key_of, sentence_of

_OF_PODS: Final = ("nodeSelector", "tolerations", "priorityClassName", "affinity", "podLabels", "podAnnotations")
# Keys of the chart's values.yaml that no settings file has. A file with one of them is meant for Helm.
CHART_KEYS: Final = frozenset({
    *(f"{part}.{key}" for part in ("server", "controller", "admission", "web") for key in _OF_PODS),
    "windowSeconds", "logFormat", "tracking", "images", "agent", "certificates", "networkPolicy", "monitoring",
    "carbon.keysSecret", "enforcement.exemptNamespaces", "enforcement.exemptNamespacePrefixes",
    "enforcement.controllerAccounts",
    "enforcement.resumeJitterSeconds", "server.persistence", "server.database", "server.replicas", "server.podDays",
    "server.keepMonths", "server.metricLabels", "server.metricValues", "server.maxNodeWatts", "server.resources",
    "server.opencost", "server.exportsSecret", "server.unitsSecret", "server.env",
    "server.userTokens",
    "controller.freshForSeconds", "controller.resources", "admission.replicas", "admission.timeoutSeconds",
    "admission.port", "admission.metricsPort", "admission.hostNetwork",
    "admission.resources", "reports.requiredLabels",
    "web.enabled", "web.replicas", "web.cookieKeysSecret", "web.sessionHours",
    "web.failedSignIns", "web.failedSignInsEach", "web.trustedProxy", "web.resources",
})  # fmt: skip
_MOST_LISTED: Final = 12
_MOST_REASON: Final = 500
_CLOSE: Final = 0.8  # similarity to a key of another section; difflib's default of 0.6 suggests unrelated keys
UNKNOWN: Final = "extra_forbidden"  # pydantic's type of the error

_Path = tuple[int | str, ...]


def another_kind_of_file(values: Mapping[object, object]) -> str:
    """A message that names the kind of file and what to give instead; empty for a settings file."""
    kind = values.get("kind")
    if kind is not None and "apiVersion" in values:
        what = f"this is a Kubernetes manifest of kind {printable(str(kind), 60)}, not a settings file"
        if kind == "ConfigMap":
            return f"{what}: save the text under data.config.yaml as a file and give that"
        if kind in ("CarbonBudget", "ClusterCarbonBudget"):
            return (
                f"{what}: give the file that --config names, and try a budget with `kubectl apply --dry-run=server -f`"
            )
        return f"{what}: give the file that --config names, or the chart's ConfigMap carbonbudget-config"
    found = [key for key in _two_levels(values) if key in CHART_KEYS]
    if not found:
        return ""
    some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return (
        f"these are values of the Helm chart ({some}), not a settings file: check the settings that the chart makes "
        "of them with `helm template carbonbudget charts/carbonbudget -f values.yaml -s templates/config.yaml | "
        "carbonbudget settings check -`"
    )


def defects(model: type[BaseModel], errors: Iterable[ErrorDetails]) -> list[str]:
    """A line for each setting that is wrong: key and reason. A value that is none of several choices has one line."""
    found: dict[tuple[str, bool], list[str]] = {}
    for error in errors:
        is_unknown = error["type"] == UNKNOWN
        reason = _unknown(model, error["loc"]) if is_unknown else sentence_of(model, error)
        reasons = found.setdefault((key_of(error["loc"]), is_unknown), [])
        if reason not in reasons:
            reasons.append(reason)
    # A sentence may quote a value of the file, which may have line breaks in it.
    return [f"{key}: {printable(', or '.join(reasons), _MOST_REASON)}" for (key, _), reasons in found.items()]


def unknown_keys(errors: Iterable[ErrorDetails]) -> list[str]:
    """The unknown keys among the errors, each once, with its path."""
    return list(dict.fromkeys(key_of(error["loc"]) for error in errors if error["type"] == UNKNOWN))


def _unknown(model: type[BaseModel], path: _Path) -> str:
    """A message for an unknown key, with the key that was probably meant."""
    key, section = str(path[-1]), _sections_at(model, path[:-1])
    names = sorted({name for one in section for name in one.model_fields})
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    if close := difflib.get_close_matches(snake, names, n=1):
        return f"unknown key: did you mean {close[0]}?"
    elsewhere: dict[str, list[str]] = {}
    for name in _all_keys(model, ""):
        elsewhere.setdefault(name.rpartition(".")[2], []).append(name)
    if close := difflib.get_close_matches(snake, elsewhere, n=1, cutoff=_CLOSE):
        return f"unknown key: did you mean {' or '.join(elsewhere[close[0]])}?"
    if len(names) > _MOST_LISTED:
        return "unknown key: docs/reference/settings.md lists all keys"
    return f"unknown key: the keys here are {', '.join(names)}"


def _sections_at(model: type[BaseModel], path: Iterable[int | str]) -> list[type[BaseModel]]:
    """The sections at the path of an error. For a list of several kinds, the section of the error's tag."""
    found = [model]
    for part in path:
        below = [one for section in found if part in section.model_fields
                 for one in sections_in(section.model_fields[str(part)].annotation)]  # fmt: skip
        if below:
            found = below
        elif isinstance(part, str):  # a tag
            found = [one for one in found if part in tags_of(one)] or found
    return found


def _all_keys(model: type[BaseModel], path: str) -> Iterator[str]:
    """Yield every key with its path. Keys inside lists are left out."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        if len(below := sections_in(field.annotation)) == 1 and field.get_default(call_default_factory=False):
            yield from _all_keys(below[0], f"{path}{name}.")


def _two_levels(values: Mapping[object, object]) -> Iterator[str]:
    for key, value in values.items():
        yield str(key)
        if isinstance(value, Mapping):
            yield from (f"{key}.{below}" for below in value)
