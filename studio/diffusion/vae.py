"""Another VAE in the place of a model's own: the same architecture with other weights."""

from __future__ import annotations

import copy
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from studio.diffusion import weights
from studio.diffusion.load import Model
from studio.errors import ModelError
from studio.specs import VaeSpec

log = logging.getLogger(__name__)


def fitted(model: Model, chosen: VaeSpec) -> Model:
    """`model` with that VAE; every other part is the very same.

    Raises:
        ModelError: it is damaged, or the VAE of another kind of model.
    """
    own = getattr(model.pipe, "vae", None)
    if not isinstance(own, nn.Module):
        raise ModelError(f"{model.spec.title} has no VAE to replace; leave the VAE out.")
    try:
        found = _read(own, chosen.path)
        weights.check(found)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    # Every library below has its own error for what does not fit; none of them is a sentence for an artist.
    except Exception as wrong:
        log.exception("The VAE %s cannot be used", chosen.path)
        raise ModelError(
            f"The VAE “{chosen.title}” is damaged or not made for {model.spec.title}; choose another one, or none."
        ) from wrong
    if any(weight.is_contiguous(memory_format=torch.channels_last) for weight in own.parameters() if weight.ndim == 4):
        found.to(memory_format=torch.channels_last)
    # A copy of the pipeline, not of its parts.
    pipe = copy.copy(model.pipe)
    pipe.register_modules(vae=found)
    return replace(model, pipe=pipe)


def _read(own: Any, path: Path) -> Any:
    kind, dtype = type(own), own.dtype
    if path.is_dir():
        return kind.from_pretrained(path, dtype=dtype, use_safetensors=True, local_files_only=True)
    tensors = weights.below(weights.read(path), "first_stage_model.", "vae.", "")
    if any(".down_blocks." in name for name in tensors):  # as diffusers names them
        vae = kind.from_config(own.config)
        vae.load_state_dict(tensors)
        return vae.to(dtype).eval()
    with tempfile.TemporaryDirectory() as folder:
        own.save_config(folder)
        return kind.from_single_file(tensors, config=folder, dtype=dtype, local_files_only=True)
