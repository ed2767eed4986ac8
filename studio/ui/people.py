"""The Share panel: a place for `assets/js/people.js`, which asks the house's own routes who may come in."""

from __future__ import annotations

import gradio as gr

from studio.ui.widget import widget


def build() -> None:
    with gr.Column(elem_id="people"):
        widget("people", elem_id="people-body")
