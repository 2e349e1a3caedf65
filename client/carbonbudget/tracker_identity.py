"""Who this pod is, for the tags of trackers: by its own token, its files and its environment."""

from __future__ import annotations

import base64
import json
import os

from carbonbudget.client_settings import ClientSettings
from carbonbudget.span_log import pod_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_TOKEN_BYTES = 65_536


def tracker_identity(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """`namespace`, `pod`, `pod_uid`, `run` and `job`, as far as they are known; nothing outside a pod.

    The token's text is not verified: it is our own, and what it says is a claim that only finds the run again.
    `run` is the pod's label and not what `init` was given: the server knows the run by the label.
    """
    environment = os.environ if environment is None else environment
    settings = ClientSettings(environment)
    if settings.disabled:
        return {}
    names = ("namespace", "pod_uid", "run", "job")
    found = {name: environment.get(f"CARBONBUDGET_{name.upper()}", "").strip() for name in names}
    found.update(pod_identity())
    found.update(_claims(settings.token_file))
    return {name: value for name, value in found.items() if value} if found["namespace"] else {}


def _claims(token_file: str) -> dict[str, str]:
    try:
        with open(token_file, encoding="ascii") as file:
            body = file.read(_MAX_TOKEN_BYTES).split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["kubernetes.io"]
        its = {"namespace": told["namespace"], "pod": told["pod"]["name"], "pod_uid": told["pod"]["uid"]}
        return {name: value for name, value in its.items() if isinstance(value, str)}
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # no token, or one that is bound to no pod
