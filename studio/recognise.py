"""What a weights file is, told from the names and shapes of its tensors alone. No torch, no reading of tensors.

Names are those of the original releases, of diffusers, and of the ComfyUI and GGUF files made from either. Structure
decides wherever it can; a shape decides only between families of one structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from studio import families, recognise_lora
from studio.tensor_names import Shaped, TensorNames

#: `checkpoint`: a denoiser with its VAE or text encoders; `denoiser`: alone. The rest are parts and additions.
Kind = Literal["checkpoint", "denoiser", "vae", "text-encoder", "lora", "controlnet", "embedding", "adapter"]
#: Whose names the tensors have; `kohya`, `peft` and `diffusers` for LoRAs, `original` and `diffusers` for the rest.
Naming = Literal["original", "diffusers", "kohya", "peft"]


Tensors = Mapping[str, Shaped]


@dataclass(frozen=True, slots=True)
class Recognised:
    """`families` are all keys it may serve, the likeliest first; empty when the kind is known and its family is not.

    `content` says which text encoder or VAE (`clip-l`, `t5-xxl`, `vae-16` …: see `families.Part`), which control a
    ControlNet is of, or which algorithm a LoRA uses (`lora`, `loha`, `lokr`, `dora`, `oft`, `ia3`, `full`).
    `holds` lists what a checkpoint brings besides its denoiser: `vae`, `text-encoder`.
    """

    kind: Kind
    families: tuple[str, ...]
    naming: Naming
    content: str = ""
    holds: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return self.families[0] if self.families else families.UNKNOWN.key


def recognise(tensors: Tensors, *, name: str = "", metadata: Mapping[str, str] | None = None) -> Recognised | None:
    """None when it is nothing this studio knows.

    `name` (the file's) and `metadata` only settle what tensors cannot: Kontext, for one, has the tensors of FLUX.1 dev.
    """
    keys = TensorNames(tensors)
    facts = metadata or {}
    hint = f"{name} {facts.get('modelspec.architecture', '')} {facts.get('ss_base_model_version', '')}".casefold()
    for look in (_lora, _adapter, _controlnet, _embedding, _denoiser, _vae, _text_encoder):
        found = look(keys, hint)
        if found is not None:
            return found
    return None


# ── Denoisers and whole checkpoints ────────────────────────────────────────────────────────────────────────────────

Test = Callable[[TensorNames], bool]


def _needs(*names: str) -> Test:
    return lambda keys: keys.has(*names)


#: Family → naming → how to tell, asked in this order: what is more particular comes first.
_DENOISERS: Final[tuple[tuple[str, Naming, Test], ...]] = (
    ("chroma", "original", _needs("distilled_guidance_layer.in_proj.weight", "double_blocks.0.img_attn.qkv.weight")),
    ("chroma", "diffusers", _needs("distilled_guidance_layer.in_proj.weight", "transformer_blocks.0.attn.to_q.weight")),
    ("flux2", "original", _needs("double_stream_modulation_img.lin.weight")),
    ("flux2", "diffusers", _needs("double_stream_modulation_img.linear.weight")),
    ("flux", "original", _needs("double_blocks.0.img_mod.lin.weight", "img_in.weight")),
    ("flux", "diffusers", _needs("single_transformer_blocks.0.proj_mlp.weight", "x_embedder.weight")),
    ("krea2", "original", _needs("txtfusion.projector.weight")),
    ("krea2", "diffusers", _needs("text_fusion.projector.weight")),
    ("qwen-image", "diffusers", _needs("transformer_blocks.0.img_mod.1.weight", "txt_norm.weight", "img_in.weight")),
    ("hidream", "diffusers", _needs("double_stream_blocks.0.block.adaLN_modulation.1.weight")),
    ("z-image", "original", _needs("layers.0.adaLN_modulation.0.weight", "cap_embedder.0.weight", "x_embedder.weight")),
    ("z-image", "diffusers", _needs("all_x_embedder.2-1.weight", "layers.0.adaLN_modulation.0.weight")),
    ("lumina2", "original", _needs("cap_embedder.0.weight", "layers.0.attention.qkv.weight")),
    ("lumina2", "diffusers", _needs("time_caption_embed.caption_embedder.0.weight", "layers.0.attn.to_q.weight")),
    ("sana", "original", _needs("blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.inverted_conv.conv.weight")),
    ("sana", "diffusers", _needs("transformer_blocks.0.ff.conv_inverted.weight", "caption_norm.weight")),
    ("pixart", "original", _needs("blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.fc1.weight")),
    ("pixart", "diffusers", _needs("adaln_single.linear.weight", "caption_projection.linear_1.weight")),
    ("sd3", "original", _needs("joint_blocks.0.context_block.adaLN_modulation.1.weight")),
    ("sd3", "diffusers", _needs("transformer_blocks.0.norm1_context.linear.weight", "pos_embed.proj.weight")),
    ("cogview4", "diffusers", _needs("patch_embed.text_proj.weight", "patch_embed.proj.weight")),
    ("ideogram4", "diffusers", _needs("llm_cond_norm.weight", "embed_image_indicator.weight")),
)  # fmt: skip


def _denoiser(keys: TensorNames, hint: str) -> Recognised | None:
    found = _unet(keys) or next(((key, naming) for key, naming, test in _DENOISERS if test(keys)), None)
    if found is None:
        return None
    key, naming = found
    key = _settled(key, keys, hint)
    holds = tuple(
        part
        for part, prefixes in (
            ("vae", ("first_stage_model.", "vae.")),
            ("text-encoder", ("cond_stage_model.", "conditioner.embedders.", "text_encoders.", "text_encoder")),
        )
        if keys.starts(*prefixes)
    )
    return Recognised("checkpoint" if holds else "denoiser", (key,), naming, holds=holds)


def _settled(key: str, keys: TensorNames, hint: str) -> str:
    """Members of one architecture: what reads more channels, lacks an embedder, or says so in its name."""
    if key == "flux":
        channels = (keys.shape("img_in.weight") or keys.shape("x_embedder.weight"))[-1]
        if channels != _flux_latents(keys):  # depth and canny models read twice what they draw, fill models six times
            return "flux-fill" if channels > 2 * _flux_latents(keys) else families.UNKNOWN.key
        return "flux-kontext" if "kontext" in hint else "flux"
    if key == "flux2":
        return "flux2" if keys.has("guidance_in.in_layer.weight") or keys.holds("guidance_embedder") else "flux2-klein"
    if key == "qwen-image" and ("edit" in hint or keys.has("__index_timestep_zero__")):
        return "qwen-edit"
    if key == "sana" and keys.holds("cfg_embedder", "guidance_embedder"):
        return "sana-sprint"
    return key


def _flux_latents(keys: TensorNames) -> int:
    """Channels that come out of the denoiser."""
    return (keys.shape("final_layer.linear.weight") or keys.shape("proj_out.weight") or (64,))[0]


def _unet(keys: TensorNames) -> tuple[str, Naming] | None:
    if keys.has("edm_mean") or keys.shape("input_blocks.0.0.weight")[1:2] in ((7,), (8,)):
        return families.UNKNOWN.key, "original"  # Playground 2.5, upscalers and InstructPix2Pix: other mathematics
    if keys.has("input_blocks.0.0.weight", "out.2.weight"):
        text = keys.first(r".*input_blocks\.\d+\.1\.transformer_blocks\.0\.attn2\.to_k\.weight")
        if keys.starts("cond_stage_model.model."):
            return "sd2", "original"
        if keys.starts("cond_stage_model."):
            return "sd15", "original"
        if keys.starts("conditioner.embedders.0.model."):
            return "sdxl-refiner", "original"
        return _of_context(text, keys.has("label_emb.0.0.weight")), "original"
    if keys.has("conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight"):
        text = keys.first(r".*down_blocks\.\d+\.attentions\.0\.transformer_blocks\.0\.attn2\.to_k\.weight")
        if keys.has("encoder_hid_proj.weight"):
            return "kolors", "diffusers"
        return _of_context(text, keys.has("add_embedding.linear_1.weight")), "diffusers"
    return None


def _of_context(text: tuple[str, tuple[int, ...]] | None, labelled: bool) -> str:
    """By the width of the text vectors a U-Net reads; one with a second embedder is of the XL kind."""
    family = families.of_context(text[1][-1]) if text and text[1] else None
    if labelled:
        return "sdxl-refiner" if family and family.key == "sdxl-refiner" else "sdxl"
    return "sd2" if family and family.key == "sd2" else "sd15"


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _users(content: str) -> tuple[str, ...]:
    return tuple(row.key for row in families.FAMILIES.values() if any(part.content == content for part in row.parts))


def _vae(keys: TensorNames, hint: str) -> Recognised | None:
    naming: Naming = "diffusers" if keys.holds("down_blocks.", "up_blocks.", "mid_block.") else "original"
    inner = next(
        (stem for stem in ("first_stage_model.", "vae.", "") if f"{stem}decoder.conv_in.weight" in keys.names), None
    )
    if inner is not None:
        content = {4: "vae-4", 16: "vae-16", 32: "vae-flux2"}.get(
            keys.shape(f"{inner}decoder.conv_in.weight")[1], "vae"
        )
        if keys.has(f"{inner}bn.running_mean"):
            content = "vae-flux2"
    elif keys.has("decoder.middle.0.residual.0.gamma") or keys.has("decoder.mid_block.resnets.0.norm1.gamma"):
        content = "vae-qwen"
    elif keys.holds("decoder.stages.") or keys.has("decoder.conv_in.conv.weight"):
        content = "vae-dc"
    else:
        return None
    users = _users(content)
    if content == "vae-4" and "xl" in hint:
        users = tuple(sorted(users, key=lambda key: not key.startswith("sdxl")))
    return Recognised("vae", users, naming, content)


def _text_encoder(keys: TensorNames, hint: str) -> Recognised | None:
    content = ""
    clip = keys.first(r"(.*\.)?text_model\.encoder\.layers\.0\.self_attn\.q_proj\.weight")
    layers = keys.first(r"(.*\.)?layers\.0\.self_attn\.q_proj\.weight")
    if clip:
        content = {768: "clip-l", 1024: "openclip-h", 1280: "clip-g"}.get(clip[1][-1], "clip-l")
    elif keys.first(r"(.*\.)?transformer\.resblocks\.0\.attn\.in_proj_weight"):
        content = "clip-g"
    elif keys.first(r"(.*\.)?encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight") or keys.has(
        "enc.blk.0.attn_q.weight"
    ):
        content = "t5-xxl"
    elif layers or keys.has("blk.0.attn_q.weight"):
        content = _language_model(keys, layers[1] if layers else keys.shape("blk.0.attn_q.weight"), hint)
    return None if not content else Recognised("text-encoder", _users(content), "original", content)


def _language_model(keys: TensorNames, query: tuple[int, ...], hint: str) -> str:
    """By what its layers have (Gemma norms its feed-forward twice, Qwen 3 its queries) and by its width."""
    width = query[-1] if query else 0
    if keys.holds("pre_feedforward_layernorm", "post_ffw_norm"):
        return "gemma2-2b"
    if keys.holds("self_attn.q_norm", "attn_q_norm"):
        return "qwen3"
    if keys.holds("self_attn.q_proj.bias", "attn_q.bias"):
        return "qwen2.5-vl-7b"
    return "mistral-small-3" if width == 5120 or "mistral" in hint else "llama3-8b"


def _embedding(keys: TensorNames, hint: str) -> Recognised | None:
    """Textual inversions: a handful of vectors as wide as the text encoder that reads them."""
    if not 0 < len(keys) <= 4 or any(name.endswith((".weight", ".bias")) for name in keys.names):
        return None
    by_name = {name: keys.shape(name) for name in keys.names}
    if any(len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] > 1024) for shape in by_name.values()):
        return None
    if set(by_name) >= {"clip_l", "clip_g"}:
        return Recognised("embedding", ("sdxl",), "original")
    if len(by_name) == 1:
        ((name, shape),) = by_name.items()
        family = families.of_context(shape[-1])
        if family is not None and family.key in ("mini", "sd15", "sd2"):
            return Recognised("embedding", (family.key,), "original" if name == "emb_params" else "diffusers")
    return None


# ── Additions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _adapter(keys: TensorNames, hint: str) -> Recognised | None:
    """IP-Adapters and T2I-Adapters: known, so that nobody takes them for something else."""
    if keys.starts("ip_adapter.") and keys.starts("image_proj."):
        text = keys.first(r"ip_adapter\.1\.to_k_ip\.weight")
        family = families.of_context(text[1][-1]) if text else None
        return Recognised("adapter", (family.key,) if family else (), "original", "ip-adapter")
    if keys.starts("adapter.body.") or keys.has("body.0.resnets.0.block1.weight"):
        # They read blocks of 8 × 8 pixels for SD 1.5, of 16 × 16 for SDXL, each in one channel or three.
        channels = (keys.shape("adapter.conv_in.weight") or keys.shape("conv_in.weight") or (0, 0))[1]
        return Recognised("adapter", ("sdxl" if channels in (256, 768) else "sd15",), "diffusers", "t2i-adapter")
    return None


def _controlnet(keys: TensorNames, hint: str) -> Recognised | None:
    if keys.has("lora_controlnet"):
        return Recognised("controlnet", (), "original", "control-lora")
    if keys.holds("input_hint_block.0.weight") or keys.has("controlnet_cond_embedding.conv_in.weight"):
        naming: Naming = "original" if keys.holds("input_hint_block.0.weight") else "diffusers"
        text = keys.first(r"(control_model\.)?(down_blocks|input_blocks)\..*transformer_blocks\.0\.attn2\.to_k\.weight")
        labelled = keys.has("add_embedding.linear_1.weight") or keys.has("control_model.label_emb.0.0.weight")
        content = "union" if keys.has("task_embedding") or keys.holds("control_add_embedding") else ""
        return Recognised("controlnet", (_of_context(text, labelled),), naming, content)
    if keys.starts("control_layers.", "control_all_x_embedder."):
        return Recognised("controlnet", ("z-image",), "diffusers", "union")
    if not keys.holds("controlnet_blocks.0.weight", "controlnet_blocks.0."):
        return None
    if keys.has("txt_norm.weight"):
        return Recognised("controlnet", ("qwen-image",), "diffusers")
    if keys.has("controlnet_x_embedder.weight"):
        return Recognised("controlnet", ("flux",), "diffusers", "union" if keys.holds("controlnet_mode") else "")
    if keys.has("pos_embed_input.proj.weight"):
        return Recognised("controlnet", ("sd3",), "diffusers")
    return Recognised("controlnet", ("sana",) if keys.holds("ff.conv_inverted") else (), "diffusers")


def _lora(keys: TensorNames, hint: str) -> Recognised | None:
    content = recognise_lora.algorithm(keys)
    if not content:
        return None
    if keys.starts("lora_", "lycoris_"):
        naming: Naming = "kohya"
    else:
        naming = "peft" if keys.starts("base_model.model.", "diffusion_model.") else "diffusers"
    return Recognised("lora", recognise_lora.made_for(keys), naming, content)


def fits(addition: Iterable[str], model: str) -> bool:
    """Whether something made for one of these families may be used with a model of the family `model`."""
    kin = families.known(model).related
    return any(families.known(key).related == kin for key in addition)
