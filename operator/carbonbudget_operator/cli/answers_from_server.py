"""Answers from a server: through the API server with the caller's kubeconfig, or at a URL.

Through the API server, its proxy passes the question on to the server's Service. It takes the caller's own credentials
away from it, so the server would not know who asks: the command first asks the API server for a short-lived token of
one of the chart's four accounts (TokenRequest), and sends it in a header of its own. A kubeconfig with a client
certificate works like one with a token, and the server never sees what would be good for the API server.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import httpx

from carbonbudget_operator.api_path import ApiPath, InvalidPath, ServicePath
from carbonbudget_operator.cli.answer_source import AnswerSourceError, JsonObject, Span
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.ledger.closed_reports import ClosedReport

SERVICE: Final = "carbonbudget-server"
READER: Final = "carbonbudget-reports"
CLOSER: Final = "carbonbudget-closing"
IMPORTER: Final = "carbonbudget-importing"
SHARER: Final = "carbonbudget-sharing"
TOKEN_HEADER: Final = "X-Carbonbudget-Token"  # noqa: S105 - a header's name
AUDIENCE: Final = "carbonbudget-server"
_TOKEN_SECONDS: Final = 600  # the least that Kubernetes gives
_MOST_BYTES: Final = 256 * 2**20
_CONNECT_SECONDS: Final = 10
_PAGE_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """One request to the server; `account` is whose right it needs."""

    method: str
    path: str
    params: Mapping[str, str | int]
    body: JsonObject | None = None
    account: str = READER
    content: bytes | None = None  # instead of `body`: a file as it is


class Transport(Protocol):
    """How a question gets to the server."""

    def send(self, question: ServerRequest) -> tuple[int, bytes]:
        """Status and body of the server's own answer. Raises AnswerSourceError for any other."""


class ServerSource:
    """Implements `AnswerSource` by questions to the server."""

    def __init__(self, way: Transport) -> None:
        self._way = way

    def allocation(self, span: Span, group_by: str, filter_by: str) -> JsonObject:
        """Total, rows and factors, and `settings`: the server's."""
        params: dict[str, str | int] = {"from": span[0], "to": span[1], "group_by": group_by, "filter": filter_by}
        return self._ask(ServerRequest("GET", "/v1/allocation", params), {"rows", "total"})

    def runs(self, span: Span, namespace: str, labels: Mapping[str, str]) -> JsonObject:
        """The rows of all pages, and the total."""
        params: dict[str, str | int] = {
            "from": span[0], "to": span[1], "namespace": namespace, "unlabelled": "true", "limit": _PAGE_ROWS,
            "labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        }  # fmt: skip
        return self.rows("runs", params)

    def target(self, namespace: str, name: str) -> JsonObject:
        """A target and how it stands, as the public API has it; without a namespace a ClusterCarbonTarget."""
        path = f"/api/v1/targets/{namespace}/{name}" if namespace else f"/api/v1/clustertargets/{name}"
        return self._ask(ServerRequest("GET", path, {}), {"state", "current_ug", "expected_ug"})

    def rows(
        self, resource: str, params: Mapping[str, str | int], keys: AbstractSet[str] = frozenset({"rows", "total"})
    ) -> JsonObject:
        """An answer of the public API with the rows of all its pages; `resource` is its name there, such as "runs"."""
        path = f"/api/v1/{resource}"
        whole = page = self._ask(ServerRequest("GET", path, params), keys)
        while (cursor := page.get("next")) and isinstance(cursor, str):
            page = self._ask(ServerRequest("GET", path, {**params, "cursor": cursor}), keys)
            whole["rows"] += page["rows"]
        return whole

    def intensity(self, span: Span, zones: str) -> JsonObject:
        """Figures and forecast of zones joined by commas, else of those of the nodes: the rows of all pages."""
        params: dict[str, str | int] = {"from": span[0], "to": span[1], "limit": _PAGE_ROWS}
        if zones:
            params["zone"] = zones
        return self.rows("intensity", params, {"rows", "zones"})

    def projection(self) -> JsonObject:
        """The rates of new work, and the means of former runs: for those who may read the whole cluster."""
        return self._ask(ServerRequest("GET", "/v1/projection", {}), {"rates", "runs"})

    def report(self, span: Span, period: str, compare: bool = False) -> JsonObject:
        """A report, and `settings`: the server's."""
        params: dict[str, str | int] = {"period": period} if period else {"from": span[0], "to": span[1]}
        if compare:
            params["compare"] = "previous"
        found = self._ask(ServerRequest("GET", "/v1/report", params), {"total", "namespaces"})
        if compare and "change" not in found:
            raise AnswerSourceError("the server is of an earlier version and compares no periods: leave --compare out")
        return found

    def closures(self) -> JsonObject:
        """All closed reports and all closures that were undone, without their texts."""
        said = self._ask(ServerRequest("GET", "/v1/report/closures", {}), {"items"})
        items, reopened = said["items"], said.get("reopened", [])  # a server of an earlier version lists none
        understood = (
            isinstance(items, list) and isinstance(reopened, list) and all(map(_is_closure, [*items, *reopened]))
            and all(type(one.get("reopened_at")) is int and "reason" in one for one in reopened)
        )  # fmt: skip
        if not understood:
            raise AnswerSourceError("the server's list of closed reports cannot be read: are versions mixed?")
        return {"items": items, "reopened": reopened}

    def closed(self, period: str) -> ClosedReport:
        """One closed report."""
        return self._closed(ServerRequest("GET", "/v1/report/closed", {"period": period}))

    def close(self, period: str, incomplete: bool) -> ClosedReport:
        """Close a period's report."""
        body: JsonObject = {"period": period, "incomplete": incomplete}
        return self._closed(ServerRequest("POST", "/v1/report/close", {}, body, CLOSER))

    def reopen(self, period: str, reason: str) -> ClosedReport:
        """Undo a closure; what was closed."""
        body: JsonObject = {"period": period, "reason": reason}
        return self._closed(ServerRequest("POST", "/v1/report/reopen", {}, body, CLOSER))

    def external_files(self) -> JsonObject:
        """All imported files of external figures, and all that were removed."""
        return self._ask(ServerRequest("GET", "/v1/external", {}), {"items", "removed"})

    def import_external(self, content: bytes, request: ImportRequest) -> JsonObject:
        """Import a file of external figures; what was imported."""
        given = {
            "format": request.form, "name": request.name, "timezone": request.timezone, "month": request.month,
            "account": request.account, "scope": request.scope,
        }  # fmt: skip
        params = {key: value for key, value in given.items() if value}
        question = ServerRequest("POST", "/v1/external", params, None, IMPORTER, content)
        return self._ask(question, {"source", "sha256", "figures"})

    def remove_external(self, source: str, sha256: str, reason: str) -> JsonObject:
        """Remove an imported file's figures; what was removed."""
        body: JsonObject = {"source": source, "sha256": sha256, "reason": reason}
        question = ServerRequest("POST", "/v1/external/remove", {}, body, IMPORTER)
        return self._ask(question, {"source", "sha256", "figures"})

    def import_spans(self, namespace: str, pod_uid: str, run: str | None, spans: Sequence[JsonObject]) -> JsonObject:
        """Import some spans of one pod; how many were accepted, and the others with the reason."""
        body: JsonObject = {"namespace": namespace, "pod_uid": pod_uid, "spans": list(spans)}
        if run is not None:
            body["run"] = run
        question = ServerRequest("POST", "/v1/spans/import", {}, body, IMPORTER)
        return self._ask(question, {"accepted", "refused"})

    def read_tokens(self) -> JsonObject:
        """The read tokens that the caller may see, without the tokens themselves."""
        return self._ask(ServerRequest("GET", "/v1/tokens", {}, account=SHARER), {"items"})

    def create_read_token(self, namespaces: Sequence[str], seconds: int, name: str) -> JsonObject:
        """Create a read token; its record and the token, which nobody can read again."""
        body: JsonObject = {"namespaces": list(namespaces), "seconds": seconds, "name": name}
        return self._ask(ServerRequest("POST", "/v1/tokens", {}, body, SHARER), {"id", "token"})

    def revoke_read_token(self, number: int) -> JsonObject:
        """Revoke a read token; its number and namespaces."""
        return self._ask(ServerRequest("POST", "/v1/tokens/revoke", {}, {"id": number}, SHARER), {"id"})

    def _closed(self, question: ServerRequest) -> ClosedReport:
        found = self._ask(question, {"period", "closed_at", "sha256", "report"})
        if not _is_closure(found):
            raise AnswerSourceError("the server's closed report cannot be read: are versions mixed?")
        return ClosedReport(str(found["period"]), int(found["closed_at"]), str(found["sha256"]), str(found["report"]))

    def _ask(self, question: ServerRequest, keys: AbstractSet[str]) -> JsonObject:
        status, text = self._way.send(question)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise AnswerSourceError(
                f"the server cannot be asked: it answered {status} with something else than JSON"
            ) from None
        said = value if isinstance(value, dict) else {}
        if status == 200 and said.keys() >= keys:
            return said
        if status == 404 and said == {"detail": "Not Found"}:
            raise AnswerSourceError(f"the server is of an earlier version: it has no {question.path}")
        # /api/v1 has RFC 9457's `detail`, the other paths have `reason`.
        reason = said.get("reason", said.get("detail"))
        raise AnswerSourceError(_refusal(status, reason, "rows" in keys), 2 if status == 400 else 1)


class UrlTransport:
    """A server at a URL: for a network that reaches it, or behind `kubectl port-forward`.

    `name` is the name in its certificate where that is not the URL's; `ca` and `token_file` are files.
    """

    def __init__(self, url: str, ca: Path | None, name: str, token_file: Path | None, timeout: float) -> None:
        self._url, self._ca, self._name, self._token_file, self._timeout = (
            url.rstrip("/"),
            ca,
            name,
            token_file,
            timeout,
        )

    def send(self, question: ServerRequest) -> tuple[int, bytes]:
        """Status and body of the answer."""
        try:
            token = _as_header(self._token_file.read_bytes(), f"{self._token_file}") if self._token_file else ""
        except OSError as error:
            said = f"{self._token_file} cannot be read: {error.strerror}"
            raise AnswerSourceError(f"{self._url} cannot be asked: {said}", 2) from None
        except ValueError as error:
            raise AnswerSourceError(f"{self._url} cannot be asked: {error}", 2) from None
        try:
            verify = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        except (OSError, ValueError) as error:  # it does not name the file
            said = f"the CA {self._ca} cannot be read: {getattr(error, 'strerror', None) or error}"
            raise AnswerSourceError(f"{self._url} cannot be asked: {said}", 2) from None
        try:
            with httpx.Client(verify=verify, timeout=_times(self._timeout)) as client:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                return _exchange(client, self._url + question.path, question, headers, self._name)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise AnswerSourceError(f"--server-url {self._url!r} is no http or https URL: {error}", 2) from None
        except (OSError, ValueError, httpx.HTTPError) as error:
            raise AnswerSourceError(f"{self._url} cannot be asked: {error}{_certificate_hint(error)}") from None


class ApiServerTransport:
    """The server's Service in `namespace`, by the API server's proxy.

    `account` (namespace and name) is whose token goes to the server, instead of the chart's account of each request.
    """

    def __init__(
        self, who: Credentials, namespace: str, timeout: float, account: tuple[str, str] | None = None
    ) -> None:
        self._who, self._namespace, self._timeout, self._account = who, namespace, timeout, account

    def send(self, question: ServerRequest) -> tuple[int, bytes]:
        """Status and body of the server's answer; what the API server refuses itself is an AnswerSourceError."""
        verify = self._who.ssl_context() if self._who.url.startswith("https") else True
        try:
            with self._client(verify) as client:
                token = self._token(client, question.account)
                path = ServicePath(self._namespace, SERVICE, 8443, question.path).text()
                status, text = _exchange(client, self._who.url + path, question, {TOKEN_HEADER: token})
        except InvalidPath as error:
            raise AnswerSourceError(f"--server-namespace: {error}", 2) from None
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise AnswerSourceError(f"the API server at {self._who.url} cannot be asked: {error}") from None
        self.check(status, text, f"{'get' if question.method == 'GET' else 'create'} services/proxy", question.account)
        return status, text

    def token_of(self, account: str) -> str:
        """A short-lived token of an account in `namespace`, with our audience. Raises AnswerSourceError."""
        verify = self._who.ssl_context() if self._who.url.startswith("https") else True
        try:
            with self._client(verify) as client:
                return self._token(client, account)
        except InvalidPath as error:
            raise AnswerSourceError(str(error), 2) from None
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise AnswerSourceError(f"the API server at {self._who.url} cannot be asked: {error}") from None

    def _client(self, verify: ssl.SSLContext | bool) -> httpx.Client:
        proxy = self._who.proxy or None  # the credentials know it: the environment is not read again
        headers = self._own_headers()
        return httpx.Client(verify=verify, timeout=_times(self._timeout), headers=headers, proxy=proxy, trust_env=False)

    def _own_headers(self) -> list[tuple[str, str]]:
        """What the API server knows the user by."""
        own = _own_token(self._who)
        return [*self._who.impersonated, *([("Authorization", f"Bearer {own}")] if own else [])]

    def _token(self, client: httpx.Client, account: str) -> str:
        namespace, account = self._account or (self._namespace, account)
        path = ApiPath("", "v1", "serviceaccounts", namespace, account, "token").text()
        body: JsonObject = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE], "expirationSeconds": _TOKEN_SECONDS},
        }
        status, text = _exchange(client, self._who.url + path, ServerRequest("POST", path, {}, body), {})
        self.check(status, text, "create serviceaccounts/token", account)
        try:
            return _as_header(str(json.loads(text)["status"]["token"]).encode(), "the answer")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AnswerSourceError(f"the API server answered {status} to a TokenRequest with something else") from None

    def check(self, status: int, text: bytes, right: str, account: str) -> None:
        """Raise AnswerSourceError if the API server itself refused (a Status); our server gives a `reason`."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(said, dict) or said.get("kind") != "Status":
            return
        message = " ".join(str(said.get("message", "")).split())
        where = f"namespace {self._namespace}"
        if status == 401:
            raise AnswerSourceError("the API server does not know who you are: renew your credentials")
        if status == 403:
            role = f"role {account} in {where} has it (docs/reference/rest.md)"
            raise AnswerSourceError(f"the right to {right} is missing, {role}: {message}", missing_right=True)
        if status == 404:
            raise AnswerSourceError(
                f"no carbonbudget server in {where} ({message}): --server-namespace names the chart's namespace"
            )
        if status == 503:
            raise AnswerSourceError(f"the server in {where} does not answer just now ({message}): try again")
        if status == 429 or status >= 500:
            raise AnswerSourceError(f"the API server could not answer ({status}): {message}; try again")
        raise AnswerSourceError(f"the API server refuses the request: {message}")


def _exchange(
    client: httpx.Client, url: str, question: ServerRequest, headers: Mapping[str, str], server_name: str = ""
) -> tuple[int, bytes]:
    extensions = {"sni_hostname": server_name} if server_name else {}
    with client.stream(
        question.method, url, params=dict(question.params) or None, json=question.body, content=question.content,
        headers=headers, extensions=extensions,
    ) as response:  # fmt: skip
        read = bytearray()
        for part in response.iter_bytes():
            read += part
            if len(read) > _MOST_BYTES:
                raise ValueError(f"its answer is larger than {_MOST_BYTES} bytes")
        return response.status_code, bytes(read)


def _refusal(status: int, reason: object, of_allocation: bool) -> str:
    """What the server says of a question that it does not answer; the code only where no reason came with it."""
    if status == 200:
        return f"the answer holds no {'allocation' if of_allocation else 'report'}: is that the carbonbudget server?"
    if not isinstance(reason, str) or not reason.strip():
        return f"the server answered {status} and gave no reason: is that the carbonbudget server?"
    if status == 401:
        return f"the server does not accept your token: {reason}"
    if status == 429 or status >= 500:
        return f"the server could not answer: {reason}; try again"
    return reason


def _is_closure(item: object) -> bool:
    return isinstance(item, dict) and item.keys() >= {"period", "sha256"} and type(item.get("closed_at")) is int


def _as_header(token: bytes, where: str) -> str:
    """The token as a header's text. Raises ValueError without it: what is there by mistake may be a private key."""
    text = token.decode("ascii", "replace").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{where} holds no token: a token is one line of letters, digits and signs")
    return text


def _own_token(who: Credentials) -> str:
    try:
        return _as_header(who.token().encode(), "the kubeconfig")
    except (OSError, ValueError) as error:
        raise AnswerSourceError(f"the API server at {who.url} cannot be asked: {error}", 2) from None


def _times(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _certificate_hint(error: Exception) -> str:
    if "mismatch" in str(error):
        return f"; --server-name {SERVICE}.NAMESPACE.svc names it, or leave --server-url out and ask by your kubeconfig"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "; --server-ca names its CA: `ca.crt` of the ConfigMap carbonbudget-ca"
    return ""
