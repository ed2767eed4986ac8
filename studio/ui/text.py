"""Text to image: the controls on the left, the stage on the right, and the few short events between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import gradio as gr
from gradio.components import Component

from studio import samplers
from studio.access import owner_of
from studio.errors import NotFound, StudioError
from studio.request import MAX_COUNT, Defaults
from studio.ui import form
from studio.ui.form import Form, Studio
from studio.ui.widget import widget

log = logging.getLogger(__name__)

#: Events of the page alone: not in Gradio's API listing, and answered at once instead of through its queue.
EVENT: Final[Mapping[str, Any]] = {"queue": False, "show_progress": "hidden", "api_visibility": "undocumented"}
_BROKEN: Final = "Something went wrong inside the studio; nothing was lost, please try it once more."


def build(studio: Studio, page: gr.Blocks) -> None:
    """Lay out the tab inside `page`, which is being built, and connect it."""
    shown = form.default_values(studio)
    likes = studio.catalog.find(None).defaults
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
            tools = widget("form", "examples", data=form.for_scripts(studio), events=("reuse",), elem_id="examples")
        widget("stage", elem_id="stage")
        with gr.Column(elem_id="form-settings", elem_classes="panel"):
            widget("form", "settingsToggle", elem_id="settings-toggle")
            with _fold("negative", "Negative prompt"):
                negative = gr.Textbox(
                    label="Negative prompt",
                    placeholder="What the picture should not show",
                    lines=2,
                    max_lines=8,
                    elem_id="negative",
                )
            styles = gr.Dropdown(
                [style.name for style in studio.presets.styles()],
                label="Styles",
                value=[],
                multiselect=True,
                max_choices=16,
                elem_id="styles",
            )
            widget("form", "stylePreview", elem_id="style-preview")
            model = gr.Dropdown(
                [(spec.title, spec.key) for spec in studio.catalog.models()],
                value=str(shown["model"]),
                label="Model",
                elem_id="model",
            )
            with gr.Row(elem_id="size"):
                width = gr.Number(
                    likes.width, label="Width", placeholder=f"{likes.width}", step=8, min_width=80, elem_id="width"
                )
                widget("form", "swap", elem_id="swap")
                height = gr.Number(
                    likes.height, label="Height", placeholder=f"{likes.height}", step=8, min_width=80, elem_id="height"
                )
            widget("form", "aspects", elem_id="aspects")
            count = _slider(1, MAX_COUNT, 1, 1, "Pictures", "count")
            with gr.Row(elem_id="seed-row"):
                seed = gr.Textbox(label="Seed", placeholder="random", max_lines=1, min_width=80, elem_id="seed")
                widget("form", "seedTools", elem_id="seed-tools")
            with _fold("sampling", "Sampling"):
                with gr.Row():
                    sampler = gr.Dropdown(
                        list(samplers.SAMPLERS), value=likes.sampler, label="Sampler", min_width=120, elem_id="sampler"
                    )
                    scheduler = gr.Dropdown(
                        list(form.schedules_of(likes.sampler)),
                        value=likes.scheduler,
                        label="Schedule type",
                        min_width=120,
                        elem_id="scheduler",
                    )
                steps = _slider(1, 150, likes.steps, 1, "Steps", "steps")
                guidance = _slider(0, 50, likes.guidance, 0.1, "Guidance scale", "guidance")
        with gr.Row(elem_id="form-go"):
            go = gr.Button("Generate", variant="primary", elem_id="generate")
            widget("stage", "stopButton", elem_id="stop")
    controls = Form(prompt, negative, styles, model, width, height, count, seed, sampler, scheduler, steps, guidance)
    _Wiring(studio, controls).connect(page, go, tools)


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


class _Wiring:
    """The events of the tab. Hidden components carry what a browser hands over or is told beside the controls."""

    def __init__(self, studio: Studio, controls: Form) -> None:
        self._studio = studio
        self._controls = controls
        self._memory = gr.Textbox(visible=False)  # what the browser remembers, as JSON
        self._previous = gr.Textbox(controls.model.value, visible=False)  # the model the shown values belong to
        self._answer = gr.JSON(visible=False)  # for the stage

    def connect(self, page: gr.Blocks, go: gr.Button, tools: gr.HTML) -> None:
        everything = self._controls.components
        tell = "(answer) => window.pochade.answer(answer)"
        show = "(...values) => window.pochade.shown(values)"
        filled = [*everything, self._previous]

        go.click(self._generate, {*everything}, self._answer, trigger_mode="multiple", **EVENT).then(
            None, self._answer, js=tell, **EVENT
        )
        tools.reuse(self._reuse, None, [*filled, self._answer], **EVENT).then(
            None, self._answer, js=tell, **EVENT
        ).then(None, everything, js=show, **EVENT)
        self._controls.model.input(self._follow_model, {*everything, self._previous}, filled, **EVENT).then(
            None, everything, js=show, **EVENT
        )
        self._controls.sampler.input(
            _offer_schedules, [self._controls.sampler, self._controls.scheduler], self._controls.scheduler, **EVENT
        ).then(None, everything, js=show, **EVENT)
        # Not "once", Gradio's own choice: the last keystroke counts, and two presses of Generate are two jobs.
        typed = [control.input for control in everything]
        gr.on(typed, None, everything, js=show, trigger_mode="always_last", **EVENT)
        page.load(self._restore, self._memory, filled, js="() => window.pochade.remembered()", **EVENT).then(
            None, everything, js="(...values) => window.pochade.restored(values)", **EVENT
        )

    def _generate(self, values: dict[Component, object], request: gr.Request) -> dict[str, str]:
        try:
            ticket = self._studio.jobs.submit(form.read(self._controls, values), owner_of(request.request))
        except StudioError as refused:
            return {"error": str(refused)}
        except Exception:  # the artist gets a sentence, the log gets the rest
            log.exception("a request could not be queued")
            return {"error": _BROKEN}
        return {"job": ticket.id}

    def _reuse(self, event: gr.EventData, request: gr.Request) -> list[object]:
        try:
            record = self._studio.gallery.record(str(event._data["id"]), owner_of(request.request))
            if record.request is None:
                raise NotFound("This picture does not say how it was made, so there are no settings to reuse.")
        except StudioError as refused:
            return [*(gr.skip() for _ in range(len(form.NAMES) + 1)), {"error": str(refused)}]
        return [*self._updates(form.fill(record.request, self._studio)), {"reused": record.id}]

    def _restore(self, saved: str | None) -> list[object]:
        return self._updates(form.restore(saved, self._studio))

    def _follow_model(self, values: dict[Component, object]) -> list[object]:
        shown = {name: values[getattr(self._controls, name)] for name in form.NAMES}
        old, new = self._likes(values[self._previous]), self._likes(shown["model"])
        return self._updates({**shown, **form.follow_model(old, new, shown)})

    def _updates(self, shown: Mapping[str, object]) -> list[object]:
        return [*form.updates(shown, self._likes(shown["model"])), shown["model"]]

    def _likes(self, model: object) -> Defaults:
        return self._studio.catalog.find(str(model)).defaults


def _offer_schedules(sampler: str, scheduler: str) -> object:
    offered = form.schedules_of(sampler)
    return gr.update(choices=list(offered), value=scheduler if scheduler in offered else samplers.AUTOMATIC)
