"""One file of weights → a pipeline: its denoiser, what it brings besides, and what stands beside it.

A file is a whole checkpoint, or a denoiser alone whose VAE and text encoders are files of their own, as users of
ComfyUI keep them. Everything is read from this machine; nothing is fetched and no code of a model is run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import DiffusionPipeline, GGUFQuantizationConfig
from diffusers.loaders import single_file_utils
from transformers import PreTrainedModel

from studio import families, headers
from studio.diffusion import weights
from studio.diffusion.guides import Guide, Shelf, guides
from studio.diffusion.weights import Tensors
from studio.errors import ModelError
from studio.family import Family
from studio.request import ModelSpec
from studio.specs import PartSpec
from studio.tensor_names import Shaped

log = logging.getLogger(__name__)
_DENOISERS: Final = ("unet", "transformer", "unconditional_transformer")
_LEFT_OUT: Final = ("safety_checker", "image_encoder", "feature_extractor", "prompt_enhancer_head")
#: What the stems of text encoders inside a checkpoint are, by the name of the pipeline's part.
_INSIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "text_encoder": ("text_encoders.clip_l.",),
    "text_encoder_2": ("text_encoders.clip_g.", "text_encoders.t5xxl."),
    "text_encoder_3": ("text_encoders.t5xxl.",),
}


def load(spec: ModelSpec, dtype: torch.dtype, shelf: Shelf) -> DiffusionPipeline:
    """Raises:
    ModelError: its family cannot be loaded from a file, or something it needs is not on this machine.
    """
    family = families.known(spec.family)
    if not family.single_file:
        raise ModelError(
            f"{spec.title} is a single file, and {family.title} loads from a diffusers folder only; get it as such."
        )
    tensors: Tensors = {} if spec.path.suffix.casefold() == ".gguf" else weights.read(spec.path)
    wrong: Exception | None = None
    for guide in guides(family, shelf):
        try:
            denoiser = _denoiser(spec, family, guide, tensors, dtype)
        # What does not fit a guide fails in as many ways as there are converters; the next guide may fit.
        except (ValueError, KeyError, RuntimeError, AttributeError, OSError) as unfit:
            log.info("%s does not guide %s: %s", guide.folder, spec.path, unfit)
            wrong = unfit
            continue
        return _Assembly(spec, family, guide, tensors, dtype, shelf).pipeline(denoiser)
    if wrong is not None:
        raise ModelError(
            f"{spec.title} does not fit the settings of any {family.title} folder on this machine; "
            "get the diffusers folder of the model it was made from."
        ) from wrong
    raise ModelError(
        f"{spec.title} is a single file: the settings and the tokenizer of {family.title} must come from a diffusers "
        "folder of that family, whose small files suffice; put one into a model folder."
    )


def _denoiser(spec: ModelSpec, family: Family, guide: Guide, tensors: Tensors, dtype: torch.dtype) -> Any:
    kind = getattr(diffusers, family.denoiser)
    name = "unet" if family.denoiser.startswith("UNet") else "transformer"
    own = weights.denoiser(tensors, unet=name == "unet")
    given: dict[str, Any] = {"config": str(guide.folder), "subfolder": name, "dtype": dtype, "local_files_only": True}
    if spec.path.suffix.casefold() == ".gguf":
        given |= _own_settings(headers.read_header(spec.path).tensors, guide.config(name))
        packed = GGUFQuantizationConfig(compute_dtype=dtype)
        model = kind.from_single_file(str(spec.path), quantization_config=packed, **given)
    else:
        model = kind.from_single_file(own, **given, **_own_settings(own, guide.config(name)))
    weights.check(model)
    return model


def _own_settings(own: Mapping[str, Shaped], config: Mapping[str, Any]) -> dict[str, Any]:
    """Where members of one architecture differ: the channels they read, and whether they read the guidance."""
    settings: dict[str, Any] = {}
    reads = _shape(own, "img_in.weight", "x_embedder.weight", "model.diffusion_model.input_blocks.0.0.weight")
    drawn = config.get("out_channels") or config.get("in_channels")
    if reads and config.get("_class_name") in _WIDER and reads[1] != config.get("in_channels"):
        settings = {"in_channels": reads[1], "out_channels": drawn}
    if "guidance_embeds" in config:
        settings["guidance_embeds"] = any("guidance_in." in name or "guidance_embedder" in name for name in own)
    return settings


#: Those of which there are members that also read a mask and what it hides.
_WIDER: Final = ("FluxTransformer2DModel", "UNet2DConditionModel")


def _shape(tensors: Mapping[str, Shaped], *names: str) -> tuple[int, ...]:
    return next((tuple(tensors[name].shape) for name in names if name in tensors), ())


class _Assembly:
    """The parts of one pipeline, each from the nearest place that has it."""

    def __init__(
        self, spec: ModelSpec, family: Family, guide: Guide, tensors: Tensors, dtype: torch.dtype, shelf: Shelf
    ) -> None:
        self._spec = spec
        self._family = family
        self._guide = guide
        self._tensors = tensors
        self._dtype = dtype
        self._shelf = shelf

    def pipeline(self, denoiser: Any) -> DiffusionPipeline:
        guide = self._guide
        name = str(guide.index["_class_name"])
        if guide.family is not self._family:
            name = next(iter(self._family.pipelines.values()))
        kind = getattr(diffusers, name)
        expected = inspect.signature(kind.__init__).parameters
        parts: dict[str, Any] = {name: None for name in _LEFT_OUT if name in expected}
        parts |= {
            name: self._part(name, part, denoiser)
            for name, part in guide.parts.items()
            if name in expected and name not in parts
        }
        absent = {name: None for name, value in guide.index.items() if value == [None, None] and name in expected}
        settings = {name: value for name, value in guide.settings.items() if name in expected}
        try:
            pipe: DiffusionPipeline = kind(**{**absent, **settings, **parts})
        except TypeError as lacking:
            raise ModelError(
                f"{self._spec.title} needs a diffusers folder of {self._family.title} in a model folder; the one of "
                f"{guide.family.title} lacks a part."
            ) from lacking
        return pipe

    def _part(self, name: str, kind: type[Any], denoiser: Any) -> Any:
        if name in _DENOISERS:
            return denoiser
        if name == "scheduler":
            return self._scheduler(kind)
        if name == "vae":
            return self._vae(kind)
        if isinstance(kind, type) and issubclass(kind, PreTrainedModel):
            return self._text_encoder(name, kind)
        return self._guide.tokenizer(name, kind)

    def _scheduler(self, kind: type[Any]) -> Any:
        """Some checkpoints say by empty tensors what they were trained to predict, SD 2 by its name alone."""
        scheduler = self._guide.scheduler(kind)
        if "v_pred" in self._tensors:
            scheduler.register_to_config(
                prediction_type="v_prediction", rescale_betas_zero_snr="ztsnr" in self._tensors
            )
        elif self._family.key == "sd2" and self._family.variant(self._spec.path.stem).hints:
            scheduler.register_to_config(prediction_type="epsilon")
        return scheduler

    def _vae(self, kind: type[Any]) -> Any:
        own = weights.below(self._tensors, "first_stage_model.", "vae.")
        if own:
            return self._original_vae(kind, own)
        content = next((part.content for part in self._family.parts if part.name == "vae"), "")
        for spec in _serving(self._shelf.vaes, content, self._family):
            try:
                if spec.path.is_dir():
                    return kind.from_pretrained(spec.path, dtype=self._dtype, local_files_only=True)
                return self._original_vae(
                    kind, weights.below(weights.read(spec.path), "first_stage_model.", "vae.", "")
                )
            except (ValueError, KeyError, RuntimeError, OSError) as unfit:
                log.info("%s is no VAE for %s: %s", spec.path, self._spec.path, unfit)
        return self._guided("vae", kind, f"its VAE ({content})")

    def _original_vae(self, kind: type[Any], tensors: Tensors) -> Any:
        vae = kind.from_single_file(
            tensors, config=str(self._guide.folder), subfolder="vae", dtype=self._dtype, local_files_only=True
        )
        weights.check(vae)
        return vae

    def _text_encoder(self, name: str, kind: type[Any]) -> Any:
        inside = self._text_encoder_inside(name, kind)
        if inside is not None:
            return inside
        content = next((part.content for part in self._family.parts if part.name == name), "")
        config = kind.config_class.from_pretrained(self._guide.folder, subfolder=name, local_files_only=True)
        for spec in self._shelf.encoders:
            if spec.content != content or spec.path.suffix.casefold() != ".safetensors":
                continue
            try:
                return weights.filled(kind, config, weights.read(spec.path), self._dtype)
            except (ValueError, KeyError) as unfit:
                log.info("%s is no text encoder for %s: %s", spec.path, self._spec.path, unfit)
        return self._guided(name, kind, f"its text encoder ({content or kind.__name__})")

    def _text_encoder_inside(self, name: str, kind: type[Any]) -> Any:
        config = kind.config_class.from_pretrained(self._guide.folder, subfolder=name, local_files_only=True)
        if self._family.denoiser.startswith("UNet"):
            if not any(part.startswith(("cond_stage_model.", "conditioner.")) for part in self._tensors):
                return None
            return single_file_utils.create_diffusers_clip_model_from_ldm(
                kind,
                checkpoint=dict(self._tensors),
                subfolder=name,
                config=str(self._guide.folder),
                torch_dtype=self._dtype,
                local_files_only=True,
            )
        own = weights.below(self._tensors, *_INSIDE.get(name, ()))
        return weights.filled(kind, config, own, self._dtype) if own else None

    def _guided(self, name: str, kind: type[Any], what: str) -> Any:
        """The part of the guide, where it has weights."""
        if not any((self._guide.folder / name).glob("*.safetensors")):
            raise ModelError(f"{self._spec.title} comes without {what}; put that file into a model folder beside it.")
        return kind.from_pretrained(
            self._guide.folder, subfolder=name, dtype=self._dtype, use_safetensors=True, local_files_only=True
        )


def _serving(specs: Sequence[PartSpec], content: str, family: Family) -> list[PartSpec]:
    """Those of the right kind, the ones named after the family first: shapes do not tell FLUX from SD 3."""
    fitting = [spec for spec in specs if not content or spec.content == content]
    words = (family.key, family.related, "ae" if family.related in ("flux", "chroma", "z-image") else "")
    return sorted(fitting, key=lambda spec: not any(_named(spec.path, word) for word in words if word))


def _named(path: Path, word: str) -> bool:
    stem = path.stem.casefold()
    return stem == word or (len(word) > 2 and word in stem)
