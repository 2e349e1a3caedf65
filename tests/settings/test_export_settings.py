"""Settings of exports: what is wrong is said with the key, before the first hour would be lost."""

from __future__ import annotations

import json

import pytest

from carbonbudget_operator.export_settings import InfluxTargetSettings, RemoteWriteTargetSettings
from carbonbudget_operator.exports.export_target_http import write_url
from carbonbudget_operator.line_protocol_text import tag_name
from carbonbudget_operator.settings import SettingsError, parse_settings

V1 = {"name": "a", "kind": "influx", "url": "https://influx.example.org:8086/", "database": "carbon"}
V2 = {"name": "b", "kind": "influx", "url": "https://influx.example.org/base", "org": "o", "bucket": "carbon"}
WRITE = {"name": "c", "kind": "remoteWrite", "url": "https://prometheus.example.org/api/v1/write"}


def parse(*targets: object) -> list[InfluxTargetSettings | RemoteWriteTargetSettings]:
    return parse_settings(json.dumps({"exports": targets}).encode(), "f").exports


def test_without_exports_nothing_is_sent() -> None:
    assert parse_settings(b"{}", "f").exports == []


def test_each_kind_has_its_address() -> None:
    first, second, third = parse(V1, V2, WRITE)
    assert isinstance(first, InfluxTargetSettings)
    assert isinstance(second, InfluxTargetSettings)
    assert write_url(first) == "https://influx.example.org:8086/write"
    assert write_url(second) == "https://influx.example.org/base/api/v2/write"
    assert third.url == "https://prometheus.example.org/api/v1/write"
    assert (first.timeout_seconds, first.batch_rows, first.backfill_days, first.labels) == (10, 5000, 35, [])


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (V1 | {"bucket": "x"}, "set either database (InfluxDB 1) or bucket (InfluxDB 2 and later)"),
        ({k: v for k, v in V1.items() if k != "database"}, "set either database (InfluxDB 1) or bucket"),
        (V1 | {"org": "x"}, "org belongs to bucket, and database is set: remove one of them"),
        (V2 | {"retention_policy": "x"}, "retention_policy belongs to database, and bucket is set"),
        (V1 | {"url": "https://x.example.org/write"}, "leave out /write and /api/v2, which are added"),
        (V1 | {"url": "influx.example.org:8086"}, "is no URL of the form https://HOST:PORT/PATH"),
        (V1 | {"url": "ftp://influx.example.org"}, "is no URL of the form https://HOST:PORT/PATH"),
        (V1 | {"url": "https://"}, "is no URL of the form https://HOST:PORT/PATH"),
        (V1 | {"url": "https://a:b"}, "is no URL of the form https://HOST:PORT/PATH"),
        (V1 | {"url": "https://[::1"}, "is no URL of the form https://HOST:PORT/PATH"),
        (V1 | {"url": "https://a b"}, "is no URL of the form https://HOST:PORT/PATH"),
        (
            V1 | {"url": "https://u:secret@x.example.org"},
            "has a user or password in it: use username and password_file",
        ),
        (V1 | {"url": "https://x.example.org?db=y"}, "has a ? or # in it: give database, org, bucket"),
        (WRITE | {"username": "u"}, "username and password_file belong together: set both or neither"),
        (WRITE | {"password_file": "/p"}, "username and password_file belong together: set both or neither"),
        (WRITE | {"username": "u", "password_file": "/p", "token_file": "/t"}, "username and token_file are both set"),
        (WRITE | {"labels": ["a.b", "a/b"]}, "two labels become the same tag: remove one of them"),
        (WRITE | {"labels": [str(n) for n in range(11)]}, "exports.0.remoteWrite.labels: "),
        (WRITE | {"tenant": "a\nb"}, "exports.0.remoteWrite.tenant: "),
        (WRITE | {"name": "Upper"}, "exports.0.remoteWrite.name: "),
        (WRITE | {"name": "x" * 64}, "exports.0.remoteWrite.name: "),
        (WRITE | {"database": "x"}, "exports.0.remoteWrite.database: unknown key"),
        (WRITE | {"kind": "graphite"}, "exports.0: "),
        (WRITE | {"timeout_seconds": 0}, "exports.0.remoteWrite.timeout_seconds: "),
        (WRITE | {"batch_rows": 1}, "exports.0.remoteWrite.batch_rows: "),
        (WRITE | {"backfill_days": -1}, "exports.0.remoteWrite.backfill_days: "),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(target: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(target)
    (line,) = str(error.value).splitlines()
    assert line.startswith("f: exports.0")
    assert sentence in line
    assert "secret" not in line


def test_two_targets_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="two exports are named a: give each another name"):
        parse(V1, WRITE | {"name": "a"})


@pytest.mark.parametrize(
    ("label", "tag"),
    [("team", "label_team"), ("app.kubernetes.io/name", "label_app_kubernetes_io_name"), ("a-b", "label_a_b")],
)
def test_a_label_s_tag_is_a_name_that_prometheus_takes(label: str, tag: str) -> None:
    assert tag_name(label) == tag
