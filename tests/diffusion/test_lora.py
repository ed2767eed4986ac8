from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from numpy.typing import NDArray

from studio.diffusion import load, lora_math, modes, sample
from studio.diffusion.load import Model
from studio.diffusion.lora import Loras, Worn
from studio.errors import BadRequest
from studio.request import LoraReport
from tests import loras
from tests.loras import same, use, weights
from tests.resolved import resolved

RED, BLUE = (0.3, -0.3, -0.3), (-0.3, -0.3, 0.3)


@pytest.fixture
def red(mini: Model, tmp_path: Path) -> Path:
    return loras.save(loras.tint(mini, RED), tmp_path / "red.safetensors")


@pytest.fixture
def blue(mini: Model, tmp_path: Path) -> Path:
    return loras.save(loras.tint(mini, BLUE), tmp_path / "blue.safetensors")


@pytest.fixture
def strokes(mini: Model, tmp_path: Path) -> Path:
    return loras.save(loras.kohya(loras.attention(mini)), tmp_path / "strokes.safetensors")


def picture(model: Model) -> NDArray[np.uint8]:
    request = resolved(
        "a green house in the hills", width=128, height=128, steps=3, sampler="DDIM", scheduler="Automatic"
    )
    drawn = sample.draw(
        model, request, lambda event: None, threading.Event(), preview_every=0, max_pixels=10**6, device="CPU"
    )
    return np.frombuffer(drawn.rgb, np.uint8).reshape(128, 128, 3)


def with_loras(shelf: Loras, model: Model, *wanted: Worn) -> NDArray[np.uint8]:
    with shelf.applied(model, wanted):
        return picture(model)


def reports(shelf: Loras, model: Model, *wanted: Worn) -> Sequence[LoraReport]:
    with shelf.applied(model, wanted) as told:
        return told


def redness(pixels: NDArray[np.uint8]) -> float:
    red, green, blue = pixels.reshape(-1, 3).astype(float).mean(axis=0)
    return float(red - (green + blue) / 2)


def test_a_lora_changes_the_picture_and_leaves_without_a_trace(worn: Loras, mini: Model, red: Path) -> None:
    before = weights(mini)
    plain = with_loras(worn, mini)
    tinted = with_loras(worn, mini, (use(), red))
    assert redness(tinted) > redness(plain) + 20
    assert np.array_equal(with_loras(worn, mini), plain)
    assert same(weights(mini), before)
    assert np.array_equal(with_loras(worn, mini, (use(), red)), tinted)


def test_its_weight_says_how_much(worn: Loras, mini: Model, red: Path) -> None:
    levels = [redness(with_loras(worn, mini, (use(weight), red))) for weight in (-0.5, 0.0, 0.5, 1.0)]
    assert levels == sorted(levels)
    assert min(np.diff(levels)) > 5
    assert np.array_equal(with_loras(worn, mini, (use(0.0), red)), with_loras(worn, mini))


def test_two_loras_add_up_in_whatever_order_they_are_named(
    worn: Loras, mini: Model, red: Path, blue: Path, strokes: Path
) -> None:
    three = (use(0.1), red), (use(0.1), blue), (use(0.5), strokes)  # more would end where colours do
    both = with_loras(worn, mini, *three[:2])
    alone = with_loras(worn, mini, three[0])
    assert redness(with_loras(worn, mini, three[1])) + 10 < redness(both) < redness(alone) - 1
    with worn.applied(mini, three):
        summed = weights(mini)
    worn.rest()
    for order in ((2, 1, 0), (1, 0, 2)):
        with worn.applied(mini, [three[index] for index in order]):
            assert same(weights(mini), summed)


def test_one_lora_after_the_other_is_as_if_the_first_had_never_been(
    worn: Loras, mini: Model, red: Path, strokes: Path
) -> None:
    with worn.applied(mini, [(use(), red)]):
        fresh = weights(mini)
    worn.rest()
    for before in ([(use(), strokes)], [(use(0.3), red), (use(), strokes)], [(use(-1.0), red)]):
        with worn.applied(mini, before):
            pass
        with worn.applied(mini, [(use(), red)]):
            assert same(weights(mini), fresh)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_and_put_back(mini: Model, red: Path, strokes: Path, dtype: torch.dtype) -> None:
    half = load.load(mini.spec, torch.device("cpu"), dtype, "")
    before = weights(half)
    worn = Loras()
    with worn.applied(half, [(use(0.8), red), (use(), strokes)]):
        changed = weights(half)
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = loras.attention(mini)[name]
    exact = before[f"{name}.weight"].float() + up @ down
    assert torch.equal(changed[f"{name}.weight"], exact.to(dtype))
    worn.rest()
    assert same(weights(half), before)


def test_the_text_encoder_has_a_weight_of_its_own(worn: Loras, mini: Model, strokes: Path) -> None:
    before = weights(mini)
    with worn.applied(mini, [(use(1.0, text_weight=0.0), strokes)]) as told:
        now = weights(mini)
    assert (told[0].layers, told[0].text_layers) == (80, 0)
    changed = {name.partition(".")[0] for name, tensor in now.items() if not torch.equal(tensor, before[name])}
    assert changed == {"unet"}
    with worn.applied(mini, [(use(0.0, text_weight=0.5), strokes)]) as told:
        now = weights(mini)
    assert (told[0].layers, told[0].text_layers) == (0, 16)
    changed = {name.partition(".")[0] for name, tensor in now.items() if not torch.equal(tensor, before[name])}
    assert changed == {"text_encoder"}


def test_what_the_text_encoder_said_under_other_loras_is_not_taken_for_what_it_says_now(
    worn: Loras, mini: Model, tmp_path: Path
) -> None:
    plain = with_loras(worn, mini)
    shown = [plain]
    for number, seed in enumerate((0, 1)):
        pairs = {path: pair for path, pair in loras.attention(mini, seed).items() if path.startswith("text")}
        # A longer header, so that the file is another even where the clock is coarse.
        file = loras.save(loras.kohya(pairs), tmp_path / "text.safetensors", note="x" * number)
        shown.append(with_loras(worn, mini, (use(), file)))
        assert not any(np.array_equal(shown[-1], other) for other in shown[:-1])
    shown.append(with_loras(worn, mini, (use(0.5), file)))
    assert not np.array_equal(shown[-1], shown[-2])
    assert np.array_equal(with_loras(worn, mini, (use(), file)), shown[2])
    assert np.array_equal(with_loras(worn, mini), plain)


def test_every_layout_says_the_same(worn: Loras, mini: Model, tmp_path: Path) -> None:
    pairs = loras.attention(mini)
    unet = {path: pair for path, pair in pairs.items() if path.startswith("unet.")}
    with worn.applied(mini, [(use(0.9), loras.save(loras.kohya(pairs), tmp_path / "kohya.safetensors"))]):
        both = weights(mini)
        shown = picture(mini)
    with worn.applied(mini, [(use(0.9), loras.save(loras.kohya(unet), tmp_path / "unet.safetensors"))]):
        unet_only = weights(mini)
    for name, tensors, expected in (
        ("diffusers", loras.diffusers(pairs), both),
        ("old", loras.old_diffusers(unet), unet_only),
        ("first", loras.first_diffusion(mini, unet, "lora_unet_"), unet_only),
        ("comfy", loras.first_diffusion(mini, unet, "diffusion_model."), unet_only),
    ):
        with worn.applied(mini, [(use(0.9), loras.save(tensors, tmp_path / f"{name}.safetensors"))]):
            assert same(weights(mini), expected), name
    with worn.applied(mini, [(use(0.9), loras.save(loras.diffusers(pairs), tmp_path / "diffusers.safetensors"))]):
        assert np.array_equal(picture(mini), shown)


def test_alpha_counts_as_kohya_and_as_peft_write_it(worn: Loras, mini: Model, tmp_path: Path) -> None:
    unet = {path: pair for path, pair in loras.attention(mini, rank=6).items() if path.startswith("unet.")}
    full = loras.save(loras.kohya(unet), tmp_path / "full.safetensors")
    with worn.applied(mini, [(use(0.5), full)]):
        half = weights(mini)
        shown = picture(mini)
    header = '{"unet.r": 6, "unet.lora_alpha": 3}'
    for file in (
        loras.save(loras.kohya(unet, alpha=3), tmp_path / "kohya.safetensors"),
        loras.peft(unet, tmp_path / "folder", alpha=3),
        loras.save(loras.diffusers(unet), tmp_path / "header.safetensors", lora_adapter_metadata=header),
    ):
        with worn.applied(mini, [(use(), file)]):
            assert same(weights(mini), half), file
            if file.parent.name == "folder":
                assert np.array_equal(picture(mini), shown)


def test_what_found_its_place_is_told_and_what_did_not(worn: Loras, mini: Model, tmp_path: Path) -> None:
    tensors = loras.kohya(loras.attention(mini))
    some = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    for kind in ("lora_down", "lora_up"):
        tensors[f"lora_unet_elsewhere_to_q.{kind}.weight"] = tensors[f"{some}.{kind}.weight"]
        tensors[f"lora_te2_text_model_encoder_layers_0_mlp_fc1.{kind}.weight"] = tensors[f"{some}.{kind}.weight"]
    tensors[f"{some}.lora_up.weight"] = torch.zeros(7, 4)
    tensors["lora_unet_conv_in.oft_blocks"] = torch.zeros(2, 2, 2)
    tensors["note"] = torch.zeros(1)
    told = reports(worn, mini, (use(), loras.save(tensors, tmp_path / "mixed.safetensors")))[0]
    assert (told.name, told.layers, told.text_layers) == ("it", 79, 16)
    assert len(told.digest) == 12
    assert sorted(told.skipped) == [
        "1 OFT layers, which are not supported (conv_in)",
        "1 entries nobody knows (note)",
        "1 layers for a text encoder 2, which this model lacks (encoder_layers_0_mlp_fc1)",
        "1 layers of another shape than the model’s (mid_block_attentions_0_transformer_blocks_0_attn1_to_q)",
        "1 layers this model does not have (elsewhere_to_q)",
    ]
    assert told.found == "79 layers and 16 of the text encoder"


def test_files_in_eight_bits_are_read(worn: Loras, mini: Model, tmp_path: Path) -> None:
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in loras.tint(mini, RED).items()}
    told = reports(worn, mini, (use(), loras.save(small, tmp_path / "small.safetensors")))
    assert told[0].layers == 1


def test_what_fails_half_way_is_taken_back(
    worn: Loras, mini: Model, strokes: Path, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(mini)
    calls: list[int] = []

    def fail_late(*given: object) -> None:
        calls.append(1)
        if len(calls) > 30:
            raise torch.OutOfMemoryError("no room")

    for first in ([], [(use(0.4), red)]):
        with worn.applied(mini, first):
            pass
        with monkeypatch.context() as patched:
            patched.setattr(lora_math, "factors", fail_late)
            with pytest.raises(torch.OutOfMemoryError), worn.applied(mini, [(use(), strokes)]):
                pytest.fail("nothing may be drawn")
        assert same(weights(mini), before)
        calls.clear()


def test_what_fails_while_drawing_leaves_no_trace(worn: Loras, mini: Model, strokes: Path) -> None:
    before = weights(mini)
    with pytest.raises(ZeroDivisionError), worn.applied(mini, [(use(), strokes)]):
        raise ZeroDivisionError
    assert same(weights(mini), before)
    assert worn.nbytes < 2**21, "no copies are left"


def test_weights_written_to_by_somebody_else_are_noticed(worn: Loras, mini: Model, strokes: Path) -> None:
    before = weights(mini)
    with worn.applied(mini, [(use(), strokes)]):
        changed = weights(mini)
    torn = mini.pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    for spoil in (torn.data.zero_, lambda: setattr(torn, "data", torn.data.clone())):
        with torch.no_grad():
            torn.zero_()
            spoil()
        with worn.applied(mini, [(use(), strokes)]):
            assert same(weights(mini), changed)
    worn.rest()
    assert same(weights(mini), before)


def test_the_same_loras_again_cost_nothing_and_a_new_file_is_read(
    worn: Loras, mini: Model, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = with_loras(worn, mini, (use(), red))
    with monkeypatch.context() as patched:
        patched.setattr(lora_math, "change", lambda *given: pytest.fail("merged again"))
        assert np.array_equal(with_loras(worn, mini, (use(), red)), first)
    loras.save(loras.tint(mini, BLUE, 0.06), red)
    assert redness(with_loras(worn, mini, (use(), red))) < redness(first) - 20


def test_a_model_that_leaves_takes_the_copies_of_its_weights_with_it(
    worn: Loras, mini: Model, tmp_path: Path, strokes: Path
) -> None:
    other = load.load(mini.spec, torch.device("cpu"), torch.float32, "")
    with worn.applied(other, [(use(), strokes)]):
        worn_by_other = worn.nbytes
    gone = weakref.ref(other.pipe.unet)
    del other
    gc.collect()
    assert gone() is None, "nothing here keeps a model in memory"
    assert worn.nbytes == strokes.stat().st_size - 8 - header_size(strokes) < worn_by_other / 4
    assert np.array_equal(with_loras(worn, mini), with_loras(Loras(), mini))


def header_size(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[:8], "little")


def test_files_are_kept_only_so_far(mini: Model, tmp_path: Path) -> None:
    files = [
        loras.save(loras.kohya(loras.attention(mini, seed)), tmp_path / f"{seed}.safetensors") for seed in range(4)
    ]
    shelf = Loras(resident=int(2.5 * files[0].stat().st_size))
    for file in files:
        with shelf.applied(mini, [(use(), file)]):
            pass
    shelf.rest()
    assert shelf.nbytes <= 2.5 * files[0].stat().st_size
    with shelf.applied(mini, [(use(0.1), file) for file in files]) as told:
        assert len(told) == 4
    shelf.rest()


def test_blocks_of_the_u_net_have_weights_of_their_own(worn: Loras, mini: Model, strokes: Path) -> None:
    before = weights(mini)
    with worn.applied(mini, [(use(blocks="0,1,0,0,0,0,0,0,0,0,0"), strokes)]) as told:
        changed = {name for name, tensor in weights(mini).items() if not torch.equal(tensor, before[name])}
    assert told[0].text_layers == 0
    assert {".".join(name.split(".")[:3]) for name in changed} == {"unet.down_blocks.2"}
    with pytest.raises(BadRequest, match="takes 22 or 11 weights of blocks, not 3"):
        reports(worn, mini, (use(blocks="1,2,3"), strokes))


def test_eight_bit_weights_take_a_lora_and_say_that_it_loses(mini: Model, tmp_path: Path) -> None:
    small = load.load(mini.spec, torch.device("cpu"), torch.float32, "")
    modes.shrink(small, "float8", torch.float32)
    before = weights(small)
    strong = loras.save(loras.kohya(loras.attention(mini, size=1.0)), tmp_path / "strong.safetensors")
    shelf = Loras()
    with shelf.applied(small, [(use(), strong)]) as told:
        name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
        assert not torch.equal(weights(small)[name].float(), before[name].float())
        assert picture(small).std() > 0
    assert told[0].layers == 80
    assert "which this model keeps in 8 bits" in told[0].skipped[0]
    shelf.rest()
    assert all(torch.equal(tensor.float(), before[name].float()) for name, tensor in weights(small).items())


@pytest.mark.slow
def test_fifty_random_switches_leave_memory_and_weights_as_they_were(
    worn: Loras, mini: Model, red: Path, blue: Path, strokes: Path
) -> None:
    before = weights(mini)
    chance = random.Random(5)
    process = psutil.Process()

    def switch() -> None:
        chosen = chance.sample([red, blue, strokes], chance.randint(0, 3))
        with worn.applied(mini, [(use(chance.choice((-1, 0, 0.5, 1))), file) for file in chosen]):
            mini.pipe.unet(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 77, 192))

    for _ in range(20):
        switch()
    start = process.memory_info().rss
    for _ in range(50):
        switch()
    assert process.memory_info().rss < 1.02 * start
    worn.rest()
    assert same(weights(mini), before)
