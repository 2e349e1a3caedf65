"""JSON without white space. One encoder for all: `json.dumps` makes one for each call that wants no white space."""

from __future__ import annotations

import json

compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
