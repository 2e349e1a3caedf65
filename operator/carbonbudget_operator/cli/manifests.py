"""Reads manifests and returns their objects that create pods, for `carbonbudget check`. Pure: texts in, objects out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from carbonbudget_core.jsons import mapping, text
from carbonbudget_operator.api.wire_names import EXEMPT_LABEL, EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.strict_yaml import StrictLoader, yaml_defect

JsonObject = dict[str, object]
# Tried whatever their manifest says: one whose template is misspelt would otherwise pass for one without pods.
_MAKERS: Final = {
    "v1": ("Pod", "ReplicationController"),
    "batch/v1": ("Job", "CronJob"),
    "apps/v1": ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"),
}
# A text of 16 MiB has fewer; aliases can make a billion of one kilobyte. _LETTERS of texts and keys count as one more.
_MOST_VALUES: Final = 5_000_000
_LETTERS: Final = 4
_MAX_DEPTH: Final = 12  # of the way to a pod template; the deepest known is a List of a custom kind's five


class ManifestError(ValueError):
    """A text that holds no Kubernetes objects; one line says where and why."""


@dataclass(frozen=True, slots=True)
class ManifestObject:
    """An object to try. `made_by` names the CronJob that would make it."""

    source: str
    manifest: JsonObject
    made_by: str = ""

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.manifest["kind"])

    @property
    def api_version(self) -> str:
        """The object's API group and version."""
        return str(self.manifest["apiVersion"])

    @property
    def name(self) -> str:
        """The object's name; empty where the API server would make one."""
        return text(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        """The namespace that it names; empty for none."""
        return text(self.metadata.get("namespace"))

    @property
    def metadata(self) -> Mapping[str, object]:
        """The object's metadata."""
        return mapping(self.manifest.get("metadata"))

    @property
    def title(self) -> str:
        """KIND/NAME as people read it."""
        if self.made_by:
            return f"{self.kind} of {self.made_by}"
        return f"{self.kind}/{self.name or text(self.metadata.get('generateName')) + '*'}"


class _Loader(StrictLoader):
    """YAML as kubectl reads it: a date is a text, JSON knows none; and 22:22 is no number to base 60."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call] # PyYAML's stubs leave it out
        plain = kind is yaml.ScalarNode and implicit[0]
        return self.DEFAULT_SCALAR_TAG if plain and (tag in _DATES or (tag in _NUMBERS and ":" in value)) else tag


_DATES: Final = frozenset({"tag:yaml.org,2002:timestamp"})
_NUMBERS: Final = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


def read_manifests(text: str, source: str) -> list[ManifestObject]:
    """All objects of a YAML or JSON text, Lists taken apart, in their order.

    Raises:
        ManifestError: not YAML, or not objects with apiVersion and kind.
    """
    entries: list[ManifestObject] = []
    try:
        for number, document in enumerate(yaml.load_all(text, _Loader), 1):
            if document is not None:
                if _size(document, {}) > _MOST_VALUES:
                    raise ManifestError(
                        f"{source} has more than {_MOST_VALUES:,} values with its aliases (*name) resolved"
                    )
                where = source if number == 1 else f"{source}, document {number}"
                entries += [ManifestObject(where, one) for one in _objects(json.loads(json.dumps(document)), where)]
    except yaml.YAMLError as error:
        raise ManifestError(f"{source} is no YAML: {yaml_defect(error)}") from None
    except RecursionError:
        raise ManifestError(f"{source} is nested too deeply, or has an alias (*name) inside of itself") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{source} holds what JSON cannot: {' '.join(str(error).split())}") from None
    return entries


def to_try(entries: list[ManifestObject]) -> tuple[list[ManifestObject], list[ManifestObject]]:
    """What makes pods, each CronJob followed by a Job such as it would make; and what makes none."""
    tried: list[ManifestObject] = []
    others: list[ManifestObject] = []
    for entry in entries:
        if not makes_pods(entry):
            others.append(entry)
            continue
        tried.append(entry)
        if entry.kind == "CronJob" and (job := job_of(entry)) is not None:
            tried.append(job)
    return tried, others


def makes_pods(entry: ManifestObject) -> bool:
    """Whether its kind always does, or it has a pod template somewhere; a PodTemplate by itself makes none."""
    if entry.kind in ("PodTemplate", "CustomResourceDefinition"):
        return False
    return entry.kind in _MAKERS.get(entry.api_version, ()) or any(_templates(entry.manifest.get("spec"), _MAX_DEPTH))


def unread_duration(entry: ManifestObject) -> str:
    """What it states as its duration and is none; empty where that is read or nothing is stated.

    As the webhook reads it: on the object, else on its pod template. A CronJob's is its Job's.
    """
    if entry.kind == "CronJob":
        return ""
    templates = (mapping(one.get("metadata")) for one in _templates(entry.manifest.get("spec"), _MAX_DEPTH))
    own = _stated(entry.metadata)
    written = [own] if own.strip() else [text for text in map(_stated, templates) if text.strip()]
    return next((text for text in written if not duration_s(text)), "")


def _stated(metadata: Mapping[str, object]) -> str:
    return text(mapping(metadata.get("annotations")).get(EXPECTED_DURATION_ANNOTATION))


def job_of(entry: ManifestObject) -> ManifestObject | None:
    """A Job as the CronJob would make it; None if its template is exempt, so that budgets do not apply to its Jobs.

    It names the CronJob as its controller, as a real one would, so that earlier runs are found.
    """
    template = mapping(mapping(entry.manifest.get("spec")).get("jobTemplate"))
    given = mapping(template.get("metadata"))
    if mapping(given.get("labels")).get(EXEMPT_LABEL) == "true":
        return None
    owner = {"apiVersion": entry.api_version, "kind": "CronJob", "name": entry.name, "controller": True}
    metadata: JsonObject = {"generateName": f"{entry.name[:52]}-"} | {
        key: given[key] for key in ("labels", "annotations") if key in given
    }
    if entry.namespace:
        metadata["namespace"] = entry.namespace
    if entry.name:
        # The API server wants a uid and looks it up nowhere: this Job is never stored.
        metadata["ownerReferences"] = [owner | {"uid": str(uuid.UUID(int=0))}]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template.get("spec") or {}}
    return ManifestObject(entry.source, job, made_by=f"CronJob/{entry.name}")


def _size(value: object, known: dict[int, int]) -> int:
    """How many values it has, with those that several aliases share counted for each of them."""
    if isinstance(value, str):
        return 1 + len(value) // _LETTERS
    if not isinstance(value, dict | list):
        return 1
    size = known.get(id(value))
    if size is None:
        parts: Iterable[object] = value
        if isinstance(value, dict):
            parts = value.values()
            size = sum(len(key) // _LETTERS for key in value if isinstance(key, str))
        size = known[id(value)] = 1 + (size or 0) + sum(_size(one, known) for one in parts)
    return size


def _objects(value: object, where: str) -> Iterator[JsonObject]:
    if not isinstance(value, dict):
        raise ManifestError(f"{where} is no Kubernetes object: it needs apiVersion and kind")
    items = value.get("items")
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        for number, item in enumerate(items, 1):
            yield from _objects(item, f"{where}, item {number}")
        return
    for key in ("apiVersion", "kind"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise ManifestError(f"{where} is no Kubernetes object: {key} is missing")
    yield value


def _templates(value: object, depth: int) -> Iterator[Mapping[str, object]]:
    """The pod templates in it, wherever they are."""
    if depth == 0:
        return
    if isinstance(value, list):
        for one in value:
            yield from _templates(one, depth - 1)
        return
    fields = mapping(value)
    template = mapping(fields.get("template"))
    if isinstance(mapping(template.get("spec")).get("containers"), list):
        yield template
    for one in fields.values():
        yield from _templates(one, depth - 1)
