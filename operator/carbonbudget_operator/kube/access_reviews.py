"""Authentication and authorization of callers, by TokenReview and SubjectAccessReview, with short caches.

The server's HTTP API uses it. The API server decides, so that RBAC of the cluster applies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from carbonbudget_core.jsons import mapping
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.review_turns import AccessUnavailable, RefusedTokens, ReviewTurns, TooManyRefused
from carbonbudget_operator.logs import LogRateLimit
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_log = logging.getLogger(__name__)

__all__ = ["Access", "AccessUnavailable", "Caller", "CallingPod", "TooManyRefused", "Unauthenticated"]

K = TypeVar("K")
V = TypeVar("V")

_TOKEN_REVIEWS = ApiPath("authentication.k8s.io", "v1", "tokenreviews")
_ACCESS_REVIEWS = ApiPath("authorization.k8s.io", "v1", "subjectaccessreviews")
_NODE_NAME = "authentication.kubernetes.io/node-name"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_OF_ONE_TOKEN = frozenset(
    {_NODE_NAME, _POD_NAME, _POD_UID}
    | {f"authentication.kubernetes.io/{name}" for name in ("node-uid", "credential-id")}
)
_SERVICE_ACCOUNT = "system:serviceaccount:"
_TOKEN_SECONDS = 300.0
_REFUSED_SECONDS = 10.0
_RIGHT_SECONDS = 60.0
_MAX_ENTRIES = 20_000
# TokenReviews in progress, and of one address. Tokens that were accepted before have places of their own, and some of
# the client's 32 connections: agents and the controller are renewed every 5 minutes, whatever unknown tokens come.
_RENEWALS = 200
_MOST_REVIEWS = 1_000 - _RENEWALS
_MOST_REVIEWS_EACH = 64
_UNKNOWN_AT_ONCE = 24


class Unauthenticated(Exception):
    """The token is missing, expired, invalid, or for another audience. The message is one line."""


@dataclass(frozen=True, slots=True)
class CallingPod:
    """The pod that a token is bound to, as the API server states it."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class UsedReadToken:
    """The number and the name of a read token, as its creator knows it."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `node` is the node that its token is bound to, or empty.

    `namespaces`: a read token's, to which its creator's rights are restricted; None for everybody else. `read_token`:
    which token that is.
    """

    user: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]
    node: str
    namespaces: tuple[str, ...] | None = None
    read_token: UsedReadToken | None = None

    @property
    def pod(self) -> CallingPod | None:
        """The pod that its token is bound to; None for a token of no pod."""
        uid, name = (next(iter(self.extra.get(key, ())), "") for key in (_POD_UID, _POD_NAME))
        namespace, _, account = self.user.removeprefix(_SERVICE_ACCOUNT).partition(":")
        if not (uid and name and account and self.user.startswith(_SERVICE_ACCOUNT)):
            return None
        return CallingPod(namespace, name, uid)

    def is_restricted_from(self, namespace: str) -> bool:
        """Whether it has a read token that is not for this namespace (EVERY_NAMESPACE: for all of them)."""
        return self.namespaces is not None and not {EVERY_NAMESPACE, namespace} & set(self.namespaces)

    def missing_right(self, namespaces: Sequence[str] = ()) -> str:
        """The reason, as a sentence, why the caller is shown none of these namespaces.

        EVERY_NAMESPACE stands for the whole cluster. Without names, the caller asked for what it may read, and that is
        nothing.
        """
        if not namespaces:
            where = "any namespace"
        elif EVERY_NAMESPACE in namespaces:
            where = "all namespaces"
        else:
            where = f"namespace {namespaces[0]}" if len(namespaces) == 1 else "any of these namespaces"
        restricted = [name for name in namespaces if self.is_restricted_from(name)]
        if namespaces and len(restricted) == len(namespaces):
            hint = " (`--namespaces '*'`)" if EVERY_NAMESPACE in namespaces else ""
            return f"the read token is not for {where}{hint}: create another one"
        if self.namespaces is not None and (restricted or not namespaces):
            where = "any namespace of the token"
        return f"{self.right_holder} may not get carbonbudgets in {where}"

    @property
    def rights_key(self) -> bytes:
        """A digest of all that its rights depend on: equal for all tokens of one account, so that caches know it again.

        `extra` may hold the scopes that a token is restricted to. What names the token, its pod or its node is left
        out. RBAC does not use it; an authorizer that does gives one answer for an account within a cache's minutes.
        """
        extra = sorted((key, values) for key, values in self.extra.items() if key not in _OF_ONE_TOKEN)
        who = [self.user, self.uid, self.groups, extra]
        return hashlib.sha256(json.dumps(who).encode()).digest()

    @property
    def right_holder(self) -> str:
        """The user whose rights count: a read token has its creator's."""
        return self.user if self.namespaces is None else f"the read token's creator {self.user}"


class Access:
    """Sends reviews to the API server and caches the answers: an identity for 5 minutes, a right for 1 minute."""

    def __init__(self, client: KubeClient, audience: str, proxies: Collection[str] = ()) -> None:
        """`proxies`: names of the client certificates that may state a user."""
        self._client, self._audience, self.proxies = client, audience, frozenset(proxies)
        # Apart, because invented tokens must not push out those that were accepted.
        self._callers: dict[bytes, tuple[Caller, float]] = {}
        self._refused: dict[bytes, float] = {}
        self._rights: dict[tuple[bytes, str], tuple[bool, float]] = {}
        full = "too many unknown tokens are being checked"
        self._turns = ReviewTurns(_MOST_REVIEWS, _MOST_REVIEWS_EACH, _UNKNOWN_AT_ONCE, full)
        self._renewals = ReviewTurns(_RENEWALS, _MOST_REVIEWS_EACH, _RENEWALS)
        self._refused_lately = RefusedTokens()
        self._lines = LogRateLimit(1)

    async def authenticate(self, token: str, address: str = "", user_tokens: bool = False) -> Caller:
        """Return the caller that a token belongs to. `address` is the client's address; reviews are limited for each.

        `user_tokens`: also accept a token that is good for the API server itself. It is asked about second, and cached
        apart, so that such a token is accepted nowhere else.

        Raises:
            Unauthenticated: the token is not valid for this audience.
            AccessUnavailable: the API server did not answer, or too many reviews are in progress.
            TooManyRefused: the token is unknown, and too many of this address were refused in the last seconds.
        """
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        of_user = digest + b"user"
        was_accepted = digest in self._callers or of_user in self._callers
        last = of_user if user_tokens else digest
        is_reviewed = time.monotonic() >= self._refused.get(last, 0.0)  # else an answer of a moment ago holds
        if is_reviewed and not was_accepted:
            self._refused_lately.check(address)
        caller = await self._known(digest, token, address, self._audience, was_accepted)
        if caller is None and user_tokens:
            caller = await self._known(of_user, token, address, None, was_accepted)
        if caller is None:
            if is_reviewed:
                self._refused_lately.add(address)
            raise Unauthenticated(f"the token is expired, invalid, or not for the audience {self._audience}")
        return caller

    async def _known(
        self, key: bytes, token: str, address: str, audience: str | None, was_accepted: bool
    ) -> Caller | None:
        caller, until = self._callers.get(key, (None, 0.0))
        if time.monotonic() < until:
            return caller
        if time.monotonic() < self._refused.get(key, 0.0):
            return None
        async with (self._renewals if was_accepted else self._turns).turn(address):
            caller = await self._review(token, audience)
        if caller is None:
            self._callers.pop(key, None)
            _store(self._refused, key, time.monotonic() + _REFUSED_SECONDS)
        else:
            _store(self._callers, key, (caller, time.monotonic() + min(_TOKEN_SECONDS, _seconds_left(token))))
        return caller

    async def may_read_budgets(self, caller: Caller, namespace: str, remember: bool = True) -> bool:
        """Whether the caller may get carbonbudgets in a namespace, or in EVERY_NAMESPACE."""
        resource = {"group": "carbonbudget.dev", "resource": "carbonbudgets", "verb": "get"}
        attributes = resource | ({"namespace": namespace} if namespace != EVERY_NAMESPACE else {})
        if caller.is_restricted_from(namespace):
            return False
        return await self._may(caller, {"resourceAttributes": attributes}, remember)

    async def may_read_cluster_budgets(self, caller: Caller) -> bool:
        """Whether the caller may get clustercarbonbudgets, which have no namespace."""
        resource = {"group": "carbonbudget.dev", "resource": "clustercarbonbudgets", "verb": "get"}
        if caller.is_restricted_from(EVERY_NAMESPACE):
            return False
        return await self._may(caller, {"resourceAttributes": resource})

    async def may_share_budgets(self, caller: Caller, namespace: str) -> bool:
        """Whether the caller may "share" carbonbudgets in a namespace, or in EVERY_NAMESPACE: create read tokens.

        A verb that only our server asks for. `get` alone is not enough: a token works for whoever holds it, and longer
        than its creator's own.
        """
        resource = {"group": "carbonbudget.dev", "resource": "carbonbudgets", "verb": "share"}
        attributes = resource | ({"namespace": namespace} if namespace != EVERY_NAMESPACE else {})
        return caller.namespaces is None and await self._may(caller, {"resourceAttributes": attributes})

    async def may_close_reports(self, caller: Caller, verb: str) -> bool:
        """Whether the caller may "create" (close) or "delete" (reopen) closedreports, which exist in the ledger alone.

        RBAC grants a resource by its name, whether the API server has such a kind or not.
        """
        resource = {"group": "carbonbudget.dev", "resource": "closedreports", "verb": verb}
        return await self._may(caller, {"resourceAttributes": resource})

    async def may_import_figures(self, caller: Caller, namespace: str = EVERY_NAMESPACE) -> bool:
        """Whether the caller may "import" carbonbudgets in a namespace: a verb that only our server asks for."""
        resource = {"group": "carbonbudget.dev", "resource": "carbonbudgets", "verb": "import"}
        attributes = resource | ({"namespace": namespace} if namespace != EVERY_NAMESPACE else {})
        return await self._may(caller, {"resourceAttributes": attributes})

    async def may_read_metrics(self, caller: Caller) -> bool:
        """Whether the caller may get the non-resource URL /metrics."""
        return await self._may(caller, {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}})

    async def _review(self, token: str, audience: str | None) -> Caller | None:
        """The token's owner; None if it is not valid for the audience (None: for the API server's own)."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token} | ({"audiences": [audience]} if audience is not None else {}),
        }
        status = await self._ask(_TOKEN_REVIEWS, body)
        user = status.get("user")
        audiences = status.get("audiences")
        if status.get("authenticated") is not True or not isinstance(user, dict):
            return None
        # An authenticator that does not support audiences returns none. Such a token may be for another service.
        if audience is not None and (not isinstance(audiences, list) or audience not in audiences):
            return None
        extra = {key: tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()}
        return Caller(
            user=str(user.get("username", "")),
            uid=str(user.get("uid", "")),
            groups=tuple(map(str, user.get("groups") or ())),
            extra=extra,
            node=next(iter(extra.get(_NODE_NAME, ())), ""),
        )

    async def _may(self, caller: Caller, question: dict[str, object], remember: bool = True) -> bool:
        key = (caller.rights_key, json.dumps(question, sort_keys=True))
        allowed, until = self._rights.get(key, (False, 0.0))
        if time.monotonic() >= until:
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": question
                | {
                    "user": caller.user,
                    "uid": caller.uid,
                    "groups": list(caller.groups),
                    "extra": {name: list(values) for name, values in caller.extra.items()},
                },
            }
            status = await self._ask(_ACCESS_REVIEWS, body)
            allowed = status.get("allowed") is True
            if remember:  # a search through all namespaces must not push out what is asked each minute
                _store(self._rights, key, (allowed, time.monotonic() + _RIGHT_SECONDS))
        return allowed

    async def _ask(self, path: ApiPath, body: Mapping[str, object]) -> Mapping[str, object]:
        try:
            status = (await self._client.request("POST", path, body=body)).get("status")
        except KubeError as error:
            if self._lines.admit(time.monotonic()) is not None:
                _log.warning("callers are refused with 503: the API server did not review one: %s", error.reason)
            # The caller is not known yet, or a tenant: where the API server is, and its words, are for the log.
            told = f"answered {error.status}" if error.status else "does not answer"
            raise AccessUnavailable(f"the caller cannot be reviewed: the API server {told}; try again") from error
        return mapping(status)


def _store(cache: dict[K, V], key: K, value: V) -> None:
    cache.pop(key, None)  # what is renewed is no longer among the oldest
    if len(cache) >= _MAX_ENTRIES:  # random tokens must not fill the memory: remove the oldest half
        for old in list(cache)[: _MAX_ENTRIES // 2]:
            del cache[old]
    cache[key] = value


def _seconds_left(token: str) -> float:
    """Seconds until the token expires, or 300 if it has no expiry. The token was verified before."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(0.0, float(claims["exp"]) - time.time())
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return _TOKEN_SECONDS
