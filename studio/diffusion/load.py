"""A model folder → a diffusers pipeline in memory, on the right device, in one explicit precision."""

from __future__ import annotations

import gc
import inspect
import json
import logging
import tempfile
import threading
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import nn
from tqdm import tqdm

from studio import abilities, catalog, families, headers
from studio.diffusion import optional, preview, single_file
from studio.diffusion.encoder import Memory
from studio.diffusion.guides import Shelf
from studio.diffusion.preview import Preview
from studio.errors import ModelError
from studio.family import Family, Task
from studio.request import ModelSpec

with warnings.catch_warnings():
    # Kolors' text encoder, which comes along, is written with what PyTorch has deprecated since.
    warnings.simplefilter("ignore", FutureWarning)
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image

log = logging.getLogger(__name__)
NOTHING: Final = Shelf()

_PRECISIONS: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
#: Parts of a pipeline that many copies of a model come without, and that diffusers wants to be told are absent.
_LEFT_OUT: Final = {"StableDiffusion3Pipeline": ("text_encoder_3", "tokenizer_3")}
#: Trained for half precision; everything younger was trained in bfloat16.
_HALF: Final = ("mini", "sd15", "sd2", "sdxl", "sdxl-refiner", "kolors", "pixart")

#: What AutoPipeline calls a task, for families that the table does not know.
_AUTO: Final[dict[str, Any]] = {
    "text": AutoPipelineForText2Image,
    "picture": AutoPipelineForImage2Image,
    "mask": AutoPipelineForInpainting,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `pipe` is never called itself: every job takes a view with a scheduler of its own."""

    spec: ModelSpec
    pipe: DiffusionPipeline
    preview: Preview | None
    digest: str
    device: torch.device
    #: ControlNets that may steer it, by their keys.
    controls: dict[str, nn.Module] = field(default_factory=dict, compare=False)
    #: What its text encoders said of the texts they read last.
    heard: Memory = field(default_factory=Memory, compare=False)

    @property
    def family(self) -> Family:
        """Its row in the table; told from what was loaded where the catalogue could not."""
        listed = families.known(self.spec.family)
        if listed is not families.UNKNOWN:
            return listed
        parts = [getattr(self.pipe, name, None) for name in ("unet", "transformer")]
        return families.of_pipeline(type(self.pipe).__name__, *(part.config for part in parts if part is not None))

    @property
    def repaints(self) -> bool:
        """All it can do is fill a mask: its denoiser also reads the mask and the latents of what is not masked."""
        unet = getattr(self.pipe, "unet", None)
        if unet is not None:
            return bool(unet.config.in_channels == 2 * self.pipe.vae.config.latent_channels + 1)
        return tuple(self.family.pipelines) == ("mask",)

    @property
    def modules(self) -> dict[str, object]:
        """All its parts by name, its ControlNets among them."""
        return {**self.pipe.components, **{f"control {key}": net for key, net in self.controls.items()}}

    def view(self, scheduler: SchedulerMixin, task: Task) -> Any:
        """A pipeline over the same weights, so that nothing one job sets is seen by the next.

        Raises:
            ModelError: this family cannot do that.
        """
        family = self.family
        try:
            if family is families.UNKNOWN:
                view = _AUTO[task].from_pipe(self.pipe, scheduler=scheduler)
            else:
                view = _assembled(_kind(self.pipe, family, task), self.pipe, scheduler)
        except (KeyError, ValueError) as unknown:
            raise ModelError(abilities.cannot(self.spec.title, task)) from unknown
        view.set_progress_bar_config(disable=True)
        return view


def _kind(pipe: DiffusionPipeline, family: Family, task: Task) -> type[DiffusionPipeline]:
    """The class that does `task`. A folder of an older or special class of the family keeps its own.

    Raises:
        KeyError: the family cannot do that.
    """
    name = family.pipelines[task]
    own = type(pipe)
    if own.__name__ in families.ALIASES and task in ("text", "edit"):
        return own
    kind: type[DiffusionPipeline] = getattr(diffusers, name)
    return kind


def _assembled(kind: type[DiffusionPipeline], pipe: DiffusionPipeline, scheduler: SchedulerMixin) -> DiffusionPipeline:
    """A pipeline of the class `kind` from the parts of `pipe`. (`from_pipe` of a class would cast them all.)

    Raises:
        ValueError: a part is lacking.
    """
    expected = inspect.signature(kind.__init__).parameters
    parts = {name: part for name, part in pipe.components.items() if name in expected}
    settings = {name: value for name, value in pipe.config.items() if name in expected and name not in parts}
    given = {**settings, **parts, "scheduler": scheduler}
    for name, parameter in list(expected.items())[1:]:
        if parameter.default is parameter.empty and name not in given:
            raise ValueError(f"{kind.__name__} needs the part {name}.")
    return kind(**given)


def device(wanted: str) -> torch.device:
    """Raises:
    ModelError: this machine has no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, usable in there.items() if usable)
    if not there.get(wanted, False):
        found = " or ".join(name for name, usable in there.items() if usable)
        raise ModelError(f"PyTorch finds no {wanted} device here; start the studio with --device {found} or auto.")
    return torch.device(wanted)


def named(place: torch.device) -> str:
    """What the device is called: the card's name, or `CPU`."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return {"mps": "Apple GPU"}.get(place.type, "CPU")


def precision(wanted: str, place: torch.device, family: str) -> torch.dtype:
    if wanted != "auto":
        return _PRECISIONS[wanted]
    if place.type == "cpu":
        return torch.float32  # half precision is emulated there: slower, and worse
    return torch.float16 if family in _HALF else torch.bfloat16


def load(spec: ModelSpec, place: torch.device, dtype: torch.dtype, digest: str, shelf: Shelf = NOTHING) -> Model:
    """`shelf`: where the parts that a single file lacks are looked for.

    Raises:
        ModelError: the folder or file is damaged, is no text-to-image model, or lacks a part.
    """
    try:
        pipe = _read(spec, dtype, shelf)
        pipe.to(place)
    except (torch.OutOfMemoryError, MemoryError, ModelError):
        raise
    # Every library below has its own error for a damaged file; none of them is a sentence for an artist.
    except Exception as broken:
        log.exception("Loading %s failed", spec.path)
        raise ModelError(f"{spec.title} could not be loaded ({_reason(broken)}); download it again.") from broken
    for part in (getattr(pipe, "unet", None), getattr(pipe, "vae", None)):
        if part is not None and all(weight.ndim < 5 for weight in part.parameters()):
            part.to(memory_format=torch.channels_last)  # convolutions run about 6 % faster so, on one CPU core
    if isinstance(getattr(pipe, "transformer", None), diffusers.ChromaTransformer2DModel):
        pipe.transformer.register_to_config(guidance_embeds=False)  # its inpainting pipeline asks, as that of FLUX does
    pipe.set_progress_bar_config(disable=True)
    return Model(spec, pipe, preview.of(pipe, spec.path), digest, place)


def _read(spec: ModelSpec, dtype: torch.dtype, shelf: Shelf) -> DiffusionPipeline:
    if spec.path.is_dir():
        _check(spec)
        return _from_folder(spec.path, dtype)
    if spec.path.suffix.casefold() != ".dduf":
        return single_file.load(spec, dtype, shelf)
    # A diffusers folder in an archive, not compressed; no file of it may lie outside of where it is unpacked.
    with tempfile.TemporaryDirectory(prefix="pochade-") as place, zipfile.ZipFile(spec.path) as archive:
        for name in archive.namelist():
            if name.startswith(("/", "\\")) or ".." in Path(name).parts or ":" in name:
                raise ModelError(f"{spec.title} is a damaged DDUF archive; download it again.")
        archive.extractall(place)
        return _from_folder(Path(place), dtype)


def _check(spec: ModelSpec) -> None:
    """Raises:
    ModelError: a file of it is damaged, or made to harm; told by its header, before a tensor is read. Or it was
        quantised by a library that is not here.
    """
    for part in sorted(spec.path.iterdir()):
        if package := optional.absent(part / "config.json"):
            raise ModelError(
                f"{spec.title} was quantised by {package}; install that Python package, or get it in full."
            )
        for file in catalog.weights(part):
            try:
                headers.read_header(file)
            except ModelError as reason:
                raise ModelError(f"{spec.title} could not be loaded. {reason}") from reason


def _from_folder(folder: Path, dtype: torch.dtype) -> DiffusionPipeline:
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    name = str(index.get("_class_name"))
    described = families.of_pipeline(name) is not families.UNKNOWN
    loader = getattr(diffusers, name) if described else AutoPipelineForText2Image
    if absent := getattr(loader, "_backends", []):  # a stand-in of diffusers for what is not installed
        raise ModelError(f"{name.removesuffix('Pipeline')} needs the Python package {absent[-1]}; install it.")
    pipe: DiffusionPipeline = loader.from_pretrained(
        folder,
        # Said out loud because transformers keeps a text encoder in the precision it was stored in.
        dtype=dtype,
        variant=catalog.variant(folder),
        use_safetensors=True,
        local_files_only=True,
        **{part: None for part in _LEFT_OUT.get(name, ()) if not any(index.get(part) or ())},
    )
    return pipe


def free() -> None:
    """Give back the memory of what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def quiet() -> None:
    """No progress bars and no advice on stderr: diffusers and transformers write to a notebook's reader."""
    # tqdm's default lock is a semaphore of the system, left behind (with a warning) by a process that is ended.
    tqdm.set_lock(threading.RLock())
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _reason(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (first or type(error).__name__)[:160].rstrip(". ")
