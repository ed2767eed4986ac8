"""A part of the page that our own scripts draw: an empty Gradio component which imports its module when it appears."""

from __future__ import annotations

import json
from typing import Final

import gradio as gr

_ON_LOAD: Final = """
const events = {events};
import(`${{window.pochade.scripts}}/{script}.js`).then((module) => module[{part}](element, props.data, trigger));
"""


def widget(
    script: str, part: str = "mount", *, elem_id: str, data: object = None, events: tuple[str, ...] = ()
) -> gr.HTML:
    """Drawn by the function `part` of `assets/js/<script>.js`, which is given `data` as a value, never as markup.

    `events` are what it may trigger; each is a method of the component that takes a handler, as `click` of a button.
    A subclass would be the usual way, but Gradio writes a `.pyi` file beside the source of every subclass.
    """
    return gr.HTML(
        html_template="",
        js_on_load=_ON_LOAD.format(events=json.dumps(events), script=script, part=json.dumps(part)),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="widget",
        data=data,
    )
