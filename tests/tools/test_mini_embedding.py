"""The embedded model's textual inversion: only its vectors learn, and stock pipelines read the file the same way."""

from pathlib import Path

import numpy as np
import torch

from tools.mini.data import SMALL
from tools.mini.embedding import MARK, VECTORS, WORD, WordTask, extend, mood_scenes, moody, save_word
from tools.mini.export import assemble
from tools.mini.parallel import Team
from tools.mini.text import Conditioner, load_tokenizer, make_tokenizer, new_text_encoder, token_ids
from tools.mini.train import Plan, train
from tools.mini.unet import new_unet
from tools.mini.vae import encode, new_vae

CHANNELS = (16, 16, 32, 32)


def test_a_word_learns_alone_and_its_file_says_the_same_in_a_stock_pipeline(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    words, eye, denoiser = new_text_encoder(tokenizer).eval(), new_vae((16, 16, 16)).eval(), new_unet(CHANNELS)
    known = {name: value.clone() for name, value in words.state_dict().items()}
    scenes = mood_scenes(SMALL[0], 4, lambda pictures: encode(eye, pictures))
    task = WordTask(denoiser, words, tokenizer, scenes, 2)
    first = task.model.vectors.detach().clone()
    train(task, Plan(1e-2, steps=16, warmup=2), Team(), tmp_path / "word.pt", report=lambda _: None)
    assert (task.model.vectors - first).norm() > 0.1
    assert not torch.equal(task.model.vectors[0], task.model.vectors[1])
    assert torch.equal(task.model.known.weight, next(value for name, value in known.items() if "token_emb" in name))

    marked = task.condition(token_ids(tokenizer, [f"a red car, {' '.join([MARK] * VECTORS)}"]))
    fresh = new_text_encoder(tokenizer).eval()
    fresh.load_state_dict(known)
    pipeline = assemble(eye, fresh, load_tokenizer(tmp_path / "tokenizer"), denoiser)
    pipeline.load_textual_inversion(save_word(task.model.vectors, tmp_path / "embeddings"), token=WORD)
    told = pipeline.encode_prompt(f"a red car, {WORD}", "cpu", 1, False)[0]
    torch.testing.assert_close(told, marked.detach(), atol=1e-4, rtol=1e-4)


def test_plain_texts_read_as_before(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    words = new_text_encoder(tokenizer).eval()
    ids = token_ids(tokenizer, ["a red car at night"])
    before = Conditioner(tokenizer, words)(ids)
    extend(words, tokenizer)
    assert torch.equal(Conditioner(tokenizer, words)(ids), before)


def test_every_scene_has_the_mood_and_no_caption_its_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    moods = [moody(rng) for _ in range(20)]
    assert {(scene.place, scene.time, scene.style) for scene in moods} == {("city", "night", "neon")}
    assert len({scene.things[0].name for scene in moods}) > 5
