"""The families of models and what each can do: one table that the catalogue, the page and the engine read. No torch.

Class names are those of the diffusers version that requirements.txt pins; `tests/families` checks that they exist.
`studio.recognise` tells to which family a file belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from studio.family import Family, Part, Task, Variant
from studio.request import Defaults
from studio.samplers import AUTOMATIC

_DPM: Final = Defaults(sampler="DPM++ 2M", scheduler=AUTOMATIC, steps=20, guidance=4.5, width=1024, height=1024)


def _flow(steps: int, guidance: float, side: int = 1024) -> Defaults:
    return Defaults("Euler", AUTOMATIC, steps, guidance, side, side)


_VAE: Final = Part("vae", "AutoencoderKL", "vae-4")
_VAE_16: Final = Part("vae", "AutoencoderKL", "vae-16")
_VAE_FLUX2: Final = Part("vae", "AutoencoderKLFlux2", "vae-flux2")
_VAE_QWEN: Final = Part("vae", "AutoencoderKLQwenImage", "vae-qwen")
_CLIP_L: Final = Part("text_encoder", "CLIPTextModelWithProjection", "clip-l")
_CLIP_G: Final = Part("text_encoder_2", "CLIPTextModelWithProjection", "clip-g")
_FLUX_PARTS: Final = (
    _VAE_16,
    Part("text_encoder", "CLIPTextModel", "clip-l"),
    Part("text_encoder_2", "T5EncoderModel", "t5-xxl"),
)
_QWEN_PARTS: Final = (_VAE_QWEN, Part("text_encoder", "Qwen2_5_VLForConditionalGeneration", "qwen2.5-vl-7b"))
_QWEN_SIZES: Final = ((1328, 1328), (1664, 928), (928, 1664), (1472, 1104), (1104, 1472), (1584, 1056), (1056, 1584))
_XL_SIZES: Final = (
    *((1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216), (1344, 768), (768, 1344)),
    *((1536, 640), (640, 1536)),
)
_FEW_EULER: Final = Defaults("Euler a", "SGM Uniform", 4, 0.0, 512, 512)


def _controls(stem: str, *, picture: str = "", mask: str = "") -> dict[Task, str]:
    """The ControlNet classes of a family: `stem` + Pipeline, + `picture` + Pipeline, + `mask` + Pipeline."""
    rows: dict[Task, str] = {"control": f"{stem}Pipeline"}
    if picture:
        rows["control-picture"] = f"{stem}{picture}Pipeline"
    if mask:
        rows["control-mask"] = f"{stem}{mask}Pipeline"
    return rows


def _three(stem: str) -> dict[Task, str]:
    return {"text": f"{stem}Pipeline", "picture": f"{stem}Img2ImgPipeline", "mask": f"{stem}InpaintPipeline"}


_SD: Final = _three("StableDiffusion") | _controls("StableDiffusionControlNet", picture="Img2Img", mask="Inpaint")

_ROWS: Final = (
    Family(
        "sd15",
        "Stable Diffusion 1.5",
        _SD,
        "UNet2DConditionModel",
        Defaults(),
        sizes=((512, 512), (768, 512), (512, 768)),
        multiple=8,
        flow=False,
        single_file=True,
        parts=(_VAE, Part("text_encoder", "CLIPTextModel", "clip-l")),
        variants=(Variant(("lcm", "hyper", "lightning"), Defaults("Euler a", "SGM Uniform", 6, 1.5), "cfg"),),
    ),
    Family(
        "mini",  # the embedded model: Stable Diffusion 1.5 in small, whose additions fit nothing else
        "Pochade Mini",
        _SD,
        "UNet2DConditionModel",
        Defaults(width=256, height=256),
        sizes=((256, 256), (320, 192), (192, 320)),
        multiple=8,
        flow=False,
        parts=(Part("vae", "AutoencoderKL"), Part("text_encoder", "CLIPTextModel")),
    ),
    Family(
        "sd2",
        "Stable Diffusion 2",
        _SD,
        "UNet2DConditionModel",
        Defaults(width=768, height=768),
        sizes=((768, 768), (512, 512)),
        multiple=8,
        flow=False,
        single_file=True,
        parts=(_VAE, Part("text_encoder", "CLIPTextModel", "openclip-h")),
        variants=(
            Variant(("turbo",), _FEW_EULER, "none"),
            Variant(("base", "512"), Defaults(), "cfg"),
        ),
    ),
    Family(
        "sdxl",
        "Stable Diffusion XL",
        _three("StableDiffusionXL") | _controls("StableDiffusionXLControlNet", picture="Img2Img", mask="Inpaint"),
        "UNet2DConditionModel",
        Defaults(steps=30, guidance=6.0, width=1024, height=1024),
        sizes=_XL_SIZES,
        multiple=8,
        flow=False,
        single_file=True,
        parts=(_VAE, Part("text_encoder", "CLIPTextModel", "clip-l"), _CLIP_G),
        variants=(
            Variant(("turbo",), _FEW_EULER, "none"),
            Variant(("lightning", "hyper", "lcm", "dmd2"), Defaults("Euler", "SGM Uniform", 6, 1.0, 1024, 1024), "cfg"),
        ),
    ),
    Family(
        "sdxl-refiner",
        "Stable Diffusion XL Refiner",
        {"picture": "StableDiffusionXLImg2ImgPipeline", "mask": "StableDiffusionXLInpaintPipeline"},
        "UNet2DConditionModel",
        Defaults(steps=30, guidance=6.0, width=1024, height=1024),
        sizes=_XL_SIZES,
        multiple=8,
        flow=False,
        single_file=True,
        parts=(_VAE, _CLIP_G),
    ),
    Family(
        "sd3",
        "Stable Diffusion 3",
        _three("StableDiffusion3")
        | {
            "control": "StableDiffusion3ControlNetPipeline",
            "control-mask": "StableDiffusion3ControlNetInpaintingPipeline",
        },
        "SD3Transformer2DModel",
        _flow(28, 4.5),
        text_in_image=True,
        single_file=True,
        parts=(_VAE_16, _CLIP_L, _CLIP_G, Part("text_encoder_3", "T5EncoderModel", "t5-xxl")),
        variants=(Variant(("turbo", "flash"), _flow(4, 0.0), "none"),),
    ),
    Family(
        "mini-flow",  # the embedded model's sister: Stable Diffusion 3 in small, whose additions fit nothing else
        "Pochade Mini Flow",
        _three("StableDiffusion3"),
        "SD3Transformer2DModel",
        _flow(20, 4.0, 256),
        sizes=((256, 256), (320, 192), (192, 320)),
        parts=(Part("vae", "AutoencoderKL"), *(Part(f"text_encoder{end}", _CLIP_L.kind) for end in ("", "_2"))),
    ),
    Family(
        "flux",
        "FLUX.1",
        _three("Flux") | _controls("FluxControlNet", picture="Img2Img", mask="Inpaint"),
        "FluxTransformer2DModel",
        _flow(28, 3.5),
        guidance="embedded",
        negative=False,
        text_in_image=True,
        single_file=True,
        parts=_FLUX_PARTS,
        variants=(Variant(("schnell",), _flow(4, 0.0), "none"), Variant(("krea",), _flow(28, 4.5), "embedded")),
    ),
    Family(
        "flux-kontext",
        "FLUX.1 Kontext",
        {"text": "FluxKontextPipeline", "edit": "FluxKontextPipeline", "mask": "FluxKontextInpaintPipeline"},
        "FluxTransformer2DModel",
        _flow(28, 2.5),
        guidance="embedded",
        negative=False,
        text_in_image=True,
        single_file=True,
        kin="flux",
        parts=_FLUX_PARTS,
    ),
    Family(
        "flux-fill",
        "FLUX.1 Fill",
        {"mask": "FluxFillPipeline"},
        "FluxTransformer2DModel",
        _flow(50, 30.0),
        guidance="embedded",
        negative=False,
        text_in_image=True,
        single_file=True,
        kin="flux",
        parts=_FLUX_PARTS,
    ),
    Family(
        "flux2",
        "FLUX.2",
        {"text": "Flux2Pipeline", "edit": "Flux2Pipeline"},
        "Flux2Transformer2DModel",
        _flow(50, 4.0),
        guidance="embedded",
        negative=False,
        text_in_image=True,
        single_file=True,
        parts=(_VAE_FLUX2, Part("text_encoder", "Mistral3ForConditionalGeneration", "mistral-small-3")),
        variants=(Variant(("turbo",), _flow(8, 2.5), "embedded"),),
    ),
    Family(
        "flux2-klein",
        "FLUX.2 Klein",
        {"text": "Flux2KleinPipeline", "edit": "Flux2KleinPipeline", "mask": "Flux2KleinInpaintPipeline"},
        "Flux2Transformer2DModel",
        _flow(4, 1.0),
        guidance="none",
        negative=False,
        text_in_image=True,
        single_file=True,
        parts=(_VAE_FLUX2, Part("text_encoder", "Qwen3ForCausalLM", "qwen3")),
        variants=(Variant(("base",), _flow(50, 4.0), "cfg"),),
    ),
    Family(
        "z-image",
        "Z-Image",
        _three("ZImage") | _controls("ZImageControlNet", mask="Inpaint"),
        "ZImageTransformer2DModel",
        _flow(28, 4.0),
        text_in_image=True,
        single_file=True,
        parts=(_VAE_16, Part("text_encoder", "Qwen3Model", "qwen3")),
        variants=(Variant(("turbo",), _flow(9, 0.0), "none"),),
    ),
    Family(
        "qwen-image",
        "Qwen-Image",
        _three("QwenImage") | _controls("QwenImageControlNet", mask="Inpaint"),
        "QwenImageTransformer2DModel",
        _flow(50, 4.0, 1328),
        text_in_image=True,
        sizes=_QWEN_SIZES,
        scale="true_cfg_scale",
        single_file=True,
        parts=_QWEN_PARTS,
        variants=(Variant(("lightning", "distill", "distilled", "turbo"), _flow(8, 1.0, 1328), "none"),),
    ),
    Family(
        "qwen-edit",
        "Qwen-Image-Edit",
        {"edit": "QwenImageEditPlusPipeline", "mask": "QwenImageEditInpaintPipeline"},
        "QwenImageTransformer2DModel",
        _flow(40, 4.0, 1024),
        text_in_image=True,
        scale="true_cfg_scale",
        single_file=True,
        kin="qwen-image",
        parts=_QWEN_PARTS,
        variants=(Variant(("lightning", "distill", "distilled", "rapid"), _flow(8, 1.0, 1024), "none"),),
    ),
    Family(
        "sana",
        "Sana",
        {"text": "SanaPipeline", "control": "SanaControlNetPipeline"},
        "SanaTransformer2DModel",
        _DPM,
        multiple=32,
        single_file=True,
        parts=(Part("vae", "AutoencoderDC", "vae-dc"), Part("text_encoder", "Gemma2Model", "gemma2-2b")),
    ),
    Family(
        "sana-sprint",
        "Sana Sprint",
        {"text": "SanaSprintPipeline", "picture": "SanaSprintImg2ImgPipeline"},
        "SanaTransformer2DModel",
        _flow(2, 4.5),
        guidance="embedded",
        negative=False,
        multiple=32,
        kin="sana",
        parts=(Part("vae", "AutoencoderDC", "vae-dc"), Part("text_encoder", "Gemma2Model", "gemma2-2b")),
    ),
    Family(
        "pixart",
        "PixArt",
        {"text": "PixArtSigmaPipeline"},
        "PixArtTransformer2DModel",
        _DPM,
        lora=False,
        multiple=8,
        flow=False,
        parts=(_VAE, Part("text_encoder", "T5EncoderModel", "t5-xxl")),
    ),
    Family(
        "chroma",
        "Chroma",
        _three("Chroma"),
        "ChromaTransformer2DModel",
        _flow(35, 4.0),
        text_in_image=True,
        single_file=True,
        parts=(_VAE_16, Part("text_encoder", "T5EncoderModel", "t5-xxl")),
        variants=(Variant(("flash",), _flow(8, 1.0), "none"),),
    ),
    Family(
        "kolors",
        "Kolors",
        {"text": "KolorsPipeline", "picture": "KolorsImg2ImgPipeline"},
        "UNet2DConditionModel",
        Defaults("DPM++ 2M", "Karras", 25, 5.0, 1024, 1024),
        sizes=_XL_SIZES,
        multiple=8,
        flow=False,
        parts=(_VAE, Part("text_encoder", "ChatGLMModel")),
    ),
    Family(
        "hidream",
        "HiDream-I1",
        {"text": "HiDreamImagePipeline"},
        "HiDreamImageTransformer2DModel",
        _flow(50, 5.0),
        text_in_image=True,
        single_file=True,
        parts=(
            _VAE_16,
            _CLIP_L,
            _CLIP_G,
            Part("text_encoder_3", "T5EncoderModel", "t5-xxl"),
            Part("text_encoder_4", "LlamaForCausalLM", "llama3-8b"),
        ),
        variants=(Variant(("dev",), _flow(28, 0.0), "none"), Variant(("fast",), _flow(16, 0.0), "none")),
    ),
    Family(
        "lumina2",
        "Lumina Image 2",
        {"text": "Lumina2Pipeline"},
        "Lumina2Transformer2DModel",
        _flow(30, 4.0),
        text_in_image=True,
        single_file=True,
        parts=(_VAE_16, Part("text_encoder", "Gemma2Model", "gemma2-2b")),
    ),
    Family(
        "cogview4",
        "CogView 4",
        {"text": "CogView4Pipeline"},
        "CogView4Transformer2DModel",
        _flow(50, 3.5),
        text_in_image=True,
        multiple=32,
        parts=(_VAE_16, Part("text_encoder", "GlmModel")),
    ),
    Family(
        "ideogram4",
        "Ideogram 4",
        {"text": "Ideogram4Pipeline"},
        "Ideogram4Transformer2DModel",
        _flow(48, 7.0, 2048),
        negative=False,
        text_in_image=True,
        sizes=((2048, 2048), (1024, 1024)),
        parts=(_VAE_FLUX2, Part("text_encoder", "Qwen3VLModel")),
    ),
    Family(
        "krea2",
        "Krea 2",
        {"text": "Krea2Pipeline"},
        "Krea2Transformer2DModel",
        _flow(28, 4.5),
        text_in_image=True,
        single_file=True,
        parts=(_VAE_QWEN, Part("text_encoder", "Qwen3VLModel")),
        variants=(Variant(("turbo", "distilled"), _flow(8, 0.0), "none"),),
    ),
)

#: What AutoPipeline loads and this table does not know: ordinary numbers, nothing claimed beyond drawing from a text.
UNKNOWN: Final = Family("unknown", "Other", {}, "", _flow(28, 3.5), negative=False, lora=False, flow=False)
FAMILIES: Final[Mapping[str, Family]] = {row.key: row for row in (*_ROWS, UNKNOWN)}

_UNET: Final[Mapping[int, str]] = {192: "mini", 768: "sd15", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
#: Pipeline classes in a folder's model_index.json that the table's own names do not settle.
ALIASES: Final[Mapping[str, str]] = {
    "PixArtAlphaPipeline": "pixart",
    "QwenImageEditPipeline": "qwen-edit",
    "Flux2KleinKVPipeline": "flux2-klein",
    "ZImageOmniPipeline": "z-image",
    "SanaPAGPipeline": "sana",
    "KolorsPAGPipeline": "kolors",
}
_CLASSES: Final[Mapping[str, str]] = {
    **{name: row.key for row in reversed(_ROWS) for name in row.pipelines.values()},
    **ALIASES,
}


#: Width of the states that the transformer of the embedded model's sister reads; Stable Diffusion 3's are 4096 wide.
_MINI_FLOW: Final = 224


def of_pipeline(class_name: str, *denoisers: Mapping[str, object] | None) -> Family:
    """The family of a diffusers folder, from the class its model_index.json names and the configuration of its U-Net or
    transformer, whichever there is."""
    told_of = {name: value for config in denoisers for name, value in (config or {}).items()}
    width = told_of.get("cross_attention_dim")
    told = _UNET.get(width, "") if isinstance(width, int) else ""
    if class_name.startswith("StableDiffusionXL"):
        return FAMILIES[told if told == "sdxl-refiner" else "sdxl"]
    if class_name.startswith("StableDiffusion") and not class_name.startswith("StableDiffusion3"):
        return FAMILIES[told if told in ("mini", "sd2") else "sd15"]
    if class_name.startswith("StableDiffusion3") and told_of.get("joint_attention_dim") == _MINI_FLOW:
        return FAMILIES["mini-flow"]
    return FAMILIES.get(_CLASSES.get(class_name, ""), UNKNOWN)


def of_context(width: int) -> Family | None:
    """The U-Net family whose denoiser reads text vectors of this width."""
    key = _UNET.get(width)
    return None if key is None else FAMILIES[key]


def known(key: str) -> Family:
    """The row of a family's key; a folder of a class nobody described counts as `UNKNOWN`."""
    return FAMILIES.get(key, UNKNOWN)
