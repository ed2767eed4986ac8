"""The Models tab: a place for `assets/js/models.js`, which asks the house's own routes for everything it shows."""

from __future__ import annotations

import gradio as gr

from studio.ui.widget import widget


def build() -> None:
    with gr.Column(elem_id="models", elem_classes="page"):
        widget("models", elem_id="models-body")
