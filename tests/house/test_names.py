"""A name says which thing is meant: no public class and no module is called as another one is."""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# The distributions' own code; a folder that does not exist holds nothing.
PACKAGES = (
    "agent/carbonbudget_agent",
    "operator/carbonbudget_operator",
    "core/carbonbudget_core",
    "client/carbonbudget",
)

# Modules that hold the same kind of thing, each for its own package.
SAME_KIND = {
    "__init__": "what a package is for",
    "app": "the HTTP application of one process: routes and their order",
    "metrics": "the Prometheus metrics of one process",
    "run": "starts one process and connects its parts",
}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def classes(source: str, path: str) -> Iterator[tuple[str, str]]:
    """The public classes of a module, with the place of each. A class inside a function is not public."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"{path}:{node.lineno}"


def test_no_public_class_has_the_name_of_another() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for name, place in classes(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))):
            places[name].append(place)
    assert len(places) > 100, "the packages were not found"
    assert repeated(places) == {}


def module_places() -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        places[path.stem].append(str(path.relative_to(ROOT)))
    return places


def test_no_module_has_the_name_of_another_of_a_different_kind() -> None:
    assert {name: found for name, found in repeated(module_places()).items() if name not in SAME_KIND} == {}


@pytest.mark.parametrize("name", SAME_KIND)
def test_a_name_that_may_stand_twice_does(name: str) -> None:
    """Else its line in SAME_KIND would let a later module take the name unseen."""
    assert name in repeated(module_places())


def test_a_class_inside_a_function_and_a_private_one_are_not_counted() -> None:
    source = "class A: pass\nclass _B: pass\ndef f():\n    class A: pass\n"
    assert list(classes(source, "m.py")) == [("A", "m.py:1")]


def test_each_error_that_a_docstring_names_exists() -> None:
    texts = [path.read_text(encoding="utf-8") for path in modules()]
    known = {name for text in texts for name in re.findall(r"(?m)^class (\w+)", text)} | set(dir(builtins))
    named = {name for text in texts for name in re.findall(r"Raises:?\s+([A-Z]\w+)", text)}
    assert named - known - {"ValidationError", "SQLAlchemyError"} == set()  # of pydantic and SQLAlchemy


# A rename by a script once wrote a class's name where the docstring had an ordinary word: "WorkCounters how often ...".
OBJECT = r"(?:how|the|a|an|each|all|every|whether|which|what|when|where|who|whose)"


def name_as_verb(source: str, known: set[str]) -> list[str]:
    """Sentences of docstrings and comments that begin with the name of a class and go on as after a verb."""
    found = re.finditer(rf'(?:"""|# |[.;:] )(([A-Z][a-z]+[A-Z]\w*) {OBJECT}\b.*)', source)
    return [match[1] for match in found if match[2] in known]


def test_no_sentence_has_the_name_of_a_class_as_its_verb() -> None:
    files = [path for folder in ("agent", "operator", "core", "client", "hack", "benchmarks", "tests")
             for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]  # fmt: skip
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    known = {name for text in texts.values() for name in re.findall(r"(?m)^\s*class _?(\w+)", text)}
    assert len(known) > 100, "the packages were not found"
    found = {str(path.relative_to(ROOT)): name_as_verb(text, known) for path, text in texts.items()}
    assert {path: sentences for path, sentences in found.items() if sentences} == {}


def test_a_class_that_a_sentence_is_about_is_no_verb() -> None:
    source = '"""WorkCounters how often it failed."""\n# NodeReport is read. NodeReport the one.\n'
    assert name_as_verb(source, {"WorkCounters", "NodeReport"}) == [
        'WorkCounters how often it failed."""',
        "NodeReport the one.",
    ]
