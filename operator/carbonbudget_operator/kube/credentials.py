"""Credentials for the API server: the pod's service account, or a kubeconfig outside a cluster.

The kubeconfig is read by the official client, which supports exec plugins and client certificates.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carbonbudget_operator.kube.environment_proxy import environment_proxy

_TOKEN_SECONDS: Final = 1.0  # for which a kubeconfig's token is not asked for again: many requests come at once
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The URL of the API server and what to authenticate with. `token()` is called before each request."""

    url: str
    token: Callable[[], str]
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    namespace: str = "default"  # used where no namespace is named
    impersonated: tuple[tuple[str, str], ...] = ()  # headers of the Kubernetes API: Impersonate-User, Impersonate-Group
    proxy: str = ""  # URL of an HTTP proxy on the way; never that of a pod, which reaches its API server directly

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context that trusts the cluster's CA and presents the client certificate, if there is one."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        # Python 3.13 sets VERIFY_X509_STRICT, which refuses the CAs of older clusters because they have no key usage.
        # kubectl accepts them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.client_cert_file:
            context.load_cert_chain(self.client_cert_file, self.client_key_file or None)
        return context


def find_credentials(kubeconfig: str = "", context: str = "") -> Credentials:
    """Find credentials: the service account inside a pod, else a kubeconfig and one of its contexts.

    A named kubeconfig or context, and $KUBECONFIG, come before the service account.

    Raises:
        ValueError: there is neither; the message says what to do.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    token_file = SERVICE_ACCOUNT / "token"
    if host and token_file.exists() and not (kubeconfig or context or "KUBECONFIG" in os.environ):
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        address = f"[{host}]" if ":" in host else host
        return Credentials(
            url=f"https://{address}:{port}",
            # Read each time: the kubelet replaces a projected token before it expires.
            token=lambda: token_file.read_text(encoding="ascii").strip(),
            ca_file=str(SERVICE_ACCOUNT / "ca.crt"),
            namespace=_own_namespace(),
        )
    return _from_kubeconfig(kubeconfig, context)


def _own_namespace() -> str:
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="ascii").strip() or "default"
    except OSError:
        return "default"


def _clause(message: str) -> str:
    """The client library's sentences as one clause: "invalid kube-config file, no configuration found"."""
    sentences = re.split(r"\.\s+", " ".join(message.split()).rstrip("."))
    return ", ".join(one[:1].lower() + one[1:] if one[1:2].islower() else one for one in sentences)


def _from_kubeconfig(file: str, context: str) -> Credentials:
    # Imported here because it takes 40 MB, and a process inside the cluster does not need it.
    import yaml
    from kubernetes import client, config

    where = {"config_file": file or os.environ.get("KUBECONFIG")}  # the client reads $KUBECONFIG only at import
    try:
        configuration = client.Configuration()
        configuration.proxy = None  # the library took the environment's; here it is the kubeconfig's proxy-url alone
        config.load_kube_config(  # type: ignore[no-untyped-call] # has no types
            context=context or None, client_configuration=configuration, **where
        )
        contexts, active = config.list_kube_config_contexts(**where)  # type: ignore[no-untyped-call] # has no types
        chosen = next((one for one in contexts if one["name"] == context), active)
        namespace = str(chosen["context"].get("namespace") or "default")
    except (config.ConfigException, yaml.YAMLError, OSError, LookupError, TypeError, AttributeError) as error:
        reason = _clause(str(error)) or type(error).__name__
        raise ValueError(f"no Kubernetes credentials ({reason}): set KUBECONFIG, or run inside a cluster") from None

    known, until = "", 0.0

    def token() -> str:
        nonlocal known, until
        if time.monotonic() >= until:  # the library takes as long for it as a whole request does
            header = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
            known, until = str(header).removeprefix("Bearer "), time.monotonic() + _TOKEN_SECONDS
        return known

    return Credentials(
        url=str(configuration.host).rstrip("/"),
        token=token,
        ca_file=str(configuration.ssl_ca_cert or ""),
        client_cert_file=str(configuration.cert_file or ""),
        client_key_file=str(configuration.key_file or ""),
        namespace=namespace,
        proxy=_proxy(str(configuration.host), str(configuration.proxy or "")),
    )


def _proxy(url: str, given: str) -> str:
    """The kubeconfig's proxy, else the environment's, as kubectl has it."""
    if given and not given.startswith(("http://", "https://")):
        scheme = given.partition(":")[0]
        raise ValueError(f"no Kubernetes credentials: the kubeconfig's proxy-url is {scheme}: only http and https work")
    try:
        return given or environment_proxy(url, os.environ)
    except ValueError as error:
        raise ValueError(f"no Kubernetes credentials: {url!r} is no URL: {error}") from None
