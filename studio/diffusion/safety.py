"""The safety check of a finished picture, as diffusers' Stable Diffusion pipelines do it."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessor

from studio import image
from studio.request import GenerationResult, Verdict

log = logging.getLogger(__name__)


class Checker:
    """Loaded with the first picture; it stays in main memory and works on the CPU, where it takes no model's room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def verdict(self, result: GenerationResult) -> Verdict:
        """`UNCHECKED` if the checker itself fails: what that means is for others to say."""
        try:
            model, processor = self._parts
            picture = image.from_rgb(result.width, result.height, result.rgb)
            seen = processor(picture, return_tensors="pt").pixel_values
            with torch.inference_mode():
                _, flags = model(images=[np.zeros((1, 1, 3))], clip_input=seen)
        # Files of anybody's making are read here, by libraries that raise what they like.
        except Exception:
            log.exception("The safety check of %s failed", self._folder)
            return Verdict.UNCHECKED
        return Verdict.FLAGGED if flags[0] else Verdict.PASSED

    @cached_property
    def _parts(self) -> tuple[StableDiffusionSafetyChecker, CLIPImageProcessor]:
        model = StableDiffusionSafetyChecker.from_pretrained(
            self._folder, use_safetensors=True, local_files_only=True, torch_dtype=torch.float32
        )
        size = model.config.vision_config.image_size
        return model.eval(), CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
