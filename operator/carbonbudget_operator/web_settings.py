"""Settings of `carbonbudget web`: its listener, the server that it asks, and its sessions.

The module `settings.py` includes them under `web`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from carbonbudget_operator.intensity_settings import SettingsSection

HEADER: Final = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"


class WebSettings(SettingsSection):
    """`carbonbudget web`: the web page in the cluster."""

    server_url: str = Field("https://carbonbudget-server:8443", description="URL of the server's HTTP API.")
    server_ca: Path | None = Field(None, description="PEM CA of the server's certificate; reloaded when it changes.")
    listen: str = Field(":8443", description="Address and port of the TLS listener; all addresses if it has none.")
    tls_cert: Path | None = Field(None, description="PEM certificate chain; reloaded when it changes.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_cert.")
    metrics_listen: str = Field(":8082", description="Address and port of /metrics, without TLS.")
    hosts: list[Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$")]] = (
        Field(
            ["localhost", "127.0.0.1", "[::1]"],
            min_length=1,
            description="Names in the address of the page, without ports. Requests with another Host are refused.",
        )
    )
    cookie_keys: Path | None = Field(
        None,
        description="Keys that seal sessions, one a line: 32 bytes in base64. The first seals, all open; reloaded when "
        "it changes. Empty: a key is made at each start.",
    )
    proxy_ca: Path | None = Field(
        None, description="PEM CA of a proxy that signs users in, by its client certificate; empty: no such proxy."
    )
    proxy_names: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="Common names that the proxy's certificate may have."
    )
    proxy_user_header: str = Field("X-Forwarded-User", pattern=HEADER, description="Where the proxy states the user.")
    proxy_groups_header: str = Field(
        "X-Forwarded-Groups", pattern=HEADER, description="Where it states groups: joined by commas, or repeated."
    )
    client_cert: Path | None = Field(
        None, description="PEM client certificate by which the server believes the users of the proxy."
    )
    client_key: Path | None = Field(None, description="PEM private key of client_cert.")
    session_seconds: int = Field(
        8 * 3600, ge=60, le=7 * 86_400, description="Longest session; it ends earlier if its token does."
    )
    failed_sign_ins: int = Field(
        120, ge=1, le=10_000, description="Failed sign-ins in a minute; more are refused with 429."
    )
    failed_sign_ins_each: int = Field(
        20,
        ge=1,
        le=10_000,
        description="The same limit for one client address. Behind an ingress, all users have its address. "
        "The addresses of one IPv6 /64 together have half of all.",
    )

    @model_validator(mode="after")
    def _whole_proxy(self) -> Self:
        if self.proxy_ca is not None and not (self.proxy_names and self.client_cert and self.client_key):
            raise ValueError("proxy_ca needs proxy_names, client_cert and client_key")
        return self
