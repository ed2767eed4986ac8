"""The sheets of the bar: places for `people.js` (who may come in) and `settings.js` (how the studio keeps house)."""

from __future__ import annotations

import gradio as gr

from studio.ui.widget import widget


def build() -> None:
    with gr.Column(elem_id="people"):
        widget("people", elem_id="people-body")
        widget("settings", elem_id="settings-body")
