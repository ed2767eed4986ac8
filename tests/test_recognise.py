"""What files of the wild are, by the names and shapes of some of their tensors as their makers published them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from studio import families, recognise, samplers
from studio.recognise import Recognised


@dataclass(frozen=True)
class Info:
    shape: tuple[int, ...]


def seen(tensors: dict[str, tuple[int, ...]], name: str = "", **metadata: str) -> Recognised:
    found = recognise.recognise({key: Info(shape) for key, shape in tensors.items()}, name=name, metadata=metadata)
    assert found is not None
    return found


def under(stem: str, tensors: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {stem + name: shape for name, shape in tensors.items()}


def unet(context: int, first: int = 1, channels: int = 4, **more: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {
        "input_blocks.0.0.weight": (320, channels, 3, 3),
        f"input_blocks.{first}.1.transformer_blocks.0.attn2.to_k.weight": (320, context),
        "out.2.weight": (4, 320, 3, 3),
        **more,
    }


LABEL = {"label_emb.0.0.weight": (1280, 2816)}
FLUX = {
    "img_in.weight": (3072, 64),
    "double_blocks.0.img_mod.lin.weight": (18432, 3072),
    "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
    "single_blocks.0.linear1.weight": (21504, 3072),
    "final_layer.linear.weight": (64, 3072),
}
FLUX_DIFFUSERS = {
    "x_embedder.weight": (3072, 64),
    "single_transformer_blocks.0.proj_mlp.weight": (12288, 3072),
    "proj_out.weight": (64, 3072),
}
FLUX2 = {"double_stream_modulation_img.lin.weight": (36864, 6144), "img_in.weight": (6144, 128)}
QWEN = {
    "transformer_blocks.0.img_mod.1.weight": (18432, 3072),
    "txt_norm.weight": (3584,),
    "img_in.weight": (3072, 64),
}

CHECKPOINTS = [
    ("sd15", under("model.diffusion_model.", unet(768)), ""),
    ("sd15", under("model.diffusion_model.", unet(768, channels=9)), "inpainting"),
    ("sd2", under("model.diffusion_model.", unet(1024)), ""),
    ("sdxl", under("model.diffusion_model.", unet(2048, 4) | LABEL), ""),
    ("sdxl-refiner", under("model.diffusion_model.", unet(1280, 4) | LABEL), ""),
    ("sdxl", under("model.diffusion_model.", unet(2048, 4) | LABEL) | {"v_pred": (1,)}, ""),
    ("unknown", under("model.diffusion_model.", unet(2048, 4) | LABEL) | {"edm_mean": (1, 4, 1, 1)}, "playground"),
    ("unknown", under("model.diffusion_model.", unet(768, channels=8)), "instruct-pix2pix"),
    ("sd3", {"joint_blocks.0.context_block.adaLN_modulation.1.weight": (9216, 1536)}, ""),
    ("flux", FLUX, "flux1-dev"),
    ("flux", FLUX, "flux1-schnell"),
    ("flux-kontext", FLUX, "flux1-dev-kontext_fp8_scaled"),
    ("flux-fill", FLUX | {"img_in.weight": (3072, 384)}, ""),
    ("unknown", FLUX | {"img_in.weight": (3072, 128)}, "flux1-depth-dev"),
    ("flux", under("model.diffusion_model.", FLUX), ""),
    ("flux", FLUX_DIFFUSERS, ""),
    ("flux-fill", FLUX_DIFFUSERS | {"x_embedder.weight": (3072, 384)}, ""),
    (
        "chroma",
        FLUX
        | {"distilled_guidance_layer.in_proj.weight": (5120, 64), "double_blocks.0.img_attn.qkv.weight": (9216, 3072)},
        "",
    ),
    ("flux2", FLUX2 | {"guidance_in.in_layer.weight": (6144, 256)}, ""),
    ("flux2-klein", FLUX2 | {"img_in.weight": (3072, 128)}, ""),
    (
        "z-image",
        {
            "layers.0.adaLN_modulation.0.weight": (15360, 256),
            "layers.0.attention.qkv.weight": (11520, 3840),
            "cap_embedder.0.weight": (2560,),
            "x_embedder.weight": (3840, 64),
        },
        "",
    ),
    ("lumina2", {"cap_embedder.0.weight": (2304,), "layers.0.attention.qkv.weight": (3840, 2304)}, ""),
    ("qwen-image", QWEN, ""),
    ("qwen-edit", QWEN, "qwen_image_edit_2511"),
    ("hidream", {"double_stream_blocks.0.block.adaLN_modulation.1.weight": (30720, 2560)}, ""),
    (
        "sana",
        {
            "blocks.0.cross_attn.q_linear.weight": (2240, 2240),
            "blocks.0.mlp.inverted_conv.conv.weight": (11200, 2240, 1, 1),
        },
        "",
    ),
    ("pixart", {"blocks.0.cross_attn.q_linear.weight": (1152, 1152), "blocks.0.mlp.fc1.weight": (4608, 1152)}, ""),
    ("krea2", {"txtfusion.projector.weight": (1, 12)}, ""),
]


@pytest.mark.parametrize(("family", "tensors", "name"), CHECKPOINTS)
def test_a_denoiser_is_known_by_its_layers(family: str, tensors: dict[str, tuple[int, ...]], name: str) -> None:
    found = seen(tensors, name)
    assert (found.kind, found.family) == ("denoiser", family)


def test_a_checkpoint_tells_what_it_holds_besides_its_denoiser() -> None:
    parts = {
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    }
    found = seen(under("model.diffusion_model.", unet(768)) | parts)
    assert (found.kind, found.holds) == ("checkpoint", ("vae", "text-encoder"))


def lora(*layers: tuple[str, int, int], down: str = "lora_down", up: str = "lora_up") -> dict[str, tuple[int, ...]]:
    """Layers by name, width read and width written, of rank 8."""
    out: dict[str, tuple[int, ...]] = {}
    for name, reads, writes in layers:
        out |= {f"{name}.{down}.weight": (8, reads), f"{name}.{up}.weight": (writes, 8)}
    return out


SD = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
PEFT = {"down": "lora_A", "up": "lora_B"}
LORAS = [
    ("sd15", "kohya", lora((SD, 768, 640))),
    ("sd2", "kohya", lora((SD, 1024, 640))),
    ("sdxl", "kohya", lora(("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640))),
    ("sdxl", "kohya", lora(("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120))),
    ("sd15", "diffusers", lora(("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 768, 640), **PEFT)),
    ("sdxl", "peft", lora(("base_model.model.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 2048, 8),
                          **PEFT)),
    ("flux", "kohya", lora(("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216))),
    ("flux", "diffusers", lora(("transformer.single_transformer_blocks.0.attn.to_q", 3072, 3072), **PEFT)),
    ("flux", "peft", lora(("diffusion_model.double_blocks.0.img_attn.qkv", 3072, 9216), **PEFT)),
    ("flux2", "diffusers", lora(("transformer.transformer_blocks.0.attn.to_q", 6144, 6144),
                                ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 6144, 55296), **PEFT)),
    ("sd3", "diffusers", lora(("transformer.transformer_blocks.0.attn.to_q", 1536, 1536), **PEFT)),
    ("qwen-image", "diffusers", lora(("transformer.transformer_blocks.0.img_mlp.net.0.proj", 3072, 12288), **PEFT)),
    ("z-image", "peft", lora(("diffusion_model.layers.0.attention.to_q", 3840, 3840), **PEFT)),
    ("lumina2", "peft", lora(("diffusion_model.layers.0.attention.qkv", 2304, 3840), **PEFT)),
    ("hidream", "peft", lora(("diffusion_model.double_stream_blocks.0.block.attn1.to_q", 2560, 2560), **PEFT)),
    ("krea2", "peft", lora(("diffusion_model.blocks.0.attn.wq", 6144, 6144), **PEFT)),
]  # fmt: skip


@pytest.mark.parametrize(("family", "naming", "tensors"), LORAS)
def test_a_lora_is_known_by_the_layers_it_changes(
    family: str, naming: str, tensors: dict[str, tuple[int, ...]]
) -> None:
    found = seen(tensors)
    assert (found.kind, found.family, found.naming, found.content) == ("lora", family, naming, "lora")


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ("dora", {f"{SD}.dora_scale": (640, 1)} | lora((SD, 768, 640))),
        ("loha", {f"{SD}.hada_w1_a": (640, 8), f"{SD}.hada_w1_b": (8, 768)}),
        ("lokr", {f"{SD}.lokr_w1": (8, 8), f"{SD}.lokr_w2": (80, 96)}),
    ],
)
def test_other_networks_than_lora_are_told_apart(content: str, more: dict[str, tuple[int, ...]]) -> None:
    found = seen(more)
    assert (found.kind, found.content, found.family) == ("lora", content, "sd15")


CONTROL = "transformer_blocks.0.attn2.to_k.weight"
PARTS = [
    (
        "controlnet",
        "sd15",
        {
            "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
            "control_model.input_blocks.1.1." + CONTROL: (320, 768),
        },
    ),
    (
        "controlnet",
        "sdxl",
        {
            "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
            "add_embedding.linear_1.weight": (1280, 2816),
            "down_blocks.1.attentions.0." + CONTROL: (640, 2048),
        },
    ),
    ("controlnet", "flux", {"controlnet_blocks.0.weight": (3072, 3072), "controlnet_x_embedder.weight": (3072, 64)}),
    (
        "controlnet",
        "sd3",
        {"controlnet_blocks.0.weight": (1536, 1536), "pos_embed_input.proj.weight": (1536, 16, 2, 2)},
    ),
    ("controlnet", "qwen-image", {"controlnet_blocks.0.weight": (3072, 3072), "txt_norm.weight": (3584,)}),
    ("controlnet", "z-image", {"control_all_x_embedder.2-1.weight": (3840, 64)}),
    ("embedding", "mini", {"emb_params": (2, 192)}),
    ("embedding", "sd15", {"emb_params": (4, 768)}),
    ("embedding", "sd2", {"emb_params": (4, 1024)}),
    ("embedding", "sdxl", {"clip_l": (4, 768), "clip_g": (4, 1280)}),
    ("embedding", "sd15", {"<heron>": (768,)}),
    ("vae", "sd15", {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}),
    ("vae", "sd3", {"decoder.conv_in.weight": (512, 16, 3, 3)}),
    ("vae", "flux2", {"decoder.conv_in.weight": (512, 32, 3, 3), "bn.running_mean": (128,)}),
    ("vae", "qwen-image", {"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)}),
    ("adapter", "sd15", {"ip_adapter.1.to_k_ip.weight": (320, 768), "image_proj.proj.weight": (3072, 1024)}),
    ("text-encoder", "sd15", {"text_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768)}),
    ("text-encoder", "sd3", {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}),
]


@pytest.mark.parametrize(("kind", "family", "tensors"), PARTS)
def test_what_goes_with_a_model_is_known(kind: str, family: str, tensors: dict[str, tuple[int, ...]]) -> None:
    found = seen(tensors)
    assert (found.kind, found.family) == (kind, family)


@pytest.mark.parametrize(
    ("content", "tensors"),
    [
        ("clip-l", {"text_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768)}),
        ("clip-g", {"text_model.encoder.layers.0.self_attn.q_proj.weight": (1280, 1280)}),
        ("t5-xxl", {"enc.blk.0.attn_q.weight": (4096, 4096)}),
        ("gemma2-2b", {
            "model.layers.0.self_attn.q_proj.weight": (2048, 2304),
            "model.layers.0.pre_feedforward_layernorm.weight": (2304,),
        }),
        ("qwen3", {
            "model.layers.0.self_attn.q_proj.weight": (4096, 2560),
            "model.layers.0.self_attn.q_norm.weight": (128,),
        }),
        ("qwen2.5-vl-7b", {
            "model.layers.0.self_attn.q_proj.weight": (3584, 3584),
            "model.layers.0.self_attn.q_proj.bias": (3584,),
        }),
        ("mistral-small-3", {"model.layers.0.self_attn.q_proj.weight": (4096, 5120)}),
        ("llama3-8b", {"model.layers.0.self_attn.q_proj.weight": (4096, 4096)}),
    ],
)  # fmt: skip
def test_a_text_encoder_is_known_by_its_layers(content: str, tensors: dict[str, tuple[int, ...]]) -> None:
    found = seen(tensors)
    assert (found.kind, found.content) == ("text-encoder", content)
    assert found.families


@pytest.mark.parametrize("tensors", [{}, {"weight": (3, 3)}, {"model.layers.0.mlp.weight": (8, 8)}])
def test_what_nobody_knows_is_nothing(tensors: dict[str, tuple[int, ...]]) -> None:
    assert recognise.recognise({key: Info(shape) for key, shape in tensors.items()}) is None


def test_what_fits_one_model_of_an_architecture_fits_all() -> None:
    assert recognise.fits(("flux",), "flux-kontext")
    assert recognise.fits(("qwen-image",), "qwen-edit")
    assert not recognise.fits(("sdxl",), "sd15")
    assert not recognise.fits((), "sd15")


@pytest.mark.parametrize(
    ("key", "name", "steps", "guidance"),
    [
        ("sdxl", "sd_xl_base_1.0", 30, "cfg"),
        ("sdxl", "sd_xl_turbo_1.0_fp16", 4, "none"),
        ("sdxl", "juggernautXL_lightning", 6, "cfg"),
        ("flux", "flux1-schnell", 4, "none"),
        ("z-image", "z_image_turbo_bf16", 9, "none"),
        ("hidream", "hidream_i1_dev_fp8", 28, "none"),
        ("flux2-klein", "flux-2-klein-base-4b", 50, "cfg"),
    ],
)
def test_members_of_a_family_want_other_numbers(key: str, name: str, steps: int, guidance: str) -> None:
    variant = families.FAMILIES[key].variant(name)
    assert (variant.defaults.steps, variant.guidance) == (steps, guidance)


def test_every_default_of_the_table_is_one_its_family_can_follow() -> None:
    for family in families.FAMILIES.values():
        for row in (family.defaults, *(variant.defaults for variant in family.variants)):
            samplers.check(row.sampler, row.scheduler, flow=family.flow)
            assert row.width % family.multiple == row.height % family.multiple == 0
            assert family.side(row.width) == row.width
