"""A page with nothing but a canvas of each mode and a Generate button, served as the studio serves its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio.components import Component

from studio.errors import StudioError
from studio.gate import Gate
from studio.settings import ASSETS
from studio.ui import canvas
from studio.ui.shell import mount_options

MAX_PIXELS = 40_000_000
MODES: tuple[canvas.Mode, ...] = ("mask", "sketch", "line")


@dataclass
class Received:
    """What Generate has brought, newest last."""

    sheets: list[canvas.Sheet | None] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def build(received: Received) -> gr.Blocks:
    with gr.Blocks(title="Canvas", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1 class='sr-only'>Canvases</h1>", padding=False)
        prompt = gr.Textbox("a heron", label="Prompt", elem_id="prompt")
        told = gr.Textbox(label="Told", elem_id="told")
        for mode in MODES:
            with gr.Column(elem_id=f"tab-{mode}", elem_classes="page"):
                sheet = canvas.place(mode, mode, max_pixels=MAX_PIXELS, page=(384, 256))
                go = gr.Button("Generate", variant="primary", elem_id=f"go-{mode}")

                go.click(
                    _taking(received, prompt, sheet),
                    {prompt, sheet},
                    told,
                    js=canvas.TAKE,
                    queue=False,
                    api_visibility="undocumented",
                )

        # What the studio's page does while it draws: messages one after another to a component of an event.
        def chatter() -> Iterator[str]:
            for number in range(20):
                yield f"preview {number + 1}"

        noise = gr.Button("Draw", elem_id="draw")
        noise.click(chatter, None, told, api_visibility="undocumented")
    page.queue(api_open=False)
    return page


def _taking(received: Received, prompt: gr.Textbox, sheet: gr.Textbox) -> Callable[[dict[Component, object]], str]:
    def take(values: dict[Component, object]) -> str:
        try:
            received.sheets.append(canvas.read(values[sheet], MAX_PIXELS))
        except StudioError as refused:
            received.refusals.append(str(refused))
            return str(refused)
        return f"{len(received.sheets)} with {values[prompt]}"

    return take


@contextmanager
def served(received: Received, port: int = 0) -> Iterator[str]:
    """The page's address while the `with` block runs."""
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(app, build(received), path="/", **mount_options(ASSETS))
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = uvicorn.Server(uvicorn.Config(Gate(app), log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
