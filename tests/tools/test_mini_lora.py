"""LoRAs of the embedded model learn a style, and their files load in stock pipelines in either layout."""

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from tools.mini.data import SMALL
from tools.mini.export import assemble
from tools.mini.parallel import Team
from tools.mini.style_lora import save_lora, style_scenes, with_lora
from tools.mini.text import Conditioner, make_tokenizer, new_text_encoder
from tools.mini.train import Plan, train
from tools.mini.unet import Focus, UnetTask, new_unet
from tools.mini.vae import encode, new_vae

CHANNELS = (16, 16, 32, 32)


def test_a_lora_learns_alone_and_its_files_say_the_same_in_both_layouts(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    words, eye, denoiser = new_text_encoder(tokenizer).eval(), new_vae((16, 16, 16)).eval(), new_unet(CHANNELS)
    start = {name: value.clone() for name, value in denoiser.state_dict().items()}
    noisy, states = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 192)

    def answer(pipeline: StableDiffusionPipeline) -> torch.Tensor:
        with torch.no_grad():
            said = pipeline.unet(noisy, 500, states).sample
        assert isinstance(said, torch.Tensor)
        return said

    pipeline = assemble(eye, words, tokenizer, denoiser)
    alone = answer(pipeline)
    scenes = style_scenes("blueprint", SMALL[0], 4, lambda pictures: encode(eye, pictures))
    task = UnetTask(with_lora(denoiser), [scenes], Conditioner(tokenizer, words), 2, focus=Focus(0.0, None, 0.0))
    assert torch.equal(answer(pipeline), alone)
    train(task, Plan(3e-3, steps=16, warmup=2), Team(), tmp_path / "lora.pt", report=lambda _: None)
    taught = answer(pipeline)
    change = (taught - alone).norm()
    assert change > 1e-3 * alone.norm()
    for kohya in (False, True):
        file = save_lora(denoiser, tmp_path / "lora", "blueprint", kohya)
        fresh = new_unet(CHANNELS)
        fresh.load_state_dict(start)
        other = assemble(eye, words, tokenizer, fresh)
        other.load_lora_weights(file.parent, weight_name=file.name)
        assert (answer(other) - taught).norm() < 0.05 * change


def test_scenes_of_a_style_are_the_same_again_and_blue_where_they_are_blueprints() -> None:
    seen: list[NDArray[np.uint8]] = []

    def keep(pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        seen.append(pictures)
        return np.zeros((len(pictures), 4, 32, 32), np.float16)

    for _ in range(2):
        scenes = style_scenes("blueprint", SMALL[0], 3, keep)
        assert {scene.style for scene in scenes.scenes} == {"blueprint"}
    np.testing.assert_array_equal(seen[0], seen[1])
    red, _, blue = seen[0].reshape(-1, 3).mean(0)
    assert blue > red + 40
