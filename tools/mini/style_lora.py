"""LoRAs that teach the embedded model a style it does not know, from freshly rendered scenes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils.state_dict_utils import convert_all_state_dict_to_peft, convert_state_dict_to_kohya
from numpy.typing import NDArray
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tools.mini.data import CELL, SEED, Bucket
from tools.mini.render import coverage, render
from tools.mini.scene import LORA_STYLES, Scene, sample_scene

RANK = 8
LAYERS = r".*(to_q|to_k|to_v|to_out\.0|conv1|conv2|conv_shortcut)"
"""Convolutions too: a style is mostly strokes, and the fine levels that draw them have no attention."""


class Scenes:
    """Scenes, each with its seed, rendered and encoded at once: what `Latents` is for pictures on disk."""

    def __init__(
        self,
        scenes: Sequence[tuple[Scene, list[int]]],
        bucket: Bucket,
        encode: Callable[[NDArray[np.uint8]], NDArray[np.float16]],
    ) -> None:
        self.bucket = bucket
        self.scenes = [scene for scene, _ in scenes]
        pictures, maps = [], []
        for scene, seed in scenes:
            pictures.append(render(scene, np.random.default_rng([*seed, 1]), bucket.width, bucket.height).image)
            maps.append(coverage(scene, np.random.default_rng([*seed, 1]), bucket.width, bucket.height, CELL))
        self._latents = encode(np.stack(pictures))
        self._maps = np.stack(maps)

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._latents[indices].astype(np.float32)

    def subjects(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._maps[indices].astype(np.float32) / np.float32(255)


def style_scenes(
    style: str, bucket: Bucket, count: int, encode: Callable[[NDArray[np.uint8]], NDArray[np.float16]]
) -> Scenes:
    seeds = [[SEED, 0x10A, LORA_STYLES.index(style), number] for number in range(count)]
    return Scenes([(sample_scene(np.random.default_rng(seed), (style,)), seed) for seed in seeds], bucket, encode)


def with_lora(denoiser: UNet2DConditionModel, rank: int = RANK) -> UNet2DConditionModel:
    """`denoiser` with fresh factors that change nothing yet; only they learn."""
    denoiser.requires_grad_(False)
    denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LAYERS))
    return denoiser


def save_lora(
    denoiser: UNet2DConditionModel, folder: Path, title: str, kohya: bool = False, told: dict[str, str] | None = None
) -> Path:
    """Write the factors as diffusers does (PEFT), or as kohya's trainer does; `told` goes into the file's metadata."""
    name = f"{title.replace(' ', '-')}.safetensors"
    factors = {key: value.to(torch.float16).contiguous() for key, value in get_peft_model_state_dict(denoiser).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=factors, weight_name=name)
    tensors, told = load_file(folder / name), {"format": "pt", **(told or {"modelspec.trigger_phrase": title})}
    if kohya:
        tensors = convert_state_dict_to_kohya(convert_all_state_dict_to_peft(tensors))
        told |= {"ss_network_module": "networks.lora", "ss_network_dim": str(RANK), "ss_network_alpha": str(RANK)}
    save_file({key: value.clone() for key, value in tensors.items()}, folder / name, told)
    return folder / name
