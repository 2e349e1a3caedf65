"""The page's style sheet, scripts and icon. Their addresses change with their content, so that browsers keep them."""

from __future__ import annotations

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from carbonbudget_operator.web.rendering import STATIC


class KeptStaticFiles(StaticFiles):
    """Static files that browsers keep for a year, where they are asked for by the digest of their content."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404."""
        response = await super().get_response(path, scope)
        kept = response.status_code in (200, 304) and scope.get("query_string", b"").startswith(b"v=")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return response
