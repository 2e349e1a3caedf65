"""Settings of the operator's processes: one YAML file, validated at the start.

The order of precedence is: command line, environment (`CARBONBUDGET_` and the option in capitals), file, defaults. An
unknown key or an invalid value stops the process with file, key and reason, so that a typing error is noticed.

All processes of a cluster read one file. During an upgrade a process of the former version may start with the file of
the next one (`written_by`), so it logs the keys that it does not know and ignores them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, PositiveInt, PrivateAttr, ValidationError, model_validator

from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.dated_settings import DATED, IGNORE_UNKNOWN, dated
from carbonbudget_operator.export_settings import AnyExportTarget
from carbonbudget_operator.intensity_settings import (
    ElectricityMapsSettings,
    IntensitySettings,
    NesoSettings,
    SettingsSection,
)
from carbonbudget_operator.market_settings import MarketSettings
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server_settings import ServerSettings
from carbonbudget_operator.settings_defects import another_kind_of_file, defects, unknown_keys
from carbonbudget_operator.strict_yaml import StrictLoader, yaml_defect
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.unit_settings import UnitSettings
from carbonbudget_operator.web_settings import WebSettings

_MOST_NAMED: Final = 20
_log = logging.getLogger(__name__)


class SettingsError(ValueError):
    """The settings are invalid. The message has one line for each defect: file, key and reason."""


class EmbodiedSettings(SettingsSection):
    """Embodied emissions of hardware (SCI, ISO/IEC 21031), in no figure of electricity.

    Whether their row belongs in the sum of an inventory depends on the owner of the nodes (`ghg_inventory.py`).
    """

    server_kg: Annotated[float | None, DATED] = Field(
        None, ge=0, description="kg CO2e of a server without GPUs; empty: bundled."
    )
    gpu_kg: Annotated[float | None, DATED] = Field(None, ge=0, description="kg CO2e of a GPU; empty: bundled.")
    host_threads: Annotated[int, DATED] = Field(96, gt=0, description="Assumed number of threads of a cloud's host.")
    life_years: Annotated[int, DATED] = Field(
        4, gt=0, le=30, description="Expected life in years, over which embodied emissions are charged."
    )
    in_service: Annotated[dt.date | None, DATED] = Field(
        None,
        description="Date from which it is in service; nothing is charged before it, nor after its expected life. "
        "Empty: the charge has no end.",
    )


class AllocationSettings(SettingsSection):
    """Who is charged with energy that no pod used itself."""

    idle: Annotated[IdleRule, DATED] = Field(IdleRule.BY_REQUEST, description="The node's idle energy.")
    overhead: Annotated[OverheadRule, DATED] = Field(
        OverheadRule.PROPORTIONAL, description="System and platform energy."
    )
    shared: Annotated[dict[str, Literal["proportional", "even", "separate"] | dict[str, PositiveInt]], DATED] = Field(
        {}, description="Namespaces whose energy is charged to the others: a rule, or weights by namespace."
    )

    def policy(self) -> AllocationPolicy:
        """The policy for the package `allocation`."""
        return AllocationPolicy(self.idle, self.overhead, dict(self.shared))


class CarbonSettings(SettingsSection):
    """Location, data centre and accounting of the cluster's emissions."""

    zone: Annotated[str, DATED] = Field(
        "", description="Grid zone of the whole cluster; empty: from each node's region."
    )
    pue: Annotated[float | None, DATED] = Field(None, ge=1.0, le=5.0, description="PUE; empty: from the bundled table.")
    basis: Literal["lifecycle", "direct"] = Field("lifecycle", description="What a grid factor includes.")
    ownership: Annotated[Literal["auto", "owned", "cloud", "leased"], DATED] = Field(
        "auto",
        description="Whose nodes they are: owned (or leased and operated by you): Scope 2; cloud: Scope 3, category 1; "
        "leased (and operated by the lessor): Scope 3, category 8; auto: cloud by the node's provider id, else owned.",
    )
    provider: Annotated[str, DATED] = Field(
        "", description="Provider of nodes whose provider id does not show it: one of the region table, or `own`."
    )
    market: MarketSettings = MarketSettings()
    embodied: EmbodiedSettings = EmbodiedSettings()
    intensity: IntensitySettings = IntensitySettings()
    price: Annotated[Decimal | None, DATED] = Field(
        None, ge=0, le=1_000_000, decimal_places=6,
        description="Your internal price of a tonne of CO2e, in `currency`; empty: emissions have no cost.",
    )  # fmt: skip
    tariff: Annotated[Decimal | None, DATED] = Field(
        None, ge=0, le=1_000, decimal_places=6,
        description="Price of a kWh that the machines draw, in `currency`; empty: energy has no cost.",
    )  # fmt: skip
    currency: str = Field("", pattern=r"^([A-Z]{3})?$", description="ISO 4217 code of `price` and `tariff`: EUR.")

    @model_validator(mode="after")
    def _priced_in_a_currency(self) -> CarbonSettings:
        if not self.currency and (self.price is not None or self.tariff is not None):
            raise ValueError("a price or tariff needs carbon.currency, for example EUR")
        return self

    @model_validator(mode="after")
    def _one_basis(self) -> CarbonSettings:
        names = [source.name for source in self.intensity.sources]
        for source in self.intensity.sources:
            if isinstance(source, ElectricityMapsSettings):  # has both
                basis: str = self.basis
            else:
                basis = "direct" if isinstance(source, NesoSettings) else source.basis
            if basis != self.basis:
                raise ValueError(
                    f"intensity source {source.name} has {basis} figures and carbon.basis is {self.basis}: "
                    "change one of them, because the two are never mixed"
                )
            if names.count(source.name) > 1:
                raise ValueError(f"two intensity sources are named {source.name}: give each another name")
        return self


class ControllerSettings(SettingsSection):
    """`carbonbudget controller`: the kopf controller and its evaluation loop."""

    server_url: str = Field("https://carbonbudget-server:8443", description="URL of the server's HTTP API.")
    server_ca: Path | None = Field(None, description="PEM CA of the server's certificate.")
    server_token_file: Path | None = Field(None, description="Projected token with the server's audience.")
    window_seconds: int = Field(60, ge=10, le=60, description="The agents' window: one evaluation each.")
    fresh_for_seconds: int = Field(
        6 * 3600, ge=60, description="Seconds for which a block stays in force without renewal; at least four windows."
    )
    namespace: str = Field("", description="Our own namespace; empty: the service account's.")
    agent_namespace: str = Field("carbonbudget-agent", description="Where the agents run.")
    certificates: bool = Field(True, description="Make and renew certificates; false: you provide them.")
    web_certificate: bool = Field(False, description="Also make a certificate for the web page.")
    listen: str = Field(":8080", description="Address and port of /healthz and /metrics.")

    @model_validator(mode="after")
    def _renewed_in_time(self) -> ControllerSettings:
        # A block is renewed at half of this time, by the next evaluation: one window later, or two if one fails.
        least_s = 4 * self.window_seconds
        if self.fresh_for_seconds < least_s:
            raise ValueError(
                f"fresh_for_seconds is {self.fresh_for_seconds} and must be at least {least_s}, four times "
                "window_seconds: else blocks end before they are renewed"
            )
        return self


class AdmissionSettings(SettingsSection):
    """`carbonbudget admission`: the webhook."""

    server_url: str = Field("https://carbonbudget-server:8443", description="Where projections come from.")
    server_ca: Path | None = Field(None, description="PEM CA of the server's certificate; empty: no projections.")
    server_token_file: Path | None = Field(None, description="Projected token with the server's audience.")
    listen: str = Field(":9443", description="Address and port of the TLS listener; all addresses if it has none.")
    tls_cert: Path | None = Field(None, description="PEM certificate chain; reloaded when it changes.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_cert.")
    metrics_listen: str = Field(":8081", description="Address and port of /metrics, without TLS.")
    track_pods: bool = Field(
        False, description="Also give pods with a run label server_url, the CA of server_ca and a token."
    )


class EnforcedKind(SettingsSection):
    """A custom kind that enforce.kinds may name, for example PyTorchJob."""

    kind: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$", description="For example PyTorchJob.")
    group: str = Field(min_length=1, description="Its API group, for example kubeflow.org.")
    version: str = Field(pattern=r"^v[a-z0-9]+$", description="For example v1.")
    resource: str = Field(pattern=r"^[a-z0-9]+$", description="Plural, for example pytorchjobs.")
    template: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9]*([.][A-Za-z][A-Za-z0-9]*)*$",
        description="Path of its pod template, for example spec.pytorchReplicaSpecs.Worker.template.",
    )
    replicas: str = Field(
        "",
        pattern=r"^([A-Za-z][A-Za-z0-9]*([.][A-Za-z][A-Za-z0-9]*)*)?$",
        description="Path of its number of pods; empty: 1.",
    )


class EnforcementSettings(SettingsSection):
    """What budgets may do to workloads. Controller and webhook use it."""

    mode: Literal["Observe", "Warn", "Enforce"] = Field(
        "Enforce", description="Observe only writes statuses; Warn also warns; Enforce also refuses and suspends."
    )
    kinds: list[EnforcedKind] = Field([], description="More kinds that enforce.kinds may name.")
    exempt_namespaces: list[str] = Field(
        ["kube-*", "openshift-*", "carbonbudget-system", "carbonbudget-agent"],
        description="Namespaces in which budgets never act, the whole list: the chart adds yours to these. A name that "
        "ends with * means all that begin so.",
    )
    annotate: bool = Field(
        True, description="Write emissions, energy, budget, state and targets to workloads' annotations."
    )
    kueue: Literal["", "v1beta1", "v1beta2"] = Field(
        "",
        description="Version of Kueue's API by which Workloads of suspendable Jobs are deactivated; a newer one that "
        "the cluster serves is used instead. Empty: Jobs of Kueue are not suspended.",
    )
    resume_jitter_seconds: int = Field(
        300,
        ge=0,
        le=3600,
        description="Suspended Jobs are resumed at random times within this span, and deferred ones are started.",
    )
    deferral: bool = Field(
        True,
        description="Start Jobs with the label carbonbudget.dev/defer at the cleanest time before their deadline, in "
        "every mode. False: Jobs that wait are started, and new ones are left alone.",
    )


class ReportSettings(SettingsSection):
    """What the emissions report shows beside its rows."""

    required_labels: list[Annotated[str, Field(min_length=1, max_length=317)]] = Field(
        [],
        max_length=10,
        description="Labels that every pod should have; reports and metrics show the energy of pods without them.",
    )


class Settings(SettingsSection):
    """The whole settings file."""

    written_by: str = Field(
        "", max_length=63,
        description="Version that wrote the file; the chart sets it. A process of another version ignores keys that it "
        "does not know.",
    )  # fmt: skip
    cluster: str = Field("default", min_length=1, max_length=63, description="Its name in the ledger.")
    server: ServerSettings = ServerSettings()
    carbon: Annotated[Timeline[CarbonSettings], dated(CarbonSettings)] = Timeline.always(CarbonSettings())
    allocation: Annotated[Timeline[AllocationSettings], dated(AllocationSettings)] = Timeline.always(
        AllocationSettings()
    )
    controller: ControllerSettings = ControllerSettings()
    admission: AdmissionSettings = AdmissionSettings()
    enforcement: EnforcementSettings = EnforcementSettings()
    reports: ReportSettings = ReportSettings()
    exports: list[AnyExportTarget] = Field([], max_length=8, description="Targets that closed hours are sent to.")
    units: UnitSettings = UnitSettings()
    web: WebSettings = WebSettings()
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The name of the file and the start of its SHA-256, for people; or that there is no file."""
        return self._source or "the defaults, without a file"

    @model_validator(mode="after")
    def _one_target_a_name(self) -> Settings:
        names = [target.name for target in self.exports]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two exports are named {twice}: give each another name, by which its progress is stored")
        return self

    @model_validator(mode="after")
    def _one_type_a_name(self) -> Settings:
        types: dict[str, str] = {}
        for _, carbon in self.carbon:
            for source in carbon.intensity.sources:
                if types.setdefault(source.name, source.type) != source.type:
                    raise ValueError(
                        f"intensity source {source.name} is of type {types[source.name]} and later of {source.type}: "
                        "figures are stored by the name of the source, so give the later one another name"
                    )
        return self


def load_settings(path: Path | None, overrides: Mapping[str, Mapping[str, object] | object]) -> Settings:
    """Read the file (None: defaults), apply `overrides` (None values are ignored) and validate all.

    Unknown keys of a file that another version wrote are logged and ignored.

    Raises:
        SettingsError: one line for each defect: file, key, reason.
    """
    if path is None:
        return parse_settings(None, "", overrides)
    try:
        return parse_settings(path.read_bytes(), str(path), overrides, ignore_unknown_of_others=True)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None


def parse_settings(
    text: bytes | None,
    name: str,
    overrides: Mapping[str, Mapping[str, object] | object] | None = None,
    ignore_unknown_of_others: bool = False,
) -> Settings:
    """Like `load_settings`, from the bytes of a file. `name` is its name in messages.

    An unknown key is a defect, unless it is one of another version's file and `ignore_unknown_of_others`.

    Raises:
        SettingsError: one line for each defect: file, key, reason.
    """
    values = {} if text is None else _sections(text, name)
    source = name or "settings"
    overrides = overrides or {}
    for key, override in overrides.items():
        if isinstance(override, Mapping):
            given = {name: value for name, value in override.items() if value is not None}
            section = values.get(key)
            if section is not None and not isinstance(section, dict):
                raise SettingsError(
                    f"{source}: {key}: must be a mapping of settings, not {printable(repr(section), 60)}"
                )
            values[key] = (section or {}) | given
        elif override is not None:
            values[key] = override
    settings = _validated(values, source, ignore_unknown_of_others)
    if text is not None:
        settings._source = f"{name} (sha256 {hashlib.sha256(text).hexdigest()[:12]})"
    return settings


def _validated(values: Mapping[str, object], source: str, ignore_unknown_of_others: bool) -> Settings:
    """Raises SettingsError."""
    writer, own = values.get("written_by"), metadata.version("carbonbudget")
    is_of_other = isinstance(writer, str) and writer not in ("", own)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    unknown = unknown_keys(errors)
    versions = f"version {printable(str(writer), 63)} wrote this file, and this is version {own}"
    if unknown and is_of_other and ignore_unknown_of_others:
        try:
            settings = Settings.model_validate(values, extra="ignore", context=IGNORE_UNKNOWN)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        else:
            more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
            named = ", ".join(unknown[:_MOST_NAMED]) + more
            _log.warning("%s: %s; keys that this version does not know are ignored: %s", source, versions, named)
            return settings
    lines = [f"{source}: {line}" for line in defects(Settings, errors)]
    if unknown and is_of_other and not ignore_unknown_of_others:
        lines.append(f"{source}: {versions}: check it by the image of the version that wrote it")
    raise SettingsError("\n".join(lines))


def _sections(text: bytes, name: str) -> dict[str, object]:
    try:
        loaded = yaml.load(text.decode("utf-8"), StrictLoader)  # noqa: S506 # a safe loader's subclass
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if isinstance(error, yaml.composer.ComposerError) and (other := _first_document(text)):
            raise SettingsError(f"{name}: {other}") from None
        reason = yaml_defect(error) if isinstance(error, yaml.YAMLError) else str(error)
        raise SettingsError(f"{name} is no YAML: {reason}") from None
    except (RecursionError, ValueError) as error:  # ValueError: an invalid date
        reason = "it has too many levels" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(f"{name} is no YAML: {reason}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise SettingsError(f"{name}: the file must be a mapping of sections")
    if other := another_kind_of_file(loaded or {}):
        raise SettingsError(f"{name}: {other}")
    return dict(loaded or {})


def _first_document(text: bytes) -> str:
    """A message about a file of several YAML documents, by its first one; empty if that is not of another kind."""
    try:
        first = next(iter(yaml.load_all(text.decode("utf-8"), StrictLoader)), None)
    except (yaml.YAMLError, RecursionError, ValueError):
        return ""
    return another_kind_of_file(first) if isinstance(first, dict) else ""
