from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.catalog import EMBEDDED, Catalog, variant
from studio.catalog_trash import trash
from studio.errors import BadRequest, ModelError, NotFound
from tests.loras import save

SD1 = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


def folder(
    place: Path,
    index: object = SD1,
    *,
    unet: dict[str, object] | None = None,
    weights: str = "diffusion_pytorch_model.safetensors",
    data: bytes = b"denoiser",
) -> Path:
    for part in ("unet", "vae"):
        (place / part).mkdir(parents=True)
        (place / part / weights).write_bytes(data)
    (place / "unet" / "config.json").write_text(json.dumps(unet or {"cross_attention_dim": 768, "sample_size": 64}))
    (place / "vae" / "config.json").write_text(json.dumps({"block_out_channels": [1, 2, 3, 4]}))
    (place / "model_index.json").write_text(json.dumps(index))
    return place


def test_the_embedded_model_comes_first_and_is_the_default(tmp_path: Path) -> None:
    catalog = Catalog(folder(tmp_path / "assets" / "anything"), (tmp_path / "models",))
    folder(tmp_path / "models" / "a")
    assert [spec.key for spec in catalog.models()] == [EMBEDDED, "a"]
    assert catalog.find(None).key == EMBEDDED


def test_what_the_studio_brings_for_its_embedded_model_fits_no_other(tmp_path: Path) -> None:
    embedded = folder(tmp_path / "assets" / "any", unet={"cross_attention_dim": 192, "sample_size": 64})
    net = embedded / "controlnet" / "scribble"
    net.mkdir(parents=True)
    (net / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    convolution = torch.zeros(16, 3, 3, 3)
    save_file({"controlnet_cond_embedding.conv_in.weight": convolution}, net / "diffusion_pytorch_model.safetensors")
    factors = {"down.weight": torch.zeros(4, 192), "up.weight": torch.zeros(96, 4)}
    place = "lora_unet_down_blocks_2_attentions_0_transformer_blocks_0_attn2_to_k.lora_"
    save({f"{place}{name}": factor for name, factor in factors.items()}, embedded / "lora" / "blueprint.safetensors")
    Image.new("RGB", (8, 8)).save(embedded / "lora" / "blueprint.png")
    save({"emb_params": torch.zeros(2, 192)}, embedded / "embeddings" / "nocturne.safetensors")
    folder(tmp_path / "models" / "a")
    catalog = Catalog(embedded, (tmp_path / "models",))
    own, other = catalog.find(None), catalog.find("a")
    assert (own.family, other.family) == ("mini", "sd15")
    assert [net.key for net in catalog.controlnets_of(own)] == ["mini/scribble"]
    assert catalog.controlnets_of(other) == ()
    assert catalog.lora("blueprint").key == "mini/blueprint"
    assert catalog.lora("blueprint").families == ("mini",)
    word = catalog.embedding("nocturne")
    assert (word.key, word.title, word.families) == ("mini/nocturne", "nocturne", ("mini",))
    brought = {entry.key for entry in catalog.entries() if entry.embedded}
    assert brought == {"mini", "mini/scribble", "mini/blueprint", "mini/nocturne"}
    assert catalog.entry("lora:mini/blueprint").place.preview == embedded / "lora" / "blueprint.png"


def test_a_sister_of_the_embedded_model_is_brought_along_and_kept(tmp_path: Path) -> None:
    embedded = folder(tmp_path / "assets" / "any", unet={"cross_attention_dim": 192, "sample_size": 64})
    sister = tmp_path / "assets" / "any-flow"
    shutil.copytree(embedded, sister)
    (sister / "unet").rename(sister / "transformer")
    (sister / "transformer" / "config.json").write_text(json.dumps({"joint_attention_dim": 224}))
    index = json.loads((sister / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "SD3Transformer2DModel"]
    del index["unet"]
    (sister / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusion3Pipeline"}))
    folder(tmp_path / "models" / "mini-flow")
    folder(tmp_path / "assets" / "others")
    catalog = Catalog(embedded, (tmp_path / "models",))
    assert {spec.key: spec.family for spec in catalog.models()} == {
        "mini": "mini",
        "mini-flow": "mini-flow",
        "models/mini-flow": "sd15",
    }
    assert catalog.find(None).key == EMBEDDED
    with pytest.raises(BadRequest, match="belongs to it; it stays"):
        trash(catalog.entry("model:mini-flow"))


def test_folders_are_found_down_to_eight_levels_and_named_by_their_path(tmp_path: Path) -> None:
    folder(tmp_path / "1" / "2" / "3" / "4" / "5" / "6" / "7" / "8")
    folder(tmp_path / "1" / "2" / "3" / "4" / "5" / "6" / "7" / "too" / "deep")
    folder(tmp_path / ".cache" / "hidden")
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    assert [spec.key for spec in catalog.models()] == ["1/2/3/4/5/6/7/8"]


def test_the_same_path_below_two_folders_gives_two_keys(tmp_path: Path) -> None:
    folder(tmp_path / "x" / "a")
    folder(tmp_path / "y" / "a")
    folder(tmp_path / "y" / "mini")
    catalog = Catalog(tmp_path / "none", (tmp_path / "x", tmp_path / "y"))
    assert {spec.key for spec in catalog.models()} == {"a", "y/a", "y/mini"}


def test_a_model_folder_given_directly_is_a_model(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "none", (folder(tmp_path / "one"),))
    assert catalog.find(None).key == "one"


@pytest.mark.parametrize(
    ("pipeline", "unet", "family", "side"),
    [
        ("StableDiffusionPipeline", {"cross_attention_dim": 768, "sample_size": 64}, "sd15", 512),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024, "sample_size": 96}, "sd2", 768),
        ("StableDiffusionXLPipeline", {"cross_attention_dim": 2048, "sample_size": 128}, "sdxl", 1024),
        ("StableDiffusion3Pipeline", {}, "sd3", 1024),
        ("FluxPipeline", {}, "flux", 1024),
    ],
)
def test_the_family_and_the_native_size_come_from_the_configuration(
    tmp_path: Path, pipeline: str, unet: dict[str, object], family: str, side: int
) -> None:
    folder(tmp_path / "m", {**SD1, "_class_name": pipeline}, unet=unet)
    spec = Catalog(tmp_path / "none", (tmp_path,)).find("m")
    assert (spec.family, spec.defaults.width, spec.defaults.height) == (family, side, side)


def test_size_and_digest_are_those_of_the_weights(tmp_path: Path) -> None:
    spec = Catalog(folder(tmp_path / "m")).find(None)
    assert spec.size_bytes == 2 * len(b"denoiser")
    assert spec.digest == hashlib.sha256(b"denoiser").hexdigest()[:10]


def test_the_digest_follows_the_file(tmp_path: Path) -> None:
    place = folder(tmp_path / "m")
    catalog = Catalog(place)
    before = catalog.find(None).digest
    (place / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"other weights")
    catalog.refresh()
    assert catalog.find(None).digest != before


def test_a_model_stored_only_in_half_precision_is_usable(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", weights="diffusion_pytorch_model.fp16.safetensors")
    assert Catalog(place).find(None).size_bytes == 16
    assert variant(place) == "fp16"
    (place / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"full")
    assert variant(place) is None


def test_the_makers_card_wins_where_it_makes_sense(tmp_path: Path) -> None:
    place = folder(tmp_path / "m")
    card = {"title": "Tiny", "steps": 12, "guidance": 4.5, "width": 256, "height": 250, "sampler": "UniPC", "x": 1}
    (place / "pochade.json").write_text(json.dumps(card))
    spec = Catalog(place).find(None)
    likes = spec.defaults
    assert (spec.title, likes.steps, likes.guidance, likes.width) == ("Tiny", 12, 4.5, 256)
    assert likes.height == 512  # 250 is no multiple of 8
    assert likes.sampler == "UniPC"


@pytest.mark.parametrize("card", ['{"sampler": ["DDIM"]}', '{"sampler": "Magic"}', '{"scheduler": {}}', "[1]", "{"])
def test_a_nonsensical_card_changes_nothing(tmp_path: Path, card: str) -> None:
    place = folder(tmp_path / "m")
    usual = Catalog(place).find(None).defaults
    (place / "pochade.json").write_text(card)
    assert Catalog(place).find(None).defaults == usual


@pytest.mark.parametrize("broken", ["", "{", "[]", "null", "[" * 100_000, '{"unet": 3}', "\ufeff{}", '"x"'])
def test_broken_json_never_stops_the_scan(tmp_path: Path, broken: str) -> None:
    folder(tmp_path / "good")
    bad = folder(tmp_path / "bad")
    (bad / "model_index.json").write_text(broken)
    strange = folder(tmp_path / "strange")
    (strange / "unet" / "config.json").write_text(broken)
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    assert {spec.key for spec in catalog.models()} == {"good", "strange"}
    with pytest.raises(ModelError, match="“bad”"):
        catalog.find("bad")


def test_pickles_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder(tmp_path / "old", weights="diffusion_pytorch_model.bin")
    folder(tmp_path / "fine")
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    assert [spec.key for spec in catalog.models()] == ["fine"]
    with pytest.raises(ModelError, match=r"pickle files, which can run programs; get its \.safetensors"):
        catalog.find("old")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    place = folder(tmp_path / "m")
    (place / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks its weights"):
        Catalog(tmp_path / "none", (tmp_path,)).find("m")


def test_an_unknown_model_is_answered_with_what_there_is(tmp_path: Path) -> None:
    catalog = Catalog(folder(tmp_path / "m"))
    with pytest.raises(NotFound, match="no model “dall-e”; choose one of mini"):
        catalog.find("dall-e")


def test_no_models_at_all_says_how_to_add_some(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--models-dir"):
        Catalog(tmp_path / "none", (tmp_path / "missing",)).find(None)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: openrail++\ntags: [a]\n---\n# Model", "openrail++"),
        ('---\nlicense: other\nlicense_name: "flux-dev"\n---\n', "flux-dev"),
        ("# Model\nlicense: mit\n", ""),
        ("---\ntags: []\n---\nlicense: mit\n", ""),
        ("", ""),
    ],
)
def test_the_licence_comes_from_the_model_cards_front_matter(tmp_path: Path, card: str, licence: str) -> None:
    place = folder(tmp_path / "m")
    (place / "README.md").write_text(card)
    assert Catalog(place).find(None).licence == licence


def test_a_folder_of_the_hubs_cache_is_called_by_its_repository(tmp_path: Path) -> None:
    folder(tmp_path / "models--org--name" / "snapshots" / "abc")
    assert Catalog(tmp_path / "none", (tmp_path,)).models()[0].title == "org/name"


def test_a_new_folder_appears_after_a_refresh(tmp_path: Path) -> None:
    catalog = Catalog(folder(tmp_path / "m"), (tmp_path / "models",))
    (tmp_path / "models").mkdir()
    assert len(catalog.models()) == 1
    folder(tmp_path / "models" / "new")
    catalog.refresh()
    assert [spec.key for spec in catalog.models()] == [EMBEDDED, "new"]
