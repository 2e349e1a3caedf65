"""Answers the reviews of pods with a run label with the patch that gives them token, CA and variables."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from carbonbudget_operator.admission.review_bodies import ReviewBody
from carbonbudget_operator.admission.review_parser import parse_head, parse_review
from carbonbudget_operator.admission.tracking_patch import MOST_CA_CHARACTERS, tracking_patch
from carbonbudget_operator.logs import FailureLog

_log = logging.getLogger(__name__)
_READ_SECONDS: Final = 15.0


class CaFile:
    """The text of a CA file, read again at most every 15 s: the kubelet replaces the file when the CA changes."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._text, self._due = "", -1.0
        self._failures = FailureLog()

    def text(self) -> str:
        """The PEM text; empty without a file, or if it is longer than what fits into a variable."""
        if self._path is not None and self._clock() >= self._due:
            self._due = self._clock() + _READ_SECONDS
            self._text = self._read(self._path)
        return self._text

    def _read(self, path: Path) -> str:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                text = file.read(MOST_CA_CHARACTERS + 1)
        except (OSError, UnicodeDecodeError) as error:
            if self._failures.begins(str(path)):
                _log.warning("the CA cannot be read, so tracked pods get none until it can: %s", error)
            return ""
        self._failures.ends(str(path))
        return text if len(text) <= MOST_CA_CHARACTERS else ""


class TrackingHandler:
    """Answers reviews. `server_url` and `ca` are what the client in the pod connects to."""

    def __init__(self, server_url: str, ca: CaFile) -> None:
        self._server_url, self._ca = server_url, ca

    def answer(self, body: ReviewBody) -> tuple[dict[str, object], str]:
        """Returns the AdmissionReview for the API server, and the outcome: patched, unchanged or too_large.

        It always allows the pod. Raises ValueError (BadReview among them) for a body that is no review.
        """
        if body.too_large():
            return _allowed(parse_head(body.received).uid), "too_large"
        review = parse_review(orjson.loads(body.received))
        is_pod = review.operation == "CREATE" and review.resource == ("", "pods") and not review.subresource
        patch = tracking_patch(review.object, self._server_url, self._ca.text()) if is_pod else []
        if not patch:
            return _allowed(review.uid), "unchanged"
        encoded = base64.b64encode(orjson.dumps(patch)).decode()
        return _allowed(review.uid, {"patchType": "JSONPatch", "patch": encoded}), "patched"


def _allowed(uid: str, patch: dict[str, str] | None = None) -> dict[str, object]:
    response = {"uid": uid, "allowed": True, **(patch or {})}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
