"""The gallery tab: a place for `assets/js/gallery.js`, which asks the house's own routes for everything it shows."""

from __future__ import annotations

import gradio as gr

from studio.ui.widget import widget


def build() -> None:
    with gr.Column(elem_id="gallery", elem_classes="page"):
        widget("gallery", elem_id="gallery-body")
