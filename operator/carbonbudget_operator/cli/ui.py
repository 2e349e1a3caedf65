"""`kubectl carbon ui`: the page on the user's own machine, with the user's own rights, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from carbonbudget_operator.cli.answer_source_options import ServerNamespace
from carbonbudget_operator.cli.common_options import check_namespace, fail
from carbonbudget_operator.cli.kubeconfig import AsGroups, AsUser, Context, Kubeconfig, Namespace, Timeout, credentials
from carbonbudget_operator.cli.service_account import ServiceAccount, parse_service_account
from carbonbudget_operator.cli.table_cells import printable_cell

if TYPE_CHECKING:
    import uvicorn

    from carbonbudget_operator.kube.credentials import Credentials

_LOOPBACK = "127.0.0.1"  # never another address: the page has the user's rights


def ui(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address and open nothing.")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    server_namespace: ServerNamespace = "carbonbudget-system",
    service_account: ServiceAccount = "",
    timeout: Timeout = 30,
) -> None:
    """Open the page of budgets and emissions in the browser.

    It also shows the grid and the nodes, and ends with Ctrl-C.

    Budgets need the role view alone. The other pages ask the server, and name the right that is missing.
    """
    who = credentials(kubeconfig, context, as_user=as_user, as_groups=as_groups or ())
    from carbonbudget_operator.cli.answers_from_server import READER

    account = parse_service_account(service_account) or (server_namespace, READER)
    for option, name in (("--namespace", namespace), ("--server-namespace", server_namespace)):
        if name:
            check_namespace(option, name)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_LOOPBACK, port))
        except OSError as error:
            fail(f"port {port} of {_LOOPBACK} cannot be used: {error.strerror}; leave --port out for a free one")
        listening.listen(64)
        asyncio.run(_serve(listening, who, namespace, server_namespace, account, timeout, not no_browser))
    print("\nended")


async def _serve(
    listening: socket.socket, who: Credentials, namespace: str, server_namespace: str, account: tuple[str, str],
    seconds: float, opens: bool,
) -> None:  # fmt: skip
    # Imported here: `--help` should not wait for it.
    import uvicorn

    from carbonbudget_operator.cli.kubeconfig_budget_reader import KubeconfigBudgetReader
    from carbonbudget_operator.cli.kubeconfig_gateway import KubeconfigGateway
    from carbonbudget_operator.cli.kubeconfig_object_lists import ObjectLists
    from carbonbudget_operator.cli.kubeconfig_target_reader import KubeconfigTargetReader
    from carbonbudget_operator.web.api_budget_reader import SeriesReader
    from carbonbudget_operator.web.app import make_app
    from carbonbudget_operator.web.gateway import PageCaller
    from carbonbudget_operator.web.local_guard import LocalGuard, OwnOriginOnly

    host = f"{_LOOPBACK}:{listening.getsockname()[1]}"
    gateway = KubeconfigGateway(who, server_namespace, seconds, account)
    lists = ObjectLists(who, namespace, seconds)
    budgets = KubeconfigBudgetReader(lists, SeriesReader(gateway))
    guard = LocalGuard(host, PageCaller(name=await budgets.user()))
    app = OwnOriginOnly(make_app(gateway, guard, budgets, KubeconfigTargetReader(lists)), host)
    options = uvicorn.Config(
        app, access_log=False, log_config=None, server_header=False, proxy_headers=False, lifespan="off",
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    print(printable_cell(f"the page, until Ctrl-C: {guard.address}"), flush=True)
    print("The address is good once and for two minutes; others on this machine must not see it.", flush=True)
    opening = asyncio.create_task(asyncio.to_thread(webbrowser.open, guard.address)) if opens else None
    server = uvicorn.Server(options)
    # uvicorn's own handlers raise the signal again once it ended, in the midst of what is closed below.
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign] # its own are below
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, _end, server)
    try:
        await server.serve(sockets=[listening])
    finally:
        if opening is not None:
            opening.cancel()
        await gateway.close()
        await lists.close()


def _end(server: uvicorn.Server) -> None:
    """End in order; at the second signal at once."""
    server.force_exit = server.should_exit
    server.should_exit = True
