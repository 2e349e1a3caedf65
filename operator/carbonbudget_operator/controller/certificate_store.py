"""Writes certificates to where their users read them: Secrets, ConfigMaps, the webhook's caBundle."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
from collections.abc import Mapping, Sequence

from carbonbudget_core.jsons import at
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.controller.certificates import (
    CertificatePair,
    ca_usable,
    leaf_usable,
    make_ca,
    make_leaf,
    still_valid,
)
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError

_log = logging.getLogger(__name__)
_CA = "carbonbudget-ca"
_LEAVES = ("carbonbudget-server", "carbonbudget-admission")
_WEB = "carbonbudget-web"
_WEBHOOKS = tuple(
    ApiPath("admissionregistration.k8s.io", "v1", plural, name="carbonbudget")
    for plural in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
)
_LOOK_SECONDS = 3600.0
_RETRY_SECONDS = 5.0


class CertificateStore:
    """Makes and renews certificates. `bundle`: the CAs to trust, as PEM; None before the first success."""

    def __init__(self, client: KubeClient, namespace: str, agent_namespace: str, web: bool = False) -> None:
        """`web`: also make a certificate for the web page."""
        self._client, self._namespace, self._agent_namespace = client, namespace, agent_namespace
        self._leaves = (*_LEAVES, _WEB) if web else _LEAVES
        self.bundle: str | None = None

    async def run(self) -> None:
        """Runs for ever: checks every hour, and soon after a failure."""
        while True:
            try:
                await self.ensure(dt.datetime.now(dt.UTC))
                await asyncio.sleep(_LOOK_SECONDS)
            except KubeError as error:
                _log.warning("certificates not in place, trying again: %s", error.reason)
                await asyncio.sleep(_RETRY_SECONDS)

    async def ensure(self, now: dt.datetime) -> None:
        """Make and write what is missing or due. Raises KubeError; a repeated call is safe."""
        ca, previous = await self._ca(now)
        cas = [ca.certificate, *([previous] if previous else [])]
        for service in self._leaves:
            await self._leaf(service, ca, cas, now)
        self.bundle = "".join(cas)
        for namespace in (self._namespace, self._agent_namespace):
            await self._config_map(namespace, self.bundle)
        for path in _WEBHOOKS:
            await self._webhook(path, self.bundle)

    async def _ca(self, now: dt.datetime) -> tuple[CertificatePair, str]:
        """The CA, which is replaced when due, and the previous CA's certificate while it is valid."""
        path = ApiPath("", "v1", "secrets", self._namespace, _CA)
        data = await self._secret(path)
        found, previous = _pair(data), data.get("former.crt", "")
        if found is not None and ca_usable(found, now):
            return found, previous if still_valid(previous, now) else ""
        ca = make_ca(now)
        kept = found.certificate if found is not None and still_valid(found.certificate, now) else ""
        _log.info("making a new CA")
        values = {"tls.crt": ca.certificate, "tls.key": ca.key, "former.crt": kept}
        await self._put_secret(path, _CA, "Opaque", values, exists=bool(data))
        return ca, kept

    async def _leaf(self, service: str, ca: CertificatePair, cas: Sequence[str], now: dt.datetime) -> None:
        name = f"{service}-tls"
        path = ApiPath("", "v1", "secrets", self._namespace, name)
        names = [
            f"{service}.{self._namespace}.svc",
            f"{service}.{self._namespace}.svc.cluster.local",
            f"{service}.{self._namespace}",
            service,
        ]
        data = await self._secret(path)
        if leaf_usable(_pair(data), cas, names, now):
            return
        _log.info("making a certificate for %s", names[0])
        leaf = make_leaf(ca, names, now, client=service == _WEB)
        values = {"tls.crt": leaf.certificate, "tls.key": leaf.key}
        await self._put_secret(path, name, "kubernetes.io/tls", values, exists=bool(data))

    async def _config_map(self, namespace: str, bundle: str) -> None:
        path = ApiPath("", "v1", "configmaps", namespace, _CA)
        found = await self._get(path)
        if found is not None and found.get("data") == {"ca.crt": bundle}:
            return
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _CA},
            "data": {"ca.crt": bundle},
        }
        if found is None:
            await self._client.request("POST", path.collection, body=body)
        else:
            patch = {"data": {"ca.crt": bundle}}
            await self._client.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def _webhook(self, path: ApiPath, bundle: str) -> None:
        """Write the bundle into every webhook of the configuration; does nothing if there is none (mode Observe)."""
        found = await self._get(path)
        if found is None:
            return
        wanted = base64.b64encode(bundle.encode()).decode()
        webhooks = found.get("webhooks")
        if not isinstance(webhooks, list):
            return
        stale = [w for w in webhooks if w["clientConfig"].get("caBundle") != wanted]
        if not stale:
            return
        for webhook in webhooks:
            webhook["clientConfig"]["caBundle"] = wanted
        version = at(found, "metadata").get("resourceVersion")
        # The list is replaced whole; the version makes that fail if somebody else changed it meanwhile.
        patch = {"metadata": {"resourceVersion": version}, "webhooks": webhooks}
        await self._client.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def _secret(self, path: ApiPath) -> dict[str, str]:
        """A Secret's data as text; empty if there is none."""
        found = await self._get(path)
        data = at(found, "data").items()
        return {key: base64.b64decode(str(value)).decode("utf-8", "replace") for key, value in data}

    async def _put_secret(self, path: ApiPath, name: str, kind: str, values: Mapping[str, str], exists: bool) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": kind,
            "metadata": {"name": name},
            "stringData": dict(values),
        }
        if exists:
            await self._client.request("PATCH", path, {"stringData": dict(values)}, content_type=MERGE_PATCH)
        else:
            await self._client.request("POST", path.collection, body=body)

    async def _get(self, path: ApiPath) -> dict[str, object] | None:
        try:
            return await self._client.request("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise


def _pair(data: Mapping[str, str]) -> CertificatePair | None:
    if not data.get("tls.crt") or not data.get("tls.key"):
        return None
    return CertificatePair(data["tls.crt"], data["tls.key"])
