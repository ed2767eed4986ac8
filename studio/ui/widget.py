"""A part of the page that our own scripts draw: an empty Gradio component which imports its module when it appears."""

from __future__ import annotations

import json
from typing import Any, Final

import gradio as gr

_ON_LOAD: Final = """
const events = {events};
import(`${{window.pochade.scripts}}/{script}.js`).then((module) => module[{part}](element, props.data, trigger));
"""


class Widget(gr.HTML):
    """Drawn by the function `part` of `assets/js/<script>.js`.

    `data` reaches it as a value, never as markup. `events` are what it may trigger; each becomes a method here that
    takes a handler, as `click` does on a button.
    """

    def __init__(
        self, script: str, part: str = "mount", *, elem_id: str, data: object = None, events: tuple[str, ...] = ()
    ) -> None:
        super().__init__(
            html_template="",
            js_on_load=_ON_LOAD.format(events=json.dumps(events), script=script, part=json.dumps(part)),
            apply_default_css=False,
            elem_id=elem_id,
            elem_classes="widget",
            data=data,
        )

    def get_block_name(self) -> str:
        return "html"

    def on_trigger(self, event: str, *args: Any, **kwargs: Any) -> Any:
        """Handle one of `events`."""
        return getattr(self, event)(*args, **kwargs)
