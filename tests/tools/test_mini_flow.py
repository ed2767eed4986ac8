"""The second family: told what stock Stable Diffusion 3 tells it, faster to train, the same to draw with."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from transformers import CLIPTextModel, CLIPTokenizer

from tools.mini.data import SMALL
from tools.mini.flow import FlowTask, OneForAll, Reading, assemble_flow, new_transformer
from tools.mini.parallel import Team
from tools.mini.second_family import adopt_flow, write_flow
from tools.mini.stages import Options
from tools.mini.style_lora import style_scenes
from tools.mini.text import Conditioner, make_tokenizer, new_text_encoder, token_ids
from tools.mini.train import Plan, load_average, train
from tools.mini.vae import encode, new_vae

TEXTS = ["a red car", "two blue fish at night, in watercolor"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[CLIPTokenizer, CLIPTextModel]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return tokenizer, new_text_encoder(tokenizer).eval()


def test_it_is_told_in_training_what_the_stock_pipeline_tells_it(words: tuple[CLIPTokenizer, CLIPTextModel]) -> None:
    tokenizer, encoder = words
    pipeline = assemble_flow(new_vae((16, 16, 16)), encoder, tokenizer, new_transformer())
    states, _, pooled, _ = pipeline.encode_prompt(TEXTS, TEXTS, "", do_classifier_free_guidance=False)
    ours, row = Reading(tokenizer, encoder)(token_ids(tokenizer, TEXTS))
    torch.testing.assert_close(ours, states)
    torch.testing.assert_close(row, pooled)


def test_one_silent_token_does_the_work_of_256(words: tuple[CLIPTokenizer, CLIPTextModel]) -> None:
    tokenizer, encoder = words
    transformer = new_transformer().eval()
    for parameter in transformer.parameters():  # fresh ones are zero where it would show
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.2)
    ids, noisy, times = token_ids(tokenizer, TEXTS), torch.randn(2, 4, 32, 32), torch.tensor([900.0, 100.0])
    with torch.no_grad():
        stock = transformer(noisy, *Reading(tokenizer, encoder)(ids), times, return_dict=False)[0]
        transformer.set_attn_processor(OneForAll())
        short = transformer(noisy, *Reading(tokenizer, encoder, silent=1)(ids), times, return_dict=False)[0]
    torch.testing.assert_close(short, stock, atol=1e-4, rtol=1e-4)
    assert stock.std() > 0.1


def test_it_learns_and_its_folder_draws_in_a_stock_pipeline(
    words: tuple[CLIPTokenizer, CLIPTextModel], tmp_path: Path
) -> None:
    tokenizer, encoder = words
    eye = new_vae((16, 16, 16)).eval()
    scenes = style_scenes("blueprint", SMALL[0], 4, lambda pictures: encode(eye, pictures))
    task = FlowTask(new_transformer(), [scenes], Conditioner(tokenizer, encoder), 2)

    def error() -> float:
        with torch.no_grad():
            return sum(float(task.loss(task.prepare(number, 9))[0]) for number in range(6))

    before = error()
    train(task, Plan(2e-3, steps=24, warmup=2, muon=True), Team(), tmp_path / "flow.pt", report=lambda _: None)
    assert error() < 0.8 * before
    assemble_flow(eye, encoder, tokenizer, task.model.eval()).save_pretrained(tmp_path / "model")
    without = {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = StableDiffusion3Pipeline.from_pretrained(tmp_path / "model", local_files_only=True, **without)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(TEXTS[0], width=128, height=128, num_inference_steps=2, output_type="np").images[0]
    assert drawn.shape == (128, 128, 3)
    assert drawn.std() > 0.01


def test_a_fresh_clone_goes_on_with_what_is_there(
    words: tuple[CLIPTokenizer, CLIPTextModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, encoder = words
    first, second = (Options(root=tmp_path / name) for name in ("first", "second"))
    tokenizer.save_pretrained(first.root / "tokenizer")
    encoder.save_pretrained(first.root / "text_encoder")
    new_vae().save_pretrained(first.root / "vae")
    eye = new_vae((16, 16, 16)).eval()
    scenes = style_scenes("blueprint", SMALL[0], 4, lambda pictures: encode(eye, pictures))
    task = FlowTask(new_transformer(), [scenes], Conditioner(tokenizer, encoder), 2)
    train(task, Plan(2e-3, steps=4, muon=True), Team(), first.run("flow-large"), report=lambda _: None)
    monkeypatch.setattr("tools.mini.second_family.write_preview", lambda *_: None)
    write_flow(first, tmp_path / "mini-flow", ("small", "large"))
    adopt_flow(second, tmp_path / "mini-flow")
    trained, again = new_transformer(), new_transformer()
    seen = [
        load_average(options.run("flow-large"), model)[:2] for options, model in ((first, trained), (second, again))
    ]
    assert seen == [(4, 8), (4, 8)]
    torch.testing.assert_close(again.state_dict(), trained.state_dict(), atol=1e-3, rtol=1e-3)  # fp16 lay between
