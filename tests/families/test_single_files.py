"""A single file, with a guide for its settings beside it, draws what the folder draws that it was made from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import gguf
import pytest
import torch
from accelerate import init_empty_weights
from huggingface_hub import export_folder_as_dduf
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from studio import families, headers, recognise
from studio.diffusion import load
from studio.diffusion.guides import SHIPPED, Guide, Shelf, clip_words
from studio.diffusion.load import Model
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.errors import ModelError
from studio.request import ModelSpec
from studio.specs import EncoderSpec, VaeSpec
from tests.families import builders, original
from tests.resolved import drawn, resolved

# what diffusers says of its own Chroma; the engine silences it while it loads
pytestmark = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")

SINGLE = [key for key in builders.BUILDERS if families.FAMILIES[key].single_file]
QUICK = ("sd15", "sdxl", "sd3", "flux", "flux2-klein", "z-image")
CPU = torch.device("cpu")


def spec(key: str, path: Path) -> ModelSpec:
    family = families.FAMILIES[key]
    return ModelSpec(path.stem, path.stem, path, key, 0, "", "", family.defaults)


def small_files(folder: Path, place: Path) -> Path:
    """The folder without its weights."""
    return Path(shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors")))


def weights_of(model: Model, *parts: str) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor
        for part in parts
        if getattr(model.pipe, part, None) is not None
        for name, tensor in getattr(model.pipe, part).state_dict().items()
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def denoiser(key: str) -> str:
    return "unet" if families.FAMILIES[key].denoiser.startswith("UNet") else "transformer"


@pytest.mark.parametrize("key", [pytest.param(key, marks=() if key in QUICK else pytest.mark.slow) for key in SINGLE])
def test_a_single_file_is_recognised_and_holds_what_its_folder_holds(
    key: str, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = family_folder(key)
    from_folder = load.load(spec(key, folder), CPU, torch.float32, "")
    tensors = original.checkpoint(key, from_folder.pipe)
    name = {"flux-kontext": "tiny-kontext", "qwen-edit": "tiny-edit"}.get(key, "tiny")
    file = tmp_path / f"{name}.safetensors"
    save_file(tensors, file)
    found = recognise.recognise(tensors, name=name)
    assert found is not None
    assert (found.family, found.kind) == (key, "checkpoint" if hasattr(from_folder.pipe, "unet") else "denoiser")
    # A whole checkpoint needs but the small files; a denoiser alone takes the rest from a folder of its family.
    whole = found.kind == "checkpoint"
    guide = small_files(folder, tmp_path / "guide") if whole else folder
    from_file = load.load(spec(key, file), CPU, torch.float32, "", Shelf((guide.parent if whole else folder,)))
    parts = (denoiser(key), "vae", *(f"text_encoder{number}" for number in ("", "_2", "_3", "_4")))
    assert same(weights_of(from_file, *parts), weights_of(from_folder, *parts))
    assert type(from_file.pipe).__name__ == type(from_folder.pipe).__name__


def test_parts_as_files_of_their_own_stand_in_for_a_folder(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = family_folder("flux")
    from_folder = load.load(spec("flux", folder), CPU, torch.float32, "")
    pipe = from_folder.pipe
    guide = small_files(folder, tmp_path / "guide")
    save_file(dict(pipe.transformer.state_dict()), tmp_path / "flux1-dev.safetensors")
    save_file(original.vae(dict(pipe.vae.state_dict())), tmp_path / "ae.safetensors")
    save_file(original.clip(dict(pipe.text_encoder.state_dict())), tmp_path / "clip_l.safetensors")
    t5 = {
        name: tensor.clone() for name, tensor in pipe.text_encoder_2.state_dict().items() if "embed_tokens" not in name
    }
    save_file(t5, tmp_path / "t5xxl_fp16.safetensors")
    other = {name: torch.zeros_like(tensor) for name, tensor in original.vae(dict(pipe.vae.state_dict())).items()}
    save_file(other, tmp_path / "sd3_vae.safetensors")

    def part(kind: type[EncoderSpec] | type[VaeSpec], name: str, content: str) -> EncoderSpec | VaeSpec:
        return kind(name, name, tmp_path / f"{name}.safetensors", ("flux",), 0, "", content)

    vaes = (part(VaeSpec, "sd3_vae", "vae-16"), part(VaeSpec, "ae", "vae-16"))
    encoders = (part(EncoderSpec, "clip_l", "clip-l"), part(EncoderSpec, "t5xxl_fp16", "t5-xxl"))
    file = spec("flux", tmp_path / "flux1-dev.safetensors")
    with pytest.raises(ModelError, match=r"comes without its text encoder \(clip-l\)"):
        load.load(file, CPU, torch.float32, "", Shelf((guide,), vaes=vaes))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"comes without its VAE"):
        load.load(file, CPU, torch.float32, "", Shelf((guide,), encoders=encoders))  # type: ignore[arg-type]
    shelf = Shelf((guide,), vaes, encoders)  # type: ignore[arg-type]
    from_files = load.load(file, CPU, torch.float32, "", shelf)
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2")
    assert same(weights_of(from_files, *parts), weights_of(from_folder, *parts))


def test_without_a_guide_a_sentence_says_what_is_lacking(family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    pipe = builders.pipeline("z-image")
    save_file(original.checkpoint("z-image", pipe), tmp_path / "z.safetensors")
    with pytest.raises(ModelError, match="must come from a diffusers folder of that family, whose small files suffice"):
        load.load(spec("z-image", tmp_path / "z.safetensors"), CPU, torch.float32, "")
    pipe = builders.pipeline("sd15")
    save_file(original.checkpoint("sd15", pipe), tmp_path / "sd.safetensors")
    with pytest.raises(ModelError, match="does not fit the settings of any Stable Diffusion"):
        load.load(spec("sd15", tmp_path / "sd.safetensors"), CPU, torch.float32, "")


@pytest.mark.parametrize(("key", "parameters"), [("sd15", 859_520_964), ("sdxl", 2_567_463_684), ("sd2", 865_910_724)])
def test_the_settings_brought_along_are_those_of_the_published_models(key: str, parameters: int) -> None:
    with init_empty_weights():
        unet = diffusers.UNet2DConditionModel.from_config(
            diffusers.UNet2DConditionModel.load_config(SHIPPED / key / "unet")
        )
        vae = diffusers.AutoencoderKL.from_config(diffusers.AutoencoderKL.load_config(SHIPPED / key / "vae"))
    assert sum(weight.numel() for weight in unet.parameters()) == parameters
    assert sum(weight.numel() for weight in vae.parameters()) == 83_653_863


def test_the_tokenizer_brought_along_is_that_of_clip() -> None:
    vocabulary, merges = clip_words()
    assert (len(vocabulary), len(merges)) == (49_408, 48_894)
    words = Guide(Path("nowhere"), families.FAMILIES["sd15"], {}).tokenizer("tokenizer", CLIPTokenizer)
    # as every program of this field reads these words
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    large = Guide(Path("nowhere"), families.FAMILIES["sdxl"], {}).tokenizer("tokenizer_2", CLIPTokenizer)
    assert large.pad_token_id == 0


def test_a_dduf_archive_is_a_folder_in_one_file(family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = family_folder("sd15")
    export_folder_as_dduf(tmp_path / "tiny.dduf", folder)
    packed = load.load(spec("sd15", tmp_path / "tiny.dduf"), CPU, torch.float32, "")
    plain = load.load(spec("sd15", folder), CPU, torch.float32, "")
    assert same(weights_of(packed, "unet", "vae", "text_encoder"), weights_of(plain, "unet", "vae", "text_encoder"))


def test_a_gguf_file_draws_as_the_weights_it_was_made_from(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = family_folder("qwen-image")
    plain = load.load(spec("qwen-image", folder), CPU, torch.float32, "")
    writer = gguf.GGUFWriter(tmp_path / "tiny-Q8_0.gguf", "qwen_image")
    for name, tensor in plain.pipe.transformer.state_dict().items():
        packed = tensor.ndim == 2 and tensor.shape[1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if packed else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = recognise.recognise(headers.read_header(tmp_path / "tiny-Q8_0.gguf").tensors)
    assert found is not None
    assert (found.family, found.kind) == ("qwen-image", "denoiser")
    file = load.load(spec("qwen-image", tmp_path / "tiny-Q8_0.gguf"), CPU, torch.float32, "", Shelf((folder,)))
    given = {
        "hidden_states": torch.randn(1, 16, 64),
        "encoder_hidden_states": torch.randn(1, 7, 32),
        "timestep": torch.tensor([0.5]),
        "img_shapes": [[(1, 4, 4)]],
        "return_dict": False,
    }
    with torch.no_grad():
        first, second = (model.pipe.transformer(**given)[0] for model in (plain, file))
    assert not torch.equal(first, second)  # eight bits are fewer than thirty-two …
    assert torch.allclose(first, second, atol=0.05 * float(first.abs().max()))  # … and enough


def test_an_engine_finds_the_parts_of_a_file_in_its_model_folders(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = family_folder("z-image")
    models = tmp_path / "models"
    (models / "diffusion_models").mkdir(parents=True)
    shutil.copytree(folder, models / "guide")
    pipe = builders.pipeline("z-image")
    save_file(original.checkpoint("z-image", pipe), models / "diffusion_models" / "z_image_tiny.safetensors")
    engine = LocalEngine(EngineOptions(folder, (models,), device="cpu", threads=1, preview_every=0))
    try:
        usual = {"sampler": "Euler", "scheduler": "Automatic", "steps": 2}
        from_file = drawn(engine, resolved("a red boat", model="diffusion_models/z_image_tiny.safetensors", **usual))
        from_folder = drawn(engine, resolved("a red boat", **usual))
    finally:
        engine.close()
    assert from_file.rgb == from_folder.rgb
