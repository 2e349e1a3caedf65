"""Settings of `carbonbudget server`: its listener, whom it accepts, its limits, and what it stores for how long.

The module `settings.py` includes them under `server`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from carbonbudget_operator.intensity_settings import SettingsSection

AUDIENCE: Final = "carbonbudget-server"


class QuestionSettings(SettingsSection):
    """Limits of people's queries. They run in separate processes of low priority, which can be ended."""

    workers: int = Field(
        2, ge=1, le=16, description="Processes that answer people's questions, each one question at a time."
    )
    at_once_each: int = Field(
        1, ge=1, le=16, description="Questions of one identity that are answered at the same time; its others wait."
    )
    waiting: int = Field(64, ge=1, le=1000, description="Most questions that wait; more are refused with 503.")
    wait_seconds: int = Field(20, ge=1, le=600, description="A question that has waited this long is refused with 503.")
    seconds: int = Field(30, ge=1, le=3600, description="A question that takes longer is ended with 503.")
    report_seconds: int = Field(
        600, ge=1, le=7200, description="The same limit for a period's report; at most workers - 1 of them run at once."
    )
    memory_mib: int = Field(
        192, ge=64, le=65536, description="MiB of memory for a question; above it the question ends with 503."
    )
    idle_seconds: int = Field(300, ge=1, le=86_400, description="A process without a question ends after this time.")


class SpanSettings(SettingsSection):
    """Pods that have the label of a run, or post spans: what is stored of them, and how much they may post."""

    window_days: int = Field(
        7, ge=1, le=31, description="Days for which the windows of tracked pods are stored; then spans are final."
    )
    result_days: int = Field(90, ge=7, le=2_600, description="Days for which the results of spans are stored.")
    pods_per_namespace: int = Field(
        500, ge=0, le=100_000,
        description="Tracked pods of a namespace whose windows are stored; the spans of others get hourly figures.",
    )  # fmt: skip
    records_per_day: int = Field(
        1_000_000, ge=1, le=100_000_000,
        description="Spans and unit counts that a namespace's pods may post in a day; "
        "a count is one for each hour of it.",
    )  # fmt: skip
    requests_per_minute: int = Field(
        60, ge=1, le=10_000, description="Requests of one pod about itself in a minute; more are refused with 429."
    )
    namespace_requests_per_minute: int = Field(
        6_000, ge=1, le=1_000_000, description="The same for all pods of a namespace."
    )


class ServerSettings(SettingsSection):
    """`carbonbudget server`: ingest, ledger, REST, metrics."""

    ledger: str = Field("sqlite:////var/lib/carbonbudget/ledger.db", description="SQLAlchemy URL of the ledger.")
    listen: str = Field(":8443", description="Address and port of the TLS listener; all addresses if it has none.")
    tls_cert: Path | None = Field(None, description="PEM certificate chain; reloaded when it changes.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_cert.")
    request_header_ca: Path | None = Field(
        None,
        description="PEM CA of proxies that may name a user in X-Remote-User and X-Remote-Group, for GET under "
        "/api/v1 only; empty: no proxy may.",
    )
    request_header_names: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="Common names of these clients' certificates; a certificate with another name states nothing."
    )
    audience: str = Field(AUDIENCE, description="Audience that a caller's token must have.")
    agent_account: str = Field(
        "system:serviceaccount:carbonbudget-agent:carbonbudget-agent",
        description="User name that a reporting agent's token must have.",
    )
    operator_accounts: list[str] = Field(
        [
            "system:serviceaccount:carbonbudget-system:carbonbudget-controller",
            "system:serviceaccount:carbonbudget-system:carbonbudget-admission",
        ],
        description="User names of controller and webhook, whose queries have separate threads.",
    )
    questions: QuestionSettings = QuestionSettings()
    spans: SpanSettings = SpanSettings()
    max_report_bytes: int = Field(8 * 2**20, gt=0, description="Largest report body, after decompression.")
    max_node_watts: int = Field(20_000, gt=0, description="A report above this mean power is refused.")
    pod_days: int = Field(35, ge=2, le=366, description="Days after which an hour is sealed and its pods are deleted.")
    max_label_values: int = Field(
        10_000,
        gt=0,
        description="Values of one label in a namespace and day; more are stored as __other__ and counted.",
    )
    owners: dict[str, Annotated[str, Field(pattern=r"^[a-z0-9.-]+/v[a-z0-9]+/[a-z]+$")]] = Field(
        {}, description="More kinds whose owners are read, for example {RayCluster: ray.io/v1/rayclusters}."
    )
    nodes_without_agent: dict[str, list[str]] = Field(
        {},
        description="Labels of more nodes on which no agent can run, with their values (none: any); the chart keeps "
        "agents off them.",
    )
    metric_labels: list[Annotated[str, Field(min_length=1, max_length=317)]] = Field(
        ["project", "team", "model"],
        max_length=10,
        description="Labels of pods by whose values the metrics show emissions.",
    )
    metric_values: int = Field(
        200, ge=1, le=10_000, description="Namespaces, models, and values of each of these labels, with metrics of "
        "their own; those that emit least are together `__other__`.",
    )  # fmt: skip
    user_tokens: bool = Field(
        False,
        description="Accept for GET under /api/v1 also tokens that are good for the API server, such as a person's "
        "OIDC token; the server then receives credentials that the API server accepts.",
    )
    keep_months: int = Field(25, ge=2, le=84, description="Months after which sealed hours are deleted.")
