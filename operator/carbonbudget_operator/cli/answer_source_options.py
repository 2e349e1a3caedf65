"""Options that say where `allocate` and `report` get their answers, the same for each of their commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carbonbudget_operator.cli.answer_source import AnswerSource, AnswerSourceError
from carbonbudget_operator.cli.common_options import Config, OutputFormat, announce, fail
from carbonbudget_operator.cli.kubeconfig import AsGroups, AsUser, Context, Kubeconfig, credentials
from carbonbudget_operator.cli.service_account import parse_service_account

if TYPE_CHECKING:
    from carbonbudget_operator.cli.answers_from_server import ServerSource
    from carbonbudget_operator.settings import Settings

Ledger = Annotated[
    str | None, typer.Option("--ledger", envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL: read the ledger itself.")
]
ServerUrl = Annotated[
    str, typer.Option("--server-url", envvar="CARBONBUDGET_SERVER_URL", help="Ask the server at this URL.")
]
ServerCa = Annotated[
    Path | None, typer.Option("--server-ca", envvar="CARBONBUDGET_SERVER_CA", help="CA of its certificate.")
]
ServerName = Annotated[
    str, typer.Option("--server-name", envvar="CARBONBUDGET_SERVER_NAME", help="Name in its certificate, if another.")
]
ServerTokenFile = Annotated[
    Path | None, typer.Option("--server-token-file", envvar="CARBONBUDGET_SERVER_TOKEN_FILE", help="Token for it.")
]
ServerNamespace = Annotated[
    str,
    typer.Option(
        "--server-namespace", envvar="CARBONBUDGET_SERVER_NAMESPACE", help="The chart's namespace in the cluster."
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", min=0.1, max=3600, envvar="CARBONBUDGET_TIMEOUT", help="Seconds to wait for a server."),
]
_LOCAL, _URL, _CLUSTER = "ledger", "server", "cluster"
_WAYS = {
    "ledger": _LOCAL, "config": _LOCAL, "server_url": _URL, "kubeconfig": _CLUSTER, "context": _CLUSTER,
    "server_namespace": _CLUSTER, "as_user": _CLUSTER, "as_groups": _CLUSTER,
}  # fmt: skip

_OPTIONS = {"as_user": "--as", "as_groups": "--as-group"}


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the options say; `source` is where the answers come from.

    In this order: what is named on the command line; --server-url; --ledger or a settings file, as in the server's pod;
    the cluster of the kubeconfig.
    """

    chosen: str
    config: Path | None
    ledger: str | None
    server_url: str
    server_ca: Path | None
    server_name: str
    server_token_file: Path | None
    kubeconfig: str
    context: str
    as_user: str
    as_groups: Sequence[str] | None
    server_namespace: str
    timeout: float

    @property
    def local(self) -> bool:
        """Whether the ledger itself is read."""
        if self.chosen:
            return self.chosen == _LOCAL
        return not self.server_url and not self.kubeconfig and not self.context and bool(self.ledger or self.config)

    def settings(self, overrides: Mapping[str, object] | None = None) -> Settings:
        """The settings of a command that reads the ledger itself. Raises SettingsError."""
        from carbonbudget_operator.settings import load_settings

        return load_settings(self.config, {"server": {"ledger": self.ledger}, **(overrides or {})})

    def server(self, account: str = "") -> ServerSource:
        """The server, for what the ledger itself cannot answer. Ends the process where a ledger is named instead.

        `account`: as of `source`.
        """
        if self.local:
            fail("only a server can do this: leave --ledger and --config out, or name --server-url", code=2)
        from carbonbudget_operator.cli.answers_from_server import ServerSource

        source = self.source(account=account, hint="--server-url and a read token need no kubeconfig")
        assert isinstance(source, ServerSource)
        return source

    def source(
        self,
        overrides: Mapping[str, object] | None = None,
        account: str = "",
        hint: str = "--config and --ledger read a ledger without a cluster",
    ) -> AnswerSource:
        """Where the answers come from; `overrides` are settings.

        `account`: NAMESPACE/NAME of the service account whose token asks a server through the API server.
        `hint`: what to try where there is no kubeconfig.

        Raises SettingsError, and ends the process where there are no credentials.
        """
        # Imported here: `--help` should not wait for it.
        asking = parse_service_account(account)
        if asking and (self.local or (self.server_url and self.chosen != _CLUSTER)):
            fail("--service-account asks through the API server: leave --ledger, --config and --server-url out", code=2)
        if self.local:
            from carbonbudget_operator.cli.answers_from_ledger import LedgerSource

            return LedgerSource(self.settings(overrides))
        from carbonbudget_operator.cli.answers_from_server import ApiServerTransport, ServerSource, UrlTransport

        if self.server_url and self.chosen != _CLUSTER:
            return ServerSource(
                UrlTransport(self.server_url, self.server_ca, self.server_name, self.server_token_file, self.timeout)
            )
        who = credentials(self.kubeconfig, self.context, 2, hint, self.as_user, self.as_groups or ())
        return ServerSource(ApiServerTransport(who, self.server_namespace, self.timeout, asking))

    def announce(self, settings: str | None, output: OutputFormat) -> None:
        """Name the settings of the answer on stderr, for JSON not: it holds them."""
        announce(settings or "of a server that does not name them", output, self.local and not self.config)


def is_typed(context: typer.Context, option: str) -> bool:
    """Whether the option is on the command line, which takes precedence over environment variables."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


@contextmanager
def exit_without_answer() -> Iterator[None]:
    """A question that has no answer ends the process with one line."""
    try:
        yield
    except AnswerSourceError as error:
        fail(str(error), error.code)


@contextmanager
def exit_on_unknown_answer() -> Iterator[None]:
    """An answer of another form, as a server of another version gives, ends the process with one line."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        fail("the answer has another form than this version prints: are versions mixed? `-o json` prints it as it is")


def with_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options in the place of its parameter `where`."""

    def options(
        context_: typer.Context,
        config: Config = None,
        ledger: Ledger = None,
        server_url: ServerUrl = "",
        server_ca: ServerCa = None,
        server_name: ServerName = "",
        server_token_file: ServerTokenFile = None,
        kubeconfig: Kubeconfig = "",
        context: Context = "",
        as_user: AsUser = "",
        as_groups: AsGroups = None,
        server_namespace: ServerNamespace = "carbonbudget-system",
        timeout: Timeout = 600,
    ) -> None:
        """Their declarations alone."""

    @functools.wraps(command)
    def wrapped(context_: typer.Context, **given: Any) -> None:
        named = {
            way: option for option, way in _WAYS.items()
            if is_typed(context_, option)
        }  # fmt: skip
        if len(named) > 1:
            options_named = " or ".join(
                _OPTIONS.get(option, f"--{option.replace('_', '-')}") for option in named.values()
            )
            fail(f"write either {options_named}: each names another place to get the figures from", code=2)
        own = {name: given.pop(name) for name in declared if name != "context_"}
        if passes_context:
            given["typer_context"] = context_
        command(where=SourceOptions(next(iter(named), ""), **own), **given)

    declared = inspect.signature(options, eval_str=True).parameters
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["where"]
    passes_context = own.pop("typer_context", None) is not None
    together = [*declared.values(), *own.values()]
    ordered = sorted(together, key=lambda one: one.default is not one.empty)
    wrapped.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined] # typer reads it
    wrapped.__annotations__ = {one.name: one.annotation for one in ordered}
    del wrapped.__wrapped__  # typer would read the command's own
    return wrapped
