"""The settings file: what is wrong in it stops the start with file, key and reason."""

from pathlib import Path

import pytest

from carbonbudget_operator.settings import SettingsError, load_settings


def write(path: Path, text: str) -> Path:
    file = path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings(None, {}).server.max_node_watts == 20_000


def test_an_option_wins_over_the_file_and_an_absent_one_does_not(tmp_path: Path) -> None:
    file = write(tmp_path, "server: {listen: '0.0.0.0:1', max_node_watts: 5}\n")
    settings = load_settings(file, {"server": {"listen": "0.0.0.0:2", "max_node_watts": None}})
    assert settings.server.listen == "0.0.0.0:2"
    assert settings.server.max_node_watts == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sever: {}", "config.yaml: sever: unknown key: did you mean server?"),
        ("server: {lissten: x}", "config.yaml: server.lissten: unknown key: did you mean listen?"),
        ("carbon: {pue: 0.5}", "config.yaml: carbon.pue: must be at least 1"),
        ("carbon: {basis: guess}", "config.yaml: carbon.basis: must be 'lifecycle' or 'direct'"),
        (
            "carbon: {tariff: -0.3, currency: EUR}",
            "config.yaml: carbon.tariff: must be at least 0",
        ),
        (
            "carbon: {price: 50}",
            "config.yaml: carbon: a price or tariff needs carbon.currency, for example EUR",
        ),
        (
            "controller: {window_seconds: 60, fresh_for_seconds: 239}",
            "config.yaml: controller: fresh_for_seconds is 239 and must be at least 240, four times "
            "window_seconds: else blocks end before they are renewed",
        ),
        ("- a", "must be a mapping"),
        ("a: [", "is no YAML: line 1, column 5: expected"),
        ("a: " + "[" * 5_000, "is no YAML"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "is no YAML: it has too many levels"),
        (
            "cluster: a\nserver: {}\ncluster: b",
            "line 3, column 1: the key 'cluster' occurs twice in one mapping, first in line 1",
        ),
        ("server:\n  listen: a\n  pod_days: 3\n  listen: b", "'listen' occurs twice in one mapping, first in line 2"),
        (
            "carbon: {embodied: {in_service: 2026-13-01}}",
            "line 1, column 33: 2026-13-01 is no date: put a text in quotes",
        ),
        ("cluster: 0x_", "line 1, column 10: 0x_ is no number: put a text in quotes"),
        ("cluster: 1" + ":59" * 300_000 + ".5", "a number has more than 100 characters: put a text in quotes"),
    ],
)
def test_a_bad_file_is_named_with_key_and_reason(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence.replace(".", r"\.").replace(r"\.*", ".*")):
        load_settings(write(tmp_path, text), {})


@pytest.mark.parametrize("section", ["[1, 2]", "text", "5", "false", "[]"])
@pytest.mark.parametrize("name", ["server", "carbon"])
def test_a_section_that_is_no_mapping_is_refused_with_and_without_options(
    tmp_path: Path, name: str, section: str
) -> None:
    for overrides in ({}, {name: {}}, {name: {"listen": None}}):
        with pytest.raises(SettingsError, match=rf"config\.yaml: {name}: "):
            load_settings(write(tmp_path, f"{name}: {section}"), overrides)


def test_a_key_that_comes_by_a_merge_is_not_there_twice(tmp_path: Path) -> None:
    text = "server: &a {listen: x}\ncontroller: {<<: *a, listen: y}\nadmission: {<<: *a}"
    settings = load_settings(write(tmp_path, text), {})
    assert (settings.controller.listen, settings.admission.listen) == ("y", "x")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml", {})


def test_every_defect_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, "carbon: {pue: 9, basis: x}"), {})
    assert str(error.value).count("\n") == 1


@pytest.mark.parametrize(("window_s", "fresh_s"), [(60, 240), (10, 60)])
def test_a_block_may_outlive_its_renewal_by_four_windows_and_no_less(window_s: int, fresh_s: int) -> None:
    given = {"controller": {"window_seconds": window_s, "fresh_for_seconds": fresh_s}}
    assert load_settings(None, given).controller.fresh_for_seconds == fresh_s


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("carbon: {market: {suplier: 1}}", "carbon.market.suplier: unknown key: did you mean supplier?"),
        (
            "carbon: {suplier: 1, pue: [{value: 1.1}, {valid_from: 2026-01-01, value: 1.2}]}",
            "carbon.suplier: unknown key: did you mean carbon.market.supplier?",
        ),
        ("zone: DE", "zone: unknown key: did you mean carbon.zone?"),
        (
            "enforcement: {resumeJitter: 3}",
            "enforcement.resumeJitter: unknown key: did you mean resume_jitter_seconds?",
        ),
        (
            "carbon: {intensity: {sources: [{type: neso, timeout_second: 1}]}}",
            "carbon.intensity.sources.0.neso.timeout_second: unknown key: did you mean timeout_seconds?",
        ),
        (
            "carbon: {embodied: {x: 1}}",
            "carbon.embodied.x: unknown key: the keys here are gpu_kg, host_threads, in_service, life_years, server_kg",
        ),
        ("server: {qqqqqqq: 1}", "server.qqqqqqq: unknown key: docs/reference/settings.md lists all keys"),
    ],
)
def test_an_unknown_key_is_answered_with_the_key_that_is_meant(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, text), {})
    assert sentence in str(error.value)
