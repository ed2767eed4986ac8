"""Maps of pictures for ControlNets, made by controlnet_aux and transformers; one detector stays in memory."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import logging
import random
import sys
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from PIL import Image

from studio import annotators, control_files, control_maps, image
from studio.annotators import Annotator
from studio.control_files import Tell
from studio.control_maps import Settled
from studio.diffusion import detect
from studio.errors import ModelError, StudioError
from studio.geometry import Size
from studio.pose import Pose
from studio.request import ControlUnit

#: Pixels of the shorter side that a detector looks at where nobody says: beyond, they see grain and take minutes.
_LOOKED_AT: Final = 1024
_MOST_MAPS: Final = 24
log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
#: Runs what changes settings of the whole process, such as an import, where it disturbs no drawing.
Between = Callable[[Callable[[], Answer]], Answer]


class Annotators:
    """`folders` are searched for weights before the hub is asked. Maps are kept by content; any thread may ask."""

    def __init__(self, folders: tuple[Path, ...], device: torch.device, max_pixels: int) -> None:
        self._folders = folders
        self._device = device
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._loaded: tuple[str, Any] = ("", None)
        self._maps: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def map(self, unit: ControlUnit, size: Size, tell: Tell, between: Between[Any]) -> Image.Image:
        """What drawing at `size` follows.

        Raises:
            Cancelled: `tell` said so.
            BadRequest, ModelError, TooLarge, UnreadablePicture: why there can be none.
        """
        annotator = annotators.find("none" if unit.pose is not None else unit.annotator)
        settled = annotator.settled({} if unit.pose is not None else unit.parameters)
        given = unit.image.sha256 if unit.image is not None else repr(unit.pose)
        key = (given, annotator.key, *settled.items(), *size, unit.resize)
        with self._lock:
            if kept := self._maps.get(key):
                self._maps.move_to_end(key)
                return Image.open(io.BytesIO(kept)).convert("RGB")
        picture = control_maps.source(unit, size, self._max_pixels)
        own = control_maps.OWN.get(annotator.key)
        made = own(picture, settled) if own else self._detected(annotator, picture, settled, tell, between)
        with self._lock:
            self._maps[key] = image.png(made)
            while len(self._maps) > _MOST_MAPS:
                self._maps.popitem(last=False)
        return made

    def _detected(
        self, annotator: Annotator, picture: Image.Image, settled: Settled, tell: Tell, between: Between[Any]
    ) -> Image.Image:
        asked: dict[str, Any] = {**annotator.told, **settled}
        seed = int(asked.pop("seed", 0))
        side = int(asked.pop("resolution", 0)) or min(*picture.size, _LOOKED_AT)
        work = lambda detector: _told(detector, picture, side, asked)  # noqa: E731
        made: Image.Image = self._asked(annotator, work, seed, tell, between).convert("RGB")
        return made if made.size == picture.size else made.resize(picture.size, Image.Resampling.BILINEAR)

    def people(self, data: bytes, tell: Tell, between: Between[Any]) -> Pose:
        """Those in a picture, as OpenPose finds them.

        Raises:
            BadRequest, ModelError, TooLarge, UnreadablePicture: why there are none.
        """
        picture = image.decode(data, self._max_pixels)
        found: Pose = self._asked(
            annotators.find("openpose"), lambda detector: detect.people(detector, picture), 0, tell, between
        )
        return found

    def _asked(
        self, annotator: Annotator, work: Callable[[Any], Answer], seed: int, tell: Tell, between: Between[Any]
    ) -> Answer:
        files = control_files.fetched(annotator, self._folders, tell)
        detector = between(lambda: self._ready(annotator, files))
        try:
            with self._lock, _chance(seed), torch.inference_mode():
                return self._on_device(detector, work)
        except StudioError:
            raise
        # Every detector has its own errors; none of them is a sentence for an artist.
        except Exception as broken:
            log.exception("%s failed", annotator.title)
            raise ModelError(
                f"{annotator.title} could make nothing of this picture ({type(broken).__name__}); "
                "choose another annotator."
            ) from broken

    def _on_device(self, detector: Any, work: Callable[[Any], Answer]) -> Answer:
        if self._device.type == "cpu" or not hasattr(detector, "to"):
            return work(detector)
        try:
            return work(detector.to(self._device))
        except torch.OutOfMemoryError:
            log.warning("The device has no room for an annotator beside the models; it works on the CPU.")
            return work(detector.to("cpu"))
        finally:
            detector.to("cpu")

    def _ready(self, annotator: Annotator, files: tuple[Path, ...]) -> Any:
        """The detector, loaded if it is not the one used last."""
        with self._lock:
            name = f"{annotator.detector} {annotator.repo}"
            if self._loaded[0] != name:
                self._loaded = ("", None)
                self._loaded = (name, _load(annotator, files))
            return self._loaded[1]


def _load(annotator: Annotator, files: tuple[Path, ...]) -> Any:
    """Raises:
    ModelError: the library or the weights cannot be read.
    """
    try:
        with _tamed():
            if not files:
                return _class(annotator.detector)()
            with tempfile.TemporaryDirectory(prefix="pochade-") as folder:
                for file in files:
                    (Path(folder) / file.name).symlink_to(file.resolve())
                if annotator.detector == "transformers":
                    return _Depth(folder)
                more = {"model_type": "vit_t"} if annotator.detector == "SamDetector" else {}
                return _class(annotator.detector).from_pretrained(folder, filename=files[0].name, **more)
    except ImportError as lacking:
        raise ModelError(
            f"{annotator.title} cannot be used: the Python package {lacking.name} is missing or broken."
        ) from lacking
    # Damaged weights fail in as many ways as there are detectors.
    except Exception as broken:
        log.exception("%s cannot be loaded", annotator.title)
        where = ", ".join(str(file) for file in files) or "controlnet_aux"
        raise ModelError(
            f"{annotator.title} could not be loaded ({type(broken).__name__}); delete {where} to get it anew."
        ) from broken


@contextmanager
def _tamed() -> Iterator[None]:
    """Detectors load as guests should: from pickles numbers alone, onto the processor; our command line is not theirs
    (LeReS parses it); what they print or warn of, such as optional packages, is for nobody here."""
    read, line = torch.load, sys.argv
    try:
        torch.load = functools.partial(read, map_location="cpu", weights_only=True)
        sys.argv = line[:1]
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.load, sys.argv = read, line


def _class(name: str) -> Any:
    return getattr(importlib.import_module("controlnet_aux"), name)


def _told(detector: Any, picture: Image.Image, side: int, asked: dict[str, Any]) -> Image.Image:
    """`side` in pixels: what it looks at, and what comes out, is rounded to 64 by controlnet_aux."""
    known = inspect.signature(detector.__call__).parameters
    sides = {name: max(side, 64) for name in ("detect_resolution", "image_resolution") if name in known}
    made: Image.Image = detector(picture, output_type="pil", **sides, **asked)
    return made


class _Depth:
    """Depth Anything, asked as controlnet_aux's detectors are."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True).eval()

    def to(self, device: torch.device | str) -> _Depth:
        self._model.to(device)
        return self

    def __call__(self, picture: Image.Image, *, detect_resolution: int = 512, output_type: str = "pil") -> Image.Image:
        """The nearer, the brighter."""
        scale = detect_resolution / min(picture.size)
        looked_at = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        read = self._processor(images=looked_at, return_tensors="pt").to(self._model.device)
        depth = self._model(**read).predicted_depth[0].float().cpu().numpy()
        low, high = float(depth.min()), float(depth.max())
        levels = (depth - low) / max(high - low, 1e-6) * 255
        return Image.fromarray(levels.round().astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)


@contextmanager
def _chance(seed: int) -> Iterator[None]:
    """Some detectors throw dice of the whole process: theirs fall alike each time, and everybody's roll on."""
    numbers, dice = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numbers)
        random.setstate(dice)
