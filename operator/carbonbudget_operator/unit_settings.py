"""Settings of units: the Prometheus that the server asks for the counters of targets.

The module `settings.py` includes them as `units`.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from carbonbudget_operator.intensity_settings import SettingsSection

_LABEL = r"^[a-zA-Z_][a-zA-Z0-9_]{0,126}$"
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_OURS = frozenset({"authorization", "host", "content-length", "content-type", "accept-encoding", "transfer-encoding"})
_OF_A_STORE = ("ca", "username", "password_file", "token_file", "tenant", "headers")  # without one they do nothing


class UnitSettings(SettingsSection):
    """Where the counters of targets are read: Prometheus, Thanos, Mimir, VictoriaMetrics (docs/units.md)."""

    url: str = Field(
        "", description="URL of Prometheus, without /api/v1; empty: units are counted by the client library alone."
    )
    ca: Path | None = Field(None, description="PEM CA of its certificate; empty: the system's.")
    username: str = Field("", max_length=256, description="User of basic authentication, with password_file.")
    password_file: Path | None = Field(None, description="File with the password, from a Secret; read at each request.")
    token_file: Path | None = Field(
        None, description="File with the bearer token, from a Secret; read at each request."
    )
    tenant: str = Field(
        "", pattern=r"^[!-~]{0,150}$", description="Value of the header X-Scope-OrgID, for Mimir, Thanos and Cortex."
    )
    headers: dict[str, str] = Field({}, max_length=8, description="More request headers that are no secrets.")
    namespace_label: str = Field(
        "namespace", pattern=_LABEL, description="Label of a pod's namespace, which Prometheus itself must set."
    )
    pod_label: str = Field(
        "pod", pattern=_LABEL, description="Label of a pod's name, which Prometheus itself must set."
    )
    lookback_seconds: int = Field(
        3600, ge=300, le=21_600,
        description="Longest gap between two samples that is bridged; growth over a longer one is not counted.",
    )  # fmt: skip
    delay_seconds: int = Field(
        300, ge=60, le=21_600,
        description="Time after the end of an hour at which it is asked for: samples that come later do not count.",
    )  # fmt: skip
    give_up_days: int = Field(
        30, ge=1, le=366, description="Days after which an hour that could not be counted is missing for good."
    )
    unused_days: int = Field(
        35, ge=7, le=2600, description="Days after which the counts of a counter that no target needs are deleted."
    )
    counters_per_namespace: int = Field(
        200, ge=1, le=10_000, description="Most different counters of a namespace; those of later targets are not read."
    )
    most_units_per_hour: int = Field(
        10**12, ge=1, le=10**12,
        description="An hour in which a pod counts more is not known in the pod's namespace, because it cannot be.",
    )  # fmt: skip
    scraped_query: str = Field(
        "count(up)",
        max_length=1024,
        description="A query that has a value while the store gets samples: only then an hour without series has no "
        "units. Empty: it is not asked for, and an hour that the store has forgotten counts as zero.",
    )
    timeout_seconds: float = Field(10, gt=0, le=60, description="Limit for one request with its answer.")
    max_response_bytes: int = Field(
        8 * 2**20, ge=2**16, le=2**26, description="Largest answer: it takes about ten times its size in memory."
    )
    queries_at_once: int = Field(4, ge=1, le=16, description="Requests at the same time.")

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        if not url:
            return url
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
            raise ValueError("has a ? or # in it: give a tenant by tenant or headers")
        if "/api/v1" in parts.path:
            raise ValueError("is the start of the address: leave out /api/v1, which is added")
        return url.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.match(name) or not value.isascii() or not value.isprintable() or len(value) > 1024:
                raise ValueError("has a name or value that HTTP does not allow: use ASCII without line breaks")
            if name.lower() in _OURS:
                raise ValueError(f"cannot have {name}: use token_file or password_file for what signs in")
        return headers

    @model_validator(mode="after")
    def _consistent(self) -> UnitSettings:
        needless = [name for name in _OF_A_STORE if getattr(self, name)]
        if needless and not self.url:
            raise ValueError(f"{needless[0]} is set and url is not: set url, or remove {' and '.join(needless)}")
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file belong together: set both or neither")
        if self.username and self.token_file:
            raise ValueError("username and token_file are both set: a request can carry one of them, so remove one")
        if self.namespace_label == self.pod_label:
            raise ValueError("namespace_label and pod_label are the same label: name two")
        return self
