"""The guides of a request, settled: checked pictures, and a ControlNet that suits each."""

from __future__ import annotations

from studio import annotators, control, families, image, recognise
from studio.catalog import Catalog
from studio.errors import BadRequest, StudioError
from studio.request import ControlUnit, ModelSpec, Picture
from studio.specs import ControlNetSpec


def settled(
    units: tuple[ControlUnit, ...], model: ModelSpec, catalog: Catalog, max_pixels: int
) -> tuple[ControlUnit, ...]:
    """Those that do nothing stay, and need nothing.

    Raises:
        BadRequest: a guide without content, one the model cannot follow, or an annotator's numbers.
        NotFound, ModelError: no such ControlNet, or one that cannot be used.
        TooLarge, UnreadablePicture: its picture.
    """
    if any(not unit.idle for unit in units) and not families.known(model.family).controlnet:
        raise BadRequest(f"{model.title} cannot follow a guide; remove the guides, or choose another model.")
    return tuple(_settled(unit, number, model, catalog, max_pixels) for number, unit in enumerate(units, 1))


def _settled(unit: ControlUnit, number: int, model: ModelSpec, catalog: Catalog, max_pixels: int) -> ControlUnit:
    changes: dict[str, object] = {}
    try:
        if unit.image is not None:
            changes["image"] = Picture.from_bytes(image.png(image.decode(unit.image.data, max_pixels)))
        if not unit.idle:
            if unit.image is None and unit.pose is None:
                raise BadRequest("it has neither an image nor a pose; draw or add one, or switch it off.")
            if unit.pose is not None and not any(joint for person in unit.pose.people for joint in person.joints):
                raise BadRequest("its pose has nobody in it; add somebody, or switch it off.")
            annotators.find(unit.annotator).settled(unit.parameters)
            changes["model"] = _net(unit, model, catalog).key
    except StudioError as reason:
        text = str(reason)
        raise type(reason)(f"Guide {number}: {text[:1].lower()}{text[1:]}") from reason
    return unit.model_copy(update=changes)


def _net(unit: ControlUnit, model: ModelSpec, catalog: Catalog) -> ControlNetSpec:
    family = families.known(model.family)
    if unit.model is None:
        kind = control.kind_of(unit)
        found = control.suiting(catalog.controlnets_of(model), kind)
        if found is None:
            what = f"follows {annotators.SHOWS[kind]}" if kind else "follows a guide"
            raise BadRequest(
                f"there is no ControlNet here for {family.title} that {what}; "
                "put one into the folder controlnet of a model folder, or choose another model."
            )
        return found
    net = catalog.controlnet(unit.model)
    if net.families and not recognise.fits(net.families, model.family):
        own = families.known(net.family).title
        raise BadRequest(
            f"the ControlNet “{net.title}” is for {own}, and {model.title} is a model of {family.title}; "
            "choose a ControlNet and a model that belong together."
        )
    return net
