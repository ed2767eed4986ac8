"""The page as a whole: header and tabs, and how Gradio is told to serve them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import gradio as gr

from studio.ui import create, gallery, models, people
from studio.ui.assets import Assets
from studio.ui.form import Studio
from studio.ui.theme import pochade
from studio.ui.widget import widget

__all__ = ["Studio", "build", "mount_options"]


#: Gradio keeps 0.2 MB for every page that was ever opened. Ours needs none of it back.
_SESSIONS: Final = 64


def build(studio: Studio) -> gr.Blocks:
    with gr.Blocks(title="Pochade", analytics_enabled=False, fill_width=True) as page:
        widget("header", elem_id="header")
        create.build(studio, page)
        models.build()
        gallery.build()
        people.build()
    page.queue(api_open=False)
    page.state_session_capacity = _SESSIONS
    return page


def mount_options(assets: Path, root_path: str = "") -> dict[str, Any]:
    """Keyword arguments for `gradio.mount_gradio_app`; `assets` holds our `css` and `js` folders."""
    own = Assets.of(assets)
    return {
        "theme": pochade(),
        "head": own.head(root_path),
        "favicon_path": str(assets / "favicon.svg"),
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "root_path": root_path or None,
        "show_error": False,
        "app_kwargs": {"routes": [own.route()], "openapi_url": None, "docs_url": None, "redoc_url": None},
    }
