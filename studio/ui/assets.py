"""Our scripts and styles: read once, served under an address that changes with their content, so browsers keep them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
#: Before the first paint: a page that flashes white in a dark room is no place to judge colours.
_FIRST_PAINT: Final = """
try { document.documentElement.dataset.theme = localStorage.getItem("pochade.theme") === "light" ? "light" : "dark"; }
catch { document.documentElement.dataset.theme = "dark"; }
""".strip()


@dataclass(frozen=True, slots=True)
class Assets:
    """File name → content: every script under its own name, all styles, in their names' order, as `page.css`."""

    files: dict[str, bytes]
    digest: str

    @classmethod
    def of(cls, folder: Path) -> Assets:
        files = {path.name: path.read_bytes() for path in sorted((folder / "js").glob("*.js"))}
        files["page.css"] = b"\n".join(path.read_bytes() for path in sorted((folder / "css").glob("*.css")))
        whole = hashlib.sha256()
        for name, content in sorted(files.items()):
            whole.update(name.encode() + b"\0" + content)
        return cls(files, whole.hexdigest()[:12])

    def route(self) -> Route:
        async def serve(request: Request) -> Response:
            name = request.path_params["name"]
            content = self.files.get(name)
            if content is None or request.path_params["digest"] != self.digest:
                return Response("No such file; reload the page.", 404)
            headers = {"cache-control": "public, max-age=31536000, immutable"}
            return Response(content, headers=headers, media_type=_TYPES[Path(name).suffix])

        return Route("/page/{digest}/{name}", serve)

    def head(self, root_path: str) -> str:
        """What goes into the page's head. `root_path`: where a proxy serves the studio, empty at the root."""
        base = escape(f"{root_path.rstrip('/')}/page/{self.digest}", quote=True)
        # Canvases and the pose editor come with the first tab that needs them.
        late = ("canvas", "pose")
        scripts = sorted(name for name in self.files if name.endswith(".js") and not name.startswith(late))
        lines = [
            f"<script>{_FIRST_PAINT} window.pochade = {{ scripts: '{base}' }};</script>",
            f'<link rel="stylesheet" href="{base}/page.css">',
            *(f'<link rel="modulepreload" href="{base}/{name}">' for name in scripts),
            f'<script type="module" src="{base}/main.js"></script>',
        ]
        return "\n".join(lines)
