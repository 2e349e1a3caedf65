"""Which settings figures follow from: every command names them, and a file is tried before it is installed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from tests.cli.bad_world import LEDGER, Run, World
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world
from tests.conftest import ROOT
from tests.databases import make_tables
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.settings import Settings, SettingsError
from carbonbudget_operator.settings_defects import CHART_KEYS
from carbonbudget_operator.settings_sections import sections_in

DAYS = ("--from", "2025-11-10", "--to", "2025-11-11")
READING = [("allocate", *DAYS), ("report", *DAYS), ("factors",)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(made)
    make_tables(engine)
    engine.dispose()
    return made


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_prints_figures_names_its_settings(command: tuple[str, ...], url: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("carbon: {zone: DE}\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    named = CliRunner().invoke(app, [*command, "--ledger", url, "--config", str(file)]).stderr
    assert f"settings: {file} (sha256 {digest})\n" in named
    by_environment = CliRunner().invoke(app, [*command, "--ledger", url], env={"CARBONBUDGET_CONFIG": str(file)}).stderr
    assert f"settings: {file} (sha256 {digest})\n" in by_environment
    without = CliRunner().invoke(app, [*command, "--ledger", url]).stderr
    assert "settings: the defaults, without a file: the server's figures may differ, --config or CARB" in without


@pytest.mark.parametrize("name", [name for name in LEDGER if name.startswith("ledger ")])
def test_a_command_that_values_nothing_names_no_settings_of_figures(run: Run, world: World, name: str) -> None:
    target = "sqlite:///{new}" if name == "ledger restore" else "sqlite:///{ledger}"
    done = run([*LEDGER[name], "--ledger", target])
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("command", [("allocate", *DAYS), ("report", *DAYS), ("factors",)], ids=" ".join)
def test_an_answer_in_json_holds_its_settings(command: tuple[str, ...], url: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*command, "--ledger", url, "-o", "json"])
    assert json.loads(done.stdout)["settings"] == "the defaults, without a file"


@pytest.mark.parametrize("component", ["server", "controller", "admission"])
def test_the_pods_of_the_chart_name_their_settings_file_in_the_environment(component: str) -> None:
    text = (ROOT / f"charts/carbonbudget/templates/{component}.yaml").read_text(encoding="utf-8")
    assert "{name: CARBONBUDGET_CONFIG, value: /etc/carbonbudget/config/config.yaml}" in text


def test_a_file_that_can_be_used_is_printed_with_what_differs_from_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("carbon: {zone: DE, pue: 1.2}\nserver: {ledger: 'postgresql+psycopg://me:geheim@db/l'}\n")
    done = CliRunner().invoke(app, ["settings", "check", str(file)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == [
        "  server.ledger: postgresql+psycopg://me:***@db/l", "  carbon.zone: DE", "  carbon.pue: 1.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "key", ["server.listen", "controller.listen", "admission.listen", "web.listen", "web.metrics_listen"]
)
def test_an_address_to_listen_at_that_is_none_is_named(tmp_path: Path, key: str) -> None:
    file = tmp_path / "config.yaml"
    section, _, name = key.partition(".")
    file.write_text(json.dumps({section: {name: "8443"}}))
    done = CliRunner().invoke(app, ["settings", "check", str(file)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{key} must be ADDRESS:PORT, or :PORT for all addresses, not '8443'" in done.stderr


def test_a_key_in_a_source_of_intensities_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    source = {"type": "http", "name": "s", "url": "https://h", "value": "v", "time": "t", "basis": "lifecycle"}
    source |= {"headers": {"authorization": "Bearer geheim"}}
    file.write_text(json.dumps({"carbon": {"intensity": {"sources": [source]}}}))
    done = CliRunner().invoke(app, ["settings", "check", str(file)])
    assert (done.exit_code, "geheim" in done.output) == (0, False)
    assert (
        "carbon.intensity.sources: {name: s, type: http, url: set, headers: set, value: v, time: t, basis: lifecycle}"
        in done.stdout
    )


def test_the_config_map_that_helm_prints_is_checked_as_the_file_in_it(tmp_path: Path) -> None:
    def tried(held: str) -> str:
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yaml": held}}
        return yaml.safe_dump(config_map)

    good = CliRunner().invoke(app, ["settings", "check", "-"], input=tried("carbon: {zone: DE}"))
    assert (good.exit_code, "carbon.zone: DE" in good.stdout) == (0, True)
    bad = CliRunner().invoke(app, ["settings", "check", "-"], input=tried("carbon: {zone: mars-1}"))
    assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
    assert "stdin: carbon.zone: 'mars-1' is no grid zone of the bundled tables" in bad.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("carbon: {pue: 0.5}", "carbon.pue: must be at least 1"),
        ("carbon: {provider: acme}", "carbon.provider 'acme' is not known"),
        ("carbon: {market: {residual_mixes: [{zone: XX, g_per_kwh: 1, source: s, year: 2024}]}}", "'XX' is no grid"),
        (
            "carbon: {market: {attested_providers: [amazon]}}",
            "'amazon' is no provider with bundled claims: use some of aws, azure, gcp",
        ),
        (
            "carbon: {market: {attested_providers: [{value: []}, {valid_from: 2026-01-01, value: [aws, oci]}]}}",
            "'oci' is no provider with bundled claims",
        ),
        ("server: {listen: nowhere}", "listen must be ADDRESS:PORT, or :PORT"),
        ("server: {ledger: 'mysql://h/d'}", "not supported"),
        ("{kind: ConfigMap, data: {other: x}}", "has no data.config.yaml"),
    ],
)
def test_a_file_by_which_the_server_would_not_start_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["settings", "check", str(file)])
    said = done.stderr or str(done.exception)  # the entry point prints a SettingsError, with exit code 2
    assert sentence in said
    assert done.exit_code == 2 or isinstance(done.exception, SettingsError)


DATED = """
carbon:
  zone: DE
  pue: [{value: 1.4}, {valid_from: 2026-07-01, value: 1.2}]
  embodied: {life_years: [{value: 6}, {valid_from: 2026-08-01, value: 4}]}
  market:
    supplier: {g_per_kwh: 320.5, source: "Stadtwerke, invoice", year: 2024}
    attested_providers: [aws, gcp]
allocation:
  shared: {kube-system: {team-a: 1}}
"""


def test_a_dated_key_is_printed_with_all_its_values_and_any_other_key_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(DATED)
    assert CliRunner().invoke(app, ["settings", "check", str(file)]).stdout.splitlines()[1:] == [
        "  carbon.zone: DE",
        "  carbon.pue: 1.4",
        "  carbon.pue from 2026-07-01T00:00Z: 1.2",
        "  carbon.market.supplier: {g_per_kwh: 320.5, source: Stadtwerke, invoice, year: 2024}",
        "  carbon.market.attested_providers: aws, gcp",
        "  carbon.embodied.life_years: 6",
        "  carbon.embodied.life_years from 2026-08-01T00:00Z: 4 (the default)",
        "  allocation.shared: {kube-system: {team-a: 1}}",
    ]


OTHER_FILES = {
    "charts/carbonbudget/values.yaml": "these are values of the Helm chart",
    "examples/01-first-budget/budget.yaml": "this is a Kubernetes manifest of kind CarbonBudget",
    "examples/10-demo/budgets.yaml": "this is a Kubernetes manifest of kind CarbonBudget",
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_of_another_kind_is_answered_in_one_sentence_with_what_to_give(name: str) -> None:
    done = CliRunner().invoke(app, ["settings", "check", str(ROOT / name)])
    said = str(done.exception)
    assert said.startswith(f"{ROOT / name}: {OTHER_FILES[name]}")
    assert "not a settings file: " in said
    assert "\n" not in said


def test_the_keys_that_tell_values_of_the_chart_are_those_that_only_the_chart_has() -> None:
    values = yaml.safe_load((ROOT / "charts/carbonbudget/values.yaml").read_text(encoding="utf-8"))
    sections = Settings.model_fields
    chart = {key for key in values if key not in sections}
    for key in values.keys() & sections.keys():
        own = {name for one in sections_in(sections[key].annotation) for name in one.model_fields}
        if isinstance(values[key], dict):
            chart |= {f"{key}.{below}" for below in values[key] if below not in own}
    assert chart == CHART_KEYS
