"""The few of Gradio's routes our page uses. All others, its files, uploads, queue and proxies, do not exist here."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: Method and path of everything that is let through; `/studio` is our own room.
ALLOWED: Final = tuple(
    (method, re.compile(pattern))
    for method, pattern in (
        ("GET", r"/"),
        ("GET", r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"),
        ("GET", r"/(assets|static)/(?!.*\.\.)[A-Za-z0-9_./@+-]+"),
        ("GET", r"/page/[0-9a-f]+/[a-z0-9.-]+"),
        ("POST", r"/gradio_api/run/predict"),
        ("GET|POST|PUT|PATCH|DELETE", r"/studio/.*"),
        ("GET", r"/(healthz|metrics)"),
    )
)


def is_open(method: str, path: str) -> bool:
    method = "GET" if method == "HEAD" else method
    return any(method in methods.split("|") and pattern.fullmatch(path) for methods, pattern in ALLOWED)


class Fence:
    """ASGI middleware around the whole app: what is not listed is answered as what does not exist."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["method"], scope["path"]):
            await JSONResponse({"error": "There is nothing here."}, 404)(scope, receive, send)
            return
        await self.app(scope, receive, send)
