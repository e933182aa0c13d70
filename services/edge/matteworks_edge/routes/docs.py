"""The OpenAPI document and a page to read and try it; nothing is loaded from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from swagger_ui_bundle import swagger_ui_path

from matteworks_edge.errors import route_not_found
from matteworks_edge.exchange import exchange_of

_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_POLICY: Final = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'"
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Matteworks API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });\n'


class DocumentationEndpoints:
    """Serves one OpenAPI document and the page around it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = json.dumps(document, indent=1).encode()
        self._directory = Path(str(swagger_ui_path))

    async def document(self, request: Request) -> Response:
        """The OpenAPI 3.1 document."""
        exchange_of(request).route = "docs"
        return Response(self._document, media_type="application/json")

    async def page(self, request: Request) -> Response:
        """The page."""
        exchange_of(request).route = "docs"
        return Response(_PAGE, headers={"Content-Security-Policy": _POLICY}, media_type="text/html")

    async def part(self, request: Request) -> Response:
        """A script, style sheet or icon of the page."""
        exchange_of(request).route = "docs"
        name: str = request.path_params["name"]
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _FILES:
            raise route_not_found()
        return FileResponse(self._directory / name, media_type=_FILES[name])
