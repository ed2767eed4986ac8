"""Where pictures are made: four rooms, text, image, inpaint and guide, around one form, one stage and one Generate.

The browser shows what belongs to the room it is in (`assets/js/rooms.js`); what an artist has set holds in all of them.
"""

from __future__ import annotations

from typing import Final

import gradio as gr

from studio.request import MAX_COUNT, MAX_LOOPS, MAX_MARGIN
from studio.ui import canvas, form, guide, source
from studio.ui.form import Form, Studio
from studio.ui.source import Source
from studio.ui.widget import widget
from studio.ui.wiring import Wiring

_RESIZE: Final = [("Own size", "keep"), ("Crop", "crop"), ("Fill", "fill"), ("Stretch", "stretch")]
_START: Final = [("Original", "original"), ("Surroundings", "blur"), ("Noise", "noise"), ("Nothing", "nothing")]
_AREA: Final = [("Whole picture", "whole"), ("Only masked", "masked")]


def build(studio: Studio, page: gr.Blocks) -> None:
    """Lay out the rooms inside `page`, which is being built, and connect them."""
    likes = studio.catalog.find(None).defaults
    blank = likes.width, likes.height
    pixels = studio.settings.max_pixels
    with gr.Column(elem_id="create", elem_classes="page"):
        with gr.Column(elem_id="form-prompt", elem_classes="panel"):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="Describe the picture you would like to see",
                lines=3,
                max_lines=14,
                autofocus=True,
                elem_id="prompt",
            )
            widget("prompt-tools", elem_id="prompt-tools")
            told = {
                **form.for_scripts(studio),
                "names": (*form.NAMES, *source.NAMES),
                "usual": source.DEFAULTS,
            }
            tools = widget("form", "examples", data=told, events=("reuse", "choose", "put"), elem_id="examples")
        with gr.Column(elem_id="workplace"):
            widget("rooms", "viewSwitch", elem_id="view-switch")
            sheets = {
                "image": canvas.place("image", "sketch", max_pixels=pixels, page=blank, script="rooms"),
                "inpaint": canvas.place("inpaint", "mask", max_pixels=pixels, page=blank, script="rooms"),
            }
            guide.surface(pixels)
            widget("stage", elem_id="stage")
        with gr.Column(elem_id="form-source", elem_classes="panel"):
            given = _source_controls(pixels)
            with _fold("guides", "Guides"):
                guide.place()
        with gr.Column(elem_id="form-settings", elem_classes="panel"):
            controls = _form_controls(studio, prompt)
        with gr.Row(elem_id="form-go"):
            go = gr.Button("Generate", variant="primary", elem_id="generate")
            widget("stage", "stopButton", elem_id="stop")
    Wiring(studio, controls, given, sheets).connect(page, go, tools)


def _form_controls(studio: Studio, prompt: gr.Textbox) -> Form:
    """What every room has."""
    shown = form.default_values(studio)
    likes, can = studio.catalog.find(None).defaults, form.able(studio, shown["model"])
    widget("form", "settingsToggle", elem_id="settings-toggle")
    with _fold("negative", "Negative prompt"):
        negative = gr.Textbox(
            label="Negative prompt",
            placeholder="What the picture should not show",
            lines=2,
            max_lines=8,
            elem_id="negative",
        )
        widget("tokens", data="negative", elem_id="negative-tokens")
        widget("negatives", elem_id="negatives")
    styles = gr.Dropdown(
        [style.name for style in studio.presets.styles()],
        label="Styles",
        value=[],
        multiselect=True,
        max_choices=16,
        elem_id="styles",
    )
    widget("form", "stylePreview", elem_id="style-preview")
    widget("styles", "button", elem_id="browse-styles")
    model = gr.Dropdown(
        form.models(studio),
        value=str(shown["model"]),
        label="Model",
        elem_id="model",
    )
    widget("able", "note", elem_id="able")
    with _fold("loras", "LoRAs"):
        widget("loras", elem_id="loras-list")
        loras = gr.Textbox(elem_id="loras", elem_classes="carried", show_label=False)
    with gr.Row(elem_id="size"):
        width = gr.Number(
            likes.width, label="Width", placeholder=f"{likes.width}", step=8, min_width=80, elem_id="width"
        )
        widget("form", "swap", elem_id="swap")
        height = gr.Number(
            likes.height, label="Height", placeholder=f"{likes.height}", step=8, min_width=80, elem_id="height"
        )
    widget("form", "aspects", elem_id="aspects")
    widget("rooms", "fromSource", elem_id="from-source")
    count = _slider(1, MAX_COUNT, 1, 1, "Pictures", "count")
    with gr.Row(elem_id="seed-row"):
        seed = gr.Textbox(label="Seed", placeholder="random", max_lines=1, min_width=80, elem_id="seed")
        widget("form", "seedTools", elem_id="seed-tools")
    with _fold("sampling", "Sampling"):
        widget("quality", elem_id="quality")
        with gr.Row():
            sampler = gr.Dropdown(
                list(can.schedules), value=likes.sampler, label="Sampler", min_width=120, elem_id="sampler"
            )
            scheduler = gr.Dropdown(
                list(can.schedules[likes.sampler]),
                value=likes.scheduler,
                label="Schedule type",
                min_width=120,
                elem_id="scheduler",
            )
        steps = _slider(1, 150, likes.steps, 1, "Steps", "steps")
        guidance = _slider(0, 50, likes.guidance, 0.1, form.GUIDANCE[can.guidance], "guidance")
        clip_skip = _slider(1, 12, 1, 1, "Clip skip", "clip_skip")
        choices = form.vaes(studio)
        vae = gr.Dropdown(choices, value="", label="VAE", visible=len(choices) > 1, elem_id="vae")
    return Form(
        prompt,
        negative,
        styles,
        model,
        width,
        height,
        count,
        seed,
        sampler,
        scheduler,
        steps,
        guidance,
        clip_skip,
        vae,
        loras,
    )


def _source_controls(max_pixels: int) -> Source:
    """What image to image and inpainting have of their own."""
    likes = source.Shown()
    with gr.Column(elem_id="source-image", elem_classes="panel"):
        strength = _slider(0, 1, likes.strength, 0.01, "Strength", "strength")
        resize = gr.Radio(_RESIZE, value=likes.resize, label="Size", elem_id="resize", elem_classes="choice")
        widget("batch", data=canvas.limits(max_pixels), elem_id="batch")
        with _fold("loops", "Rounds"):
            loops = _slider(1, MAX_LOOPS, likes.loops, 1, "Rounds", "loops")
            loop_decay = _slider(0.1, 1, likes.loop_decay, 0.01, "Strength kept", "loop_decay")
    with gr.Column(elem_id="source-inpaint", elem_classes="panel"):
        repaint = _slider(0, 1, likes.repaint, 0.01, "Strength", "repaint")
        start = gr.Radio(_START, value=likes.start, label="Start from", elem_id="start", elem_classes="choice")
        area = gr.Radio(_AREA, value=likes.area, label="Draw", elem_id="area", elem_classes="choice")
        padding = _slider(0, 1024, likes.padding, 4, "Padding, px", "padding")
        with _fold("mask", "Mask"):
            mask_blur = _slider(0, 64, likes.mask_blur, 1, "Blur, px", "mask_blur")
            soft = gr.Checkbox(likes.soft, label="Soft: grey says how much may change", elem_id="soft")
            invert = gr.Checkbox(likes.invert, label="Repaint what is not painted", elem_id="invert")
            match_colour = gr.Checkbox(likes.match_colour, label="Match colours at the seam", elem_id="match_colour")
        with _fold("outpaint", "Extend the picture"):
            widget("frame", elem_id="frame")
            with gr.Row(elem_id="sides"):
                left, top, right, bottom = (
                    gr.Number(
                        0,
                        label=f"{name.capitalize()}, px",
                        step=8,
                        minimum=-MAX_MARGIN,
                        maximum=MAX_MARGIN,
                        min_width=64,
                        elem_id=name,
                    )
                    for name in source.SIDES
                )
    return Source(
        strength,
        resize,
        loops,
        loop_decay,
        repaint,
        start,
        area,
        padding,
        mask_blur,
        soft,
        invert,
        match_colour,
        left,
        top,
        right,
        bottom,
    )


def _slider(lowest: float, highest: float, value: float, step: float, label: str, name: str) -> gr.Slider:
    return gr.Slider(
        lowest, highest, value, step=step, label=label, buttons=[], elem_id=name, elem_classes="slider-line"
    )


def _fold(name: str, title: str) -> gr.Column:
    """A section the browser opens, closes and remembers. Its controls always exist, so no value of theirs is lost."""
    section = gr.Column(elem_id=f"fold-{name}", elem_classes="fold")
    with section:
        widget("form", "fold", data=[name, title], elem_id=f"fold-{name}-head")
    return section
