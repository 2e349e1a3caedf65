"""Settings of exports: the targets that closed hours are sent to, and how each of them is addressed.

The module `settings.py` includes them as `exports`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from carbonbudget_operator.intensity_settings import SettingsSection
from carbonbudget_operator.line_protocol_text import tag_name

Label = Annotated[str, Field(min_length=1, max_length=317)]


class ExportTargetSettings(SettingsSection):
    """What every target has."""

    name: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Its name in the ledger and the metrics. A target under another name gets all hours again.",
    )
    ca: Path | None = Field(None, description="PEM CA of the target's certificate; empty: the system's.")
    username: str = Field("", max_length=256, description="User of basic authentication, with password_file.")
    password_file: Path | None = Field(None, description="File with the password, from a Secret; read at each request.")
    token_file: Path | None = Field(None, description="File with the token, from a Secret; read at each request.")
    tenant: str = Field(
        "", pattern=r"^[!-~]{0,150}$", description="Value of the header X-Scope-OrgID, for Mimir, Thanos and Cortex."
    )
    labels: list[Label] = Field(
        [], max_length=10, description="Labels of pods that become tags; each value multiplies the target's series."
    )
    backfill_days: int = Field(
        35, ge=0, le=2600, description="Days before the first start of this target from which hours are sent."
    )
    timeout_seconds: float = Field(10, gt=0, le=60, description="Limit for one request with its answer.")
    batch_rows: int = Field(5000, ge=100, le=50_000, description="Most rows in one request.")

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> ExportTargetSettings:
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file belong together: set both or neither")
        if self.username and self.token_file:
            raise ValueError("username and token_file are both set: a request can carry one of them, so remove one")
        if len({tag_name(label) for label in self.labels}) < len(self.labels):
            raise ValueError(
                "two labels become the same tag: remove one of them (all but letters and digits becomes _)"
            )
        return self

    @field_validator("url", check_fields=False)
    @classmethod
    def _plain_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            is_plain = parts.port != 0 and parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_plain = False
        if not is_plain or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("is no URL of the form https://HOST:PORT/PATH")
        if parts.username is not None or parts.password is not None:
            raise ValueError("has a user or password in it: use username and password_file, because URLs are logged")
        if parts.query or parts.fragment:
            raise ValueError("has a ? or # in it: give database, org, bucket or a token by their own settings")
        return url.rstrip("/")


class InfluxTargetSettings(ExportTargetSettings):
    """An InfluxDB, or another database that takes line protocol."""

    kind: Literal["influx"] = Field("influx", description="Line protocol, by InfluxDB's v1 or v2 address.")
    url: str = Field(description="Start of the URL: /write is added for a database, /api/v2/write for a bucket.")
    database: str = Field("", max_length=256, description="Database, for the v1 address.")
    retention_policy: str = Field("", max_length=256, description="Its retention policy; empty: the default one.")
    org: str = Field("", max_length=256, description="Organization, for the v2 address.")
    bucket: str = Field("", max_length=256, description="Bucket, for the v2 address.")

    @model_validator(mode="after")
    def _one_address(self) -> InfluxTargetSettings:
        if bool(self.database) == bool(self.bucket):
            raise ValueError("set either database (InfluxDB 1) or bucket (InfluxDB 2 and later)")
        if self.database and self.org:
            raise ValueError("org belongs to bucket, and database is set: remove one of them")
        if self.bucket and self.retention_policy:
            raise ValueError("retention_policy belongs to database, and bucket is set: remove one of them")
        if self.url.endswith(("/write", "/api/v2")):
            raise ValueError("url is the start of the address: leave out /write and /api/v2, which are added")
        return self


class RemoteWriteTargetSettings(ExportTargetSettings):
    """A Prometheus, or another receiver of Prometheus remote write 1.0."""

    kind: Literal["remoteWrite"] = Field("remoteWrite", description="Prometheus remote write 1.0.")
    url: str = Field(description="The whole URL, for Prometheus https://HOST:PORT/api/v1/write.")


AnyExportTarget = Annotated[InfluxTargetSettings | RemoteWriteTargetSettings, Field(discriminator="kind")]
