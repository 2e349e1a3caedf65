"""During an upgrade a process of one version may start with the settings file that another version's chart wrote."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT
from tests.settings.test_settings import write

from carbonbudget_operator.settings import Settings, SettingsError, load_settings, parse_settings

OWN = metadata.version("carbonbudget")
NEWS = "sever_rooms: 3\nserver: {max_node_watts: 5, newer: 1}\ncarbon: {zone: DE, newest: {a: 1}}\n"


def written_by(version: str, text: str = NEWS) -> str:
    return f"written_by: '{version}'\n{text}"


def test_unknown_keys_of_another_version_are_logged_once_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load_settings(write(tmp_path, written_by("9.0.0")), {})
    assert settings.server.max_node_watts == 5
    assert settings.carbon.at(0).zone == "DE"
    (line,) = caplog.messages
    assert f"version 9.0.0 wrote this file, and this is version {OWN}" in line
    assert line.endswith("are ignored: server.newer, carbon.newest, sever_rooms")
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize("text", [NEWS, written_by(""), written_by(OWN)], ids=["no version", "empty", "own version"])
def test_an_unknown_key_of_the_own_version_stops_the_process(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, text), {})
    assert str(error.value).count("unknown key") == 3
    assert "wrote this file" not in str(error.value)


def test_known_keys_of_another_version_are_checked_as_ever(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, written_by("9.0.0", "server: {newer: 1, pod_days: none}\n")), {})
    assert str(error.value).endswith("config.yaml: server.pod_days: must be a whole number")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("carbon: {pue: [{value: 1.4}, {valid_from: 2026-07-01, value: 1.2}], newer: 1}", "carbon.newer"),
        ("carbon: {market: {supplier: [{value: {g_per_kwh: 1, source: s, year: 2026, newer: 1}}]}}", "newer"),
        ("carbon: {intensity: {sources: [{type: neso, name: neso, newer: 1}]}, basis: direct}", "newer"),
        ("exports: [{kind: remoteWrite, name: a, url: 'https://a/write', newer: 1}]", "newer"),
        ("units: {newer: 1}", "units.newer"),
        ("web: {newer: 1}", "web.newer"),
        ("allocation: {newer: 1}", "allocation.newer"),
    ],
)
def test_unknown_keys_are_ignored_wherever_they_are(
    tmp_path: Path, text: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SettingsError, match="unknown key"):
        load_settings(write(tmp_path, text), {})
    load_settings(write(tmp_path, written_by("9.0.0", text)), {})
    assert len(caplog.messages) == 1
    assert key in caplog.messages[0]


def test_every_section_forbids_what_it_does_not_know_and_lets_another_version_pass(tmp_path: Path) -> None:
    """The kind: each section that a file can have, by its default."""
    for name, section in Settings.model_fields.items():
        if name in ("written_by", "cluster", "exports"):
            continue
        text = f"{name}: {{quite_new: 1}}"
        assert section is not None
        with pytest.raises(SettingsError, match="unknown key"):
            load_settings(write(tmp_path, text), {})
        assert isinstance(load_settings(write(tmp_path, written_by("9.0.0", text)), {}), Settings)


def test_the_check_of_a_file_stays_strict_and_names_the_version_that_wrote_it() -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(written_by("9.0.0").encode(), "config.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert lines[-1] == (
        f"config.yaml: version 9.0.0 wrote this file, and this is version {OWN}: check it by the image of the version "
        "that wrote it"
    )


def test_many_unknown_keys_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_settings(write(tmp_path, written_by("9.0.0", "".join(f"new_{i}: 1\n" for i in range(30)))), {})
    assert caplog.messages[0].endswith(" and 10 more")


def test_the_chart_writes_its_version_first_which_is_that_of_its_processes() -> None:
    chart = ROOT / "charts" / "carbonbudget"
    assert yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"] == OWN
    template = (chart / "templates" / "config.yaml").read_text().partition("config.yaml: |\n")[2]
    assert template.splitlines()[0].strip() == "written_by: {{ toJson .Chart.AppVersion }}"
