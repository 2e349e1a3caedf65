"""Checks names of owners and labels by the rules of Kubernetes, beyond the DNS names of `api_path.py`. Pure.

Kind, name and uid of an ownerReference are free text: the creator of a pod writes them, and the API server only
requires that they are not empty.
"""

from __future__ import annotations

import re
from typing import Final

from carbonbudget_operator.api_path import is_subdomain
from carbonbudget_operator.printable import printable

_MAX_LABEL_TEXT: Final = 63
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LABEL_TEXT: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
# A UUID, or the hash of a static pod's manifest.
_UID: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]{0,127}")
_KIND: Final = re.compile(r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
# Names of most kinds are DNS subdomains. Some kinds, such as Role, also allow upper case, colons and underscores.
_OBJECT: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._:]{0,251}[A-Za-z0-9])?")


def is_uid(text: str) -> bool:
    """Whether the text can be the uid of an object."""
    return _UID.fullmatch(text) is not None


def no_namespace(name: str) -> str:
    """The sentence for a name that no namespace can have."""
    return f"{printable(name, 100)!r} can be no namespace's name: write at most 63 lower-case letters, digits and -"


def is_owner(kind: str, name: str, uid: str) -> bool:
    """Whether an object can have this kind, name and uid."""
    return _KIND.fullmatch(kind) is not None and _OBJECT.fullmatch(name) is not None and is_uid(uid)


def is_label_key(text: str) -> bool:
    """Whether the text is a valid label key: a name, with an optional DNS subdomain and slash before it."""
    prefix, slash, name = text.rpartition("/")
    return _is_label_text(name) and (not slash or is_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """Whether the text is a valid label value. It may be empty."""
    return not text or _is_label_text(text)


def _is_label_text(text: str) -> bool:
    return len(text) <= _MAX_LABEL_TEXT and _LABEL_TEXT.fullmatch(text) is not None
