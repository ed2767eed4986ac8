"""The few short events between the controls and the studio."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import gradio as gr
from gradio.components import Component
from pydantic import TypeAdapter, ValidationError

from studio import samplers
from studio.access import owner_of
from studio.errors import NotFound, StudioError
from studio.request import Defaults, GenerationRequest
from studio.ui import canvas, form, guide, source, worn
from studio.ui.form import Form, Studio
from studio.ui.source import Room, Source

log = logging.getLogger(__name__)

#: Events of the page alone: not in Gradio's API listing, and answered at once instead of through its queue. Values come
#: as they were sent, and are judged by us: Gradio would hold them against the choices its own session remembers.
EVENT: Final[Mapping[str, Any]] = {
    "queue": False,
    "preprocess": False,
    "show_progress": "hidden",
    "api_visibility": "undocumented",
}
_BROKEN: Final = "Something went wrong inside the studio; nothing was lost, please try it once more."
_Room: Final[TypeAdapter[Room]] = TypeAdapter(Room)


class Wiring:
    """The events of the rooms. Hidden components carry what a browser hands over or is told beside the controls."""

    def __init__(self, studio: Studio, controls: Form, given: Source, sheets: Mapping[str, gr.Textbox]) -> None:
        self._studio = studio
        self._controls = controls
        self._given = given
        self._sheets = sheets
        self._room = gr.Textbox(f"{canvas.MARK}room", visible=False)  # where the artist is, filled in by the browser
        self._guides = guide.carrier()
        self._memory = gr.Textbox(visible=False)  # what the browser remembers, as JSON
        self._previous = gr.Textbox(controls.model.value, visible=False)  # the model the shown values belong to
        self._answer = gr.JSON(visible=False)  # for the stage

    def connect(self, page: gr.Blocks, go: gr.Button, tools: gr.HTML) -> None:
        common = self._controls.components
        everything = [*common, *self._given.components]
        tell = "(answer) => window.pochade.answer(answer)"
        show = "(...values) => window.pochade.shown(values)"
        take = "(...values) => window.pochade.taken(values)"
        filled = [*common, self._previous]

        sent = {*everything, self._room, self._guides, *self._sheets.values()}
        go.click(self._generate, sent, self._answer, js=take, trigger_mode="multiple", **EVENT).then(
            None, self._answer, js=tell, **EVENT
        )
        tools.reuse(self._reuse, None, [*filled, *self._given.components, self._answer], **EVENT).then(
            None, self._answer, js=tell, **EVENT
        ).then(None, everything, js=show, **EVENT)
        self._controls.model.input(self._follow_model, {*common, self._previous}, filled, **EVENT).then(
            None, everything, js=show, **EVENT
        )
        tools.choose(self._choose, {*common, self._previous}, filled, **EVENT).then(None, everything, js=show, **EVENT)
        tools.put(
            self._put, {*everything, self._previous}, [*filled, *self._given.components, self._answer], **EVENT
        ).then(None, self._answer, js=tell, **EVENT).then(None, everything, js=show, **EVENT)
        self._controls.sampler.input(
            self._offer_schedules,
            [self._controls.model, self._controls.sampler, self._controls.scheduler],
            self._controls.scheduler,
            **EVENT,
        ).then(None, everything, js=show, **EVENT)
        # Not "once", Gradio's own choice: the last keystroke counts, and two presses of Generate are two jobs.
        typed = [control.input for control in everything]
        gr.on(typed, None, everything, js=show, trigger_mode="always_last", **EVENT)
        # On a slow line Gradio is there before our own scripts; everything else happens after this.
        remembered = (
            "async () => { await import(`${window.pochade.scripts}/main.js`); return window.pochade.remembered(); }"
        )
        page.load(self._restore, self._memory, [*filled, *self._given.components], js=remembered, **EVENT).then(
            None, everything, js="(...values) => window.pochade.restored(values)", **EVENT
        )

    def _generate(self, values: dict[Component, object], request: gr.Request) -> dict[str, str]:
        try:
            ticket = self._studio.jobs.submit(self._asked(values), owner_of(request.request))
        except StudioError as refused:
            return {"error": guide.placed(str(refused), values[self._guides])}
        except Exception:  # the artist gets a sentence, the log gets the rest
            log.exception("a request could not be queued")
            return {"error": _BROKEN}
        return {"job": ticket.id}

    def _asked(self, values: Mapping[Component, object]) -> GenerationRequest:
        try:
            room = _Room.validate_python(values[self._room])
        except ValidationError:
            room = "create"
        sheet = None
        if room in self._sheets:
            sheet = canvas.read(values[self._sheets[room]], self._studio.settings.max_pixels)
        can = form.able(self._studio, values[self._controls.model])
        loras = worn.fitting(worn.read(values[self._controls.loras]), can, self._studio.catalog)
        controls = guide.read(values[self._guides])
        parts = {**source.read(self._given, values, room, sheet), "loras": loras, "controls": controls}
        return form.read(self._controls, values, parts, can)

    def _reuse(self, event: gr.EventData, request: gr.Request) -> list[object]:
        try:
            record = self._studio.gallery.record(str(event._data["id"]), owner_of(request.request))
            if record.request is None:
                raise NotFound("This picture does not say how it was made, so there are no settings to reuse.")
        except StudioError as refused:
            unchanged = [gr.skip() for _ in range(len(form.NAMES) + 1 + len(source.NAMES))]
            return [*unchanged, {"error": str(refused)}]
        room = source.room_of(record.request, record.inputs)
        own = source.of(record.request, room)
        shown = [own.get(name, gr.skip()) for name in source.NAMES]
        answer = {"reused": record.id, "room": room}
        return [*self._updates(form.fill(record.request, self._studio)), *shown, answer]

    def _restore(self, saved: object) -> list[object]:
        kept = form.remembered(saved)
        own = source.restore(kept)
        return [*self._updates(form.restore(kept, self._studio)), *(own[name] for name in source.NAMES)]

    def _follow_model(self, values: dict[Component, object]) -> list[object]:
        shown = {name: values[getattr(self._controls, name)] for name in form.NAMES}
        return self._of_model({**shown, **self._followed(values[self._previous], shown)})

    def _choose(self, values: dict[Component, object], event: gr.EventData) -> list[object]:
        """A model chosen elsewhere on the page; null: the list of models has changed."""
        key = event._data.get("model")
        shown = {name: values[getattr(self._controls, name)] for name in form.NAMES}
        old = form.default_values(self._studio, str(shown["model"]))["model"]  # the default, if it is gone
        wanted = {**shown, "model": old if key is None else self._studio.catalog.find(str(key)).key}
        return self._of_model({**wanted, **self._followed(old, wanted)})

    def _put(self, values: dict[Component, object], event: gr.EventData) -> list[object]:
        """Values from a picture, a preset or a list of styles, in the place of what is shown. `whole`: what they leave
        open is as the model likes it. Sent as text, because browsers and Gradio change numbers."""
        given = form.remembered(event._data.get("values")) or {}
        shown = {name: values[getattr(self._controls, name)] for name in form.NAMES}
        own = {name: values[getattr(self._given, name)] for name in source.NAMES}
        base = {"model": shown["model"]} if event._data.get("whole") else shown
        wanted = {**base, **given}
        if base is shown and wanted["model"] != shown["model"]:
            found = form.default_values(self._studio, str(wanted["model"]))["model"]
            wanted |= {**self._followed(shown["model"], {**shown, "model": found}), **given}
        updates = self._updates(form.restore(wanted, self._studio))
        names = [style.name for style in self._studio.presets.styles()]
        updates[form.NAMES.index("styles")] = gr.update(value=updates[form.NAMES.index("styles")], choices=names)
        beside = source.restore({**own, **{name: value for name, value in given.items() if value is not None}})
        return [*updates, *(beside[name] for name in source.NAMES), {"put": True}]

    def _followed(self, old: object, shown: Mapping[str, object]) -> dict[str, object]:
        new = shown["model"]
        return form.follow_model(self._likes(old), self._likes(new), form.able(self._studio, new), shown)

    def _of_model(self, shown: Mapping[str, object]) -> list[object]:
        """What a change of model brings along. The artist may have gone on writing; the rest stays as it is by now."""
        told = dict(zip((*form.NAMES, "previous"), self._updates(shown), strict=True))
        rest = {*form.NAMES} - {*form.OF_MODEL, "model", "vae"}
        return [gr.skip() if name in rest else update for name, update in told.items()]

    def _updates(self, shown: Mapping[str, object]) -> list[object]:
        updates = form.updates(shown, self._likes(shown["model"]), form.able(self._studio, shown["model"]))
        updates[form.NAMES.index("model")] = gr.update(value=shown["model"], choices=form.models(self._studio))
        choices = form.vaes(self._studio)
        updates[form.NAMES.index("vae")] = gr.update(value=shown["vae"], choices=choices, visible=len(choices) > 1)
        return [*updates, shown["model"]]

    def _likes(self, model: object) -> Defaults:
        return self._studio.catalog.find(str(model)).defaults

    def _offer_schedules(self, model: str, sampler: str, scheduler: str) -> object:
        offered = form.able(self._studio, model).schedules.get(sampler, (samplers.AUTOMATIC,))
        return gr.update(choices=list(offered), value=scheduler if scheduler in offered else samplers.AUTOMATIC)
