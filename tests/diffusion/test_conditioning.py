from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.catalog import Catalog
from studio.diffusion import conditioning, load, sample, schedulers
from studio.diffusion.conditioning import Sentence
from studio.diffusion.encoder import Encoder, Memory
from studio.diffusion.load import Model
from studio.diffusion.watch import Round
from studio.errors import BadRequest, ModelError
from studio.family import Task
from studio.request import GenerationResult, Picture
from tests.families import builders
from tests.resolved import resolved

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def loaded(folder: Path) -> Model:
    load.quiet()
    return load.load(Catalog(folder).find(None), torch.device("cpu"), torch.float32, "0123456789")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Model:
    model = loaded(tiny)
    text = model.pipe.text_encoder
    with torch.no_grad():  # trained encoders have a mean that can be restored
        getattr(text, "text_model", text).final_layer_norm.bias.fill_(0.3)
    return model


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(builders.folder("sdxl", tmp_path_factory.mktemp("models") / "sdxl"))


def view(model: Model, task: Task = "text", sampler: str = "Euler") -> Any:
    return model.view(schedulers.own(model.pipe.scheduler, sampler, "Automatic"), task)


def encoder(model: Model, skip: int = 1, memory: Memory | None = None, **embeddings: Path) -> Encoder:
    return Encoder(view(model), Memory() if memory is None else memory, skip, embeddings)


def draw(model: Model, prompt: str, negative: str = "", **changes: object) -> GenerationResult:
    embeddings = changes.pop("embeddings", None)
    request = resolved(prompt, **{"sampler": "Euler", "scheduler": "Automatic", "full_negative": negative, **changes})
    return sample.draw(
        model,
        request,
        lambda event: None,
        threading.Event(),
        preview_every=0,
        max_pixels=100_000,
        device="CPU",
        embeddings=embeddings,  # type: ignore[arg-type]
    )


@contextmanager
def listened(model: Model) -> Iterator[list[dict[str, torch.Tensor]]]:
    """What the denoiser is told at each evaluation."""
    heard: list[dict[str, torch.Tensor]] = []

    def listen(_module: Any, _given: Any, told: dict[str, Any]) -> None:
        added = told.get("added_cond_kwargs") or {}
        heard.append({"hidden": told["encoder_hidden_states"].clone(), **added})

    handle = model.pipe.unet.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        yield heard
    finally:
        handle.remove()


def test_plain_prompts_are_encoded_bit_for_bit_as_the_stock_pipelines_do(model: Model, wide: Model) -> None:
    for text in ("a red boat", "", "Words, with: commas; 16:9"):
        embeds, negative = view(model).encode_prompt(text, torch.device("cpu"), 1, True, "dull")
        assert torch.equal(encoder(model).encode(text).embeds, embeds)
        assert torch.equal(encoder(model).encode("dull").embeds, negative)
        embeds, negative, pooled, negative_pooled = view(wide).encode_prompt(text, negative_prompt="dull")
        ours, dull = encoder(wide).encode(text), encoder(wide).encode("dull")
        assert torch.equal(ours.embeds, embeds)
        assert torch.equal(dull.embeds, negative)
        assert ours.pooled is not None
        assert torch.equal(ours.pooled, pooled)
        assert dull.pooled is not None
        assert torch.equal(dull.pooled, negative_pooled)


def test_without_a_negative_prompt_each_family_is_led_away_from_what_it_was_trained_with(
    model: Model, wide: Model
) -> None:
    assert torch.equal(encoder(model).negative("").embeds, encoder(model).encode("").embeds)
    _, negative, _, pooled = view(wide).encode_prompt("a", negative_prompt=None)
    ours = encoder(wide).negative(" ")
    assert torch.equal(ours.embeds, negative)
    assert ours.pooled is not None
    assert torch.equal(ours.pooled, pooled)
    assert not ours.embeds.any()


def test_weights_multiply_each_token_and_the_mean_stays(model: Model, wide: Model) -> None:
    # One character is one token here; the first of the 77 is the start.
    for of in (model, wide):
        plain, weighted = encoder(of).encode("a b c"), encoder(of).encode("a (b:1.5) c")
        encoders = [part for name in ("text_encoder", "text_encoder_2") if (part := getattr(of.pipe, name, None))]
        widths = [part.config.hidden_size for part in encoders]
        for part, width in enumerate(widths):
            columns = slice(sum(widths[:part]), sum(widths[:part]) + width)
            before, after = (one.embeds[..., columns] for one in (plain, weighted))
            expected = before.clone()
            expected[0, 2] *= 1.5
            expected *= before.mean() / expected.mean()
            torch.testing.assert_close(after, expected)
        if plain.pooled is not None:
            assert torch.equal(plain.pooled, weighted.pooled)  # type: ignore[arg-type]


def test_a_long_prompt_is_heard_whole_in_chunks(model: Model, wide: Model) -> None:
    for of in (model, wide):
        three = encoder(of).encode("a " * 75 + "b " * 75 + "c")
        assert three.embeds.shape[1] == 3 * 77
        for place, text in enumerate(("a " * 75, "b " * 75, "c")):
            alone = encoder(of).encode(text)
            assert torch.equal(three.embeds[:, 77 * place : 77 * (place + 1)], alone.embeds)
        if three.pooled is not None:
            assert torch.equal(three.pooled, encoder(of).encode("a " * 75).pooled)  # type: ignore[arg-type]
        broken = encoder(of).encode("a BREAK c")
        assert torch.equal(broken.embeds, torch.cat([encoder(of).encode(text).embeds for text in "ac"], dim=1))


def test_prompts_of_different_length_are_repeated_which_changes_nothing(model: Model) -> None:
    short, long = encoder(model).encode("a"), encoder(model).encode("b" * 76)
    assert long.embeds.shape[1] == 154
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        once = model.pipe.unet(latents, 500, encoder_hidden_states=short.embeds)[0]
        twice = model.pipe.unet(latents, 500, encoder_hidden_states=short.repeated(2).embeds)[0]
    torch.testing.assert_close(once, twice, atol=1e-5, rtol=1e-4)
    with listened(model) as heard:
        draw(model, "b" * 76, "a", steps=1)
        draw(model, "b" * 160, "a" * 100, steps=1)
        draw(model, "b" * 75 * 7, "a" * 75 * 5, steps=1)
    assert [told["hidden"].shape[1] // 77 for told in heard] == [2, 6, 7]
    assert torch.equal(heard[0]["hidden"][1:], long.embeds)
    assert torch.equal(heard[2]["hidden"][:1, -77:], encoder(model).encode("").embeds)


@pytest.mark.parametrize(
    ("prompt", "negative", "sampler", "changes", "expected"),
    [
        ("[r:b:0.5]", "", "Euler", {}, [("r", "")] * 2 + [("b", "")] * 2),
        ("[r:b:1]", "[x::3]", "Euler", {}, [("r", "x"), ("b", "x"), ("b", "x"), ("b", "")]),
        ("[r|b]", "", "Euler", {}, [("r", ""), ("b", "")] * 2),
        # Two evaluations a step, but for the last one
        ("[r:b:2]", "", "Heun", {}, [("r", "")] * 4 + [("b", "")] * 3),
        # Two of the four steps are taken, and counted from the first of them
        ("[r:b:1]", "", "Euler", {"strength": 0.5}, [("r", ""), ("b", "")]),
        ("[r:b:0.5]", "", "Euler", {"strength": 0.5}, [("r", ""), ("r", "")]),
        ("[r:b:1]", "", "Euler", {"strength": 0.5, "mask": True}, [("r", ""), ("b", "")]),
        ("[r:b:1]", "", "Euler", {"strength": 0.5, "loops": 2}, [("r", ""), ("b", "")] * 2),
        ("[r:b:2]", "x", "Euler", {"guidance": 1.0}, [("r", None)] * 2 + [("b", None)] * 2),
    ],
)
@pytest.mark.parametrize("size", ["model", "wide"])
def test_every_step_hears_what_the_schedule_says(
    prompt: str,
    negative: str,
    sampler: str,
    changes: dict[str, object],
    expected: list[tuple[str, str | None]],
    size: str,
    request: pytest.FixtureRequest,
) -> None:
    of: Model = request.getfixturevalue(size)
    if "strength" in changes:
        white = Picture.from_bytes(_png())
        changes = {**changes, "init": white, **({"mask": white} if "mask" in changes else {})}
    with listened(of) as heard:
        draw(of, prompt, negative, sampler=sampler, steps=4, **changes)
    texts = [[text for text in reversed(pair) if text is not None] for pair in expected]
    assert len(heard) == len(texts)
    for told, words in zip(heard, texts, strict=True):
        encoded = [encoder(of).encode(text) for text in words]
        if len(words) == 2:
            encoded[0] = encoder(of).negative(words[0])
        assert torch.equal(told["hidden"], torch.cat([one.embeds for one in encoded]))
        if "text_embeds" in told:
            assert torch.equal(
                told["text_embeds"], torch.cat([one.pooled for one in encoded if one.pooled is not None])
            )


def _png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("size", ["model", "wide"])
def test_prompts_joined_by_and_are_weighed_against_the_negative_one(size: str, request: pytest.FixtureRequest) -> None:
    of: Model = request.getfixturevalue(size)
    alone, doubled, with_nothing, both, other = (
        draw(of, prompt, "x", steps=3, guidance=guidance).rgb
        for prompt, guidance in (("r", 4.0), ("r", 8.0), ("r AND b:0", 4.0), ("r AND b:0.5", 4.0), ("b", 4.0))
    )
    assert _distance(draw(of, "r AND r", "x", steps=3, guidance=4.0).rgb, doubled) <= 1
    assert _distance(with_nothing, alone) <= 1
    assert _distance(both, alone) > 0
    assert _distance(both, other) > 0
    unguided = draw(of, "r AND b:3", steps=2, guidance=1.0).rgb
    assert _distance(unguided, draw(of, "b", steps=2, guidance=1.0).rgb) > 0
    assert _distance(draw(of, "r AND r:3", steps=2, guidance=1.0).rgb, draw(of, "r", steps=2, guidance=1.0).rgb) <= 1
    with pytest.raises(BadRequest, match="must come to more than 0"):
        draw(of, "r AND b:-1", guidance=1.0)
    with pytest.raises(BadRequest, match="join 8 at most"):
        draw(of, " AND ".join("r" * 9))
    assert type(of.pipe.unet).__name__ == "UNet2DConditionModel"


def _distance(one: bytes, other: bytes) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_composing_follows_the_formula(model: Model) -> None:
    pipe = view(model)
    request = resolved("r :1.5 AND b:-0.5", full_negative="x", guidance=3.0)
    unet = pipe.unet
    told = conditioning.prepare(model, pipe, request, "text", Round(0, 1, 6, 0, 6))
    given = told.arguments
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        r, b, free = (
            unet(latents, 500, encoder_hidden_states=encoder(model).encode(text).embeds)[0] for text in ("r", "b", "x")
        )
        hidden = torch.cat([given["negative_prompt_embeds"], given["prompt_embeds"]])  # type: ignore[list-item]
        ours = pipe.unet(torch.cat([latents] * 2), 500, encoder_hidden_states=hidden, return_dict=False)[0]
    torch.testing.assert_close(ours[:1], free, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1:], free + 1.5 * (r - free) - 0.5 * (b - free), atol=1e-5, rtol=1e-4)


def test_clip_skip_reads_an_earlier_layer(model: Model, wide: Model) -> None:
    words = model.pipe.tokenizer("ab", padding="max_length", return_tensors="pt").input_ids
    text = model.pipe.text_encoder
    with torch.no_grad():
        states = text(words, output_hidden_states=True).hidden_states
        norm = getattr(text, "text_model", text).final_layer_norm
        assert torch.equal(encoder(model, 2).encode("ab").embeds, norm(states[-2]))
    with pytest.raises(BadRequest, match="has 2 layers; choose a clip skip of 2 or less"):
        draw(model, "ab", clip_skip=3)
    with pytest.raises(BadRequest, match="choose a clip skip of 1 or less"):
        draw(wide, "ab", clip_skip=2)
    assert draw(model, "ab", steps=1, clip_skip=2).rgb != draw(model, "ab", steps=1).rgb


def test_a_textual_inversion_stands_in_for_its_name(model: Model, wide: Model, tmp_path: Path) -> None:
    """Vectors that are those of the tokens b and c must be heard as these tokens."""

    def rows(part: Any, words: Any) -> torch.Tensor:
        ids = words("bc", add_special_tokens=False).input_ids
        vectors: torch.Tensor = part.get_input_embeddings().weight.detach()[ids]
        return vectors.clone().contiguous()

    one, two, foreign = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "foreign"))
    save_file({"emb_params": rows(model.pipe.text_encoder, model.pipe.tokenizer)}, one)
    clips = {
        "clip_l": rows(wide.pipe.text_encoder, wide.pipe.tokenizer),
        "clip_g": rows(wide.pipe.text_encoder_2, wide.pipe.tokenizer_2),
    }
    save_file(clips, two)
    save_file({"emb_params": torch.zeros(1, 5)}, foreign)
    for of, file in ((model, one), (wide, two)):
        called = encoder(of, Ink=file)
        assert torch.equal(called.encode("a (INK:1.3), d").embeds, encoder(of).encode("a (bc:1.3), d").embeds)
        assert torch.equal(called.encode("a pink").embeds, encoder(of).encode("a pink").embeds)
        assert called.notes == ()
    lost = encoder(model, ink=foreign)
    assert torch.equal(lost.encode("ink").embeds, encoder(model).encode("ink").embeds)
    assert "made for another kind of model" in lost.notes[0]
    assert not model.pipe.text_encoder.get_input_embeddings()._forward_hooks
    foreign.write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        encoder(model, ink=foreign).encode("ink")


def test_a_text_is_encoded_once_and_forgotten_when_there_are_many(model: Model, tmp_path: Path) -> None:
    calls: list[int] = []
    handle = model.pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        size = 77 * 32 * 4
        memory = Memory(3 * size)
        for text in ("a", "b", "a", "c", "a"):
            encoder(model, 1, memory).encode(text)
        assert (len(calls), len(memory)) == (3, 3)
        encoder(model, 1, memory).encode("d")
        assert len(memory) == 3
        encoder(model, 1, memory).encode("a")
        assert len(calls) == 4
        encoder(model, 1, memory).encode("b")
        assert len(calls) == 5, "the one not used for longest was forgotten"
        encoder(model, 2, memory).encode("b")
        memory.worn = "a LoRA"
        encoder(model, 1, memory).encode("b")
        assert len(calls) == 7, "another layer and other LoRAs are other texts"
        encoder(model, 1, Memory(1)).encode("b")
        assert len(calls) == 8
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(builders.folder("flux", tmp_path_factory.mktemp("models") / "flux"))


def test_a_model_that_reads_sentences_is_told_one_and_says_what_it_left_out(talker: Model) -> None:
    pipe = view(talker)
    request = resolved("a (red:1.3) cat (the big one) BREAK [x:y:0.5] AND a dog", clip_skip=2)
    told = conditioning.prepare(talker, pipe, request, "text", Round(0, 1, 6, 0, 6))
    assert isinstance(told, Sentence)
    assert told.arguments["prompt"] == "a red cat (the big one)\ny, a dog"
    assert told.notes == (
        "This model reads whole sentences; what it cannot follow was left out: words that change between steps, AND, "
        "weights, BREAK.",
        "This model has no clip skip; it was left out.",
    )
    long = conditioning.prepare(talker, pipe, resolved("word " * 600 + "end"), "text", Round(0, 1, 6, 0, 6))
    assert "did not read the end of the prompt" in long.notes[0]
    assert conditioning.prepare(talker, pipe, resolved(), "text", Round(0, 1, 6, 0, 6)).notes == ()


def test_what_could_not_be_followed_is_said_with_the_picture(model: Model, tmp_path: Path) -> None:
    foreign = tmp_path / "ink.safetensors"
    save_file({"emb_params": torch.zeros(1, 5)}, foreign)
    assert "made for another kind of model" in draw(model, "ink", steps=1, embeddings={"ink": foreign}).notes[0]
    assert draw(model, "ink", steps=1).notes == ()
