"""The documentation is whole: every command, metric and setting stands in it, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = [path for tree in ("core", "agent", "operator") for path in (ROOT / tree).rglob("*.py")]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def metric_names() -> set[str]:
    """Names as the code gives them; the agent's health counters are put together from a table."""
    names: set[str] = set()
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        names |= set(
            re.findall(
                r'"(carbonbudget_(?:admission|pod_|node_|agent_[a-z]|ingest|ledger|intensity|export|enforcement|evaluation|query|budget_|patches|watch|certificate)'
                r'[a-z_]*)"',
                text,
            )
        )
    exporter = (ROOT / "agent/carbonbudget_agent/exporter.py").read_text(encoding="utf-8")
    return names | {
        f"carbonbudget_agent_{name}"
        for name in re.findall(r'\("([a-z_]+)", "[A-Z]', exporter)
        if not name.startswith("carbonbudget_")
    }


def test_every_metric_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    names = metric_names()
    assert len(names) > 20
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_command_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    commands = [str(command.name) for command in app.registered_commands]
    assert set(commands) >= {"server", "controller", "admission", "allocate"}
    assert [name for name in commands if f"carbonbudget {name}" not in page] == []


def test_the_reference_names_every_command_that_asks_a_server() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"^(`.*`) with all their subcommands ask, in this order:", page, re.MULTILINE)
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    asks = {
        name
        for name, command in group.commands.items()
        for one in (command, *getattr(command, "commands", {}).values())
        if {"server_url", "kubeconfig", "ledger"} <= {parameter.name for parameter in one.params}
    }
    assert set(re.findall(r"`(\w+)`", named)) == asks


def sentences(schema: object) -> set[str]:
    """Of every rule in a CRD, however deep."""
    if isinstance(schema, list):
        return set().union(*map(sentences, schema))
    if not isinstance(schema, dict):
        return set()
    own = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
    return own.union(*map(sentences, schema.values()))


@pytest.mark.parametrize("kind", ["carbonbudget", "clustercarbonbudget"])
def test_every_rule_of_a_budget_is_in_its_reference(kind: str) -> None:
    crd = yaml.safe_load((ROOT / f"charts/carbonbudget/files/crds/carbonbudget.dev_{kind}s.yaml").read_text("utf-8"))
    page = (ROOT / f"docs/reference/{kind}.md").read_text(encoding="utf-8")
    assert len(sentences(crd)) > 10
    assert {sentence for sentence in sentences(crd) if sentence not in page} == set()
    assert "- `enforce.grace`: grace must be" in page


def test_every_configuration_on_the_intensity_page_is_accepted() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/intensity.md").read_text(encoding="utf-8"), re.DOTALL)
    kinds = []
    for block in blocks:
        carbon = yaml.safe_load(block)["carbon"]
        carbon.pop("keysSecret", None)
        by_time = Settings.model_validate({"carbon": carbon}).carbon.values
        kinds += [source.type for its in by_time for source in its.intensity.sources]
    assert sorted(kinds) == ["electricityMaps", "http", "http", "neso", "static", "static", "static"]


def test_every_value_of_the_chart_is_in_its_schema_and_explained() -> None:
    text = (ROOT / "charts/carbonbudget/values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    assert set(values) == {
        "cluster", "windowSeconds", "logFormat", "carbon", "allocation", "enforcement", "images", "agent", "server",
        "exports", "controller", "admission", "web", "certificates", "networkPolicy", "monitoring",
        "reports", "tracking", "units",
    }  # fmt: skip
    for section in ("carbon", "allocation", "enforcement", "certificates", "networkPolicy", "monitoring"):
        for key in values[section]:
            assert re.search(rf"  # .*\n(  #.*\n)*  {key}:", text), f"{section}.{key} has no comment above it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_that_the_readme_names_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"make ([a-z-]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(targets)


def test_the_readme_installs_the_images_that_it_pushed_with_values_that_the_chart_has() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    values = yaml.safe_load((ROOT / "charts/carbonbudget/values.yaml").read_text(encoding="utf-8"))
    given = dict(re.findall(r"--set ([\w.]+)=([^\s`]+)", readme))
    for key in given:
        section = values
        for part in key.split("."):
            assert part in section, f"the chart has no value {key}"
            section = section[part]
    pushed = re.search(r"skopeo copy docker-archive:\S+/(\S+)-\$name\.tar docker://(REGISTRY/\S+)-\$name:(\S+)", readme)
    assert pushed is not None
    for name in ("agent", "operator"):
        image = (f"{pushed[2]}-{name}", pushed[3])
        assert (given[f"images.{name}.repository"], given[f"images.{name}.tag"]) == image
        assert f"FROM python AS {pushed[1]}-{name}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_what_an_uninstall_keeps_is_removed_by_the_commands_of_the_page() -> None:
    """`kubectl delete crd` with all of ours and no other."""
    page = (ROOT / "docs/switch-off.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"`kubectl delete crd ([^`]+)`", page)
    made = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "crds").glob("*.yaml")]
    assert sorted(named.split()) == sorted(crd["metadata"]["name"] for crd in made)


def test_no_page_installs_from_an_index_what_is_in_none() -> None:
    """Somebody else could take the name there."""
    examples = [path for ending in ("md", "yaml", "yml", "py") for path in (ROOT / "examples").rglob(f"*.{ending}")]
    client = [path for ending in ("md", "py") for path in (ROOT / "client").rglob(f"*.{ending}")]
    for page in (*PAGES, *CODE, *client, *examples):
        assert not re.search(r"pip install [\w '\"-]*carbonbudget", page.read_text(encoding="utf-8")), page
