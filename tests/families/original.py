"""Weights in the names of the original releases: diffusers' conversions run backwards.

FLUX.1, Chroma and Lumina 2 are not here: their converters hold the width of the released models, so that no smaller
model has an original form. Their files are tested in diffusers' names, their original names by recognition alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

Tensors = dict[str, torch.Tensor]


def _renamed(tensors: Tensors, names: tuple[tuple[str, str], ...]) -> Tensors:
    """Each name after every replacement of a pattern, in this order."""
    out = {}
    for name, tensor in tensors.items():
        for pattern, other in names:
            name = re.sub(pattern, other, name)
        out[name] = tensor
    return out


def _fused(tensors: Tensors, parts: tuple[str, ...], whole: str) -> Tensors:
    """Layers named after `parts` stacked into one named `whole`: query, key and value of an attention."""
    out = dict(tensors)
    for name in [name for name in tensors if f".{parts[0]}." in name]:
        stems = [name.replace(f".{parts[0]}.", f".{part}.") for part in parts]
        if all(stem in out for stem in stems):
            out[name.replace(f".{parts[0]}.", f".{whole}.")] = torch.cat([out.pop(stem) for stem in stems])
    return out


def _swapped(tensor: torch.Tensor) -> torch.Tensor:
    """Shift before scale, where diffusers has scale before shift."""
    return torch.cat(list(reversed(tensor.chunk(2))))


def unet(tensors: Tensors, layers: int) -> Tensors:
    """`layers`: ResNets of one level, on the way down."""

    def level(match: re.Match[str]) -> str:
        way, number, kind, layer = match[1], int(match[2]), match[3], int(match[4])
        if way == "down":
            place = 1 + number * (layers + 1) + (layers if kind == "downsamplers" else layer)
            return f"input_blocks.{place}.{'1' if kind == 'attentions' else '0'}" + (
                ".op" if kind == "downsamplers" else ""
            )
        place = number * (layers + 1) + (layers if kind == "upsamplers" else layer)
        if kind == "upsamplers":
            attends = f"up_blocks.{number}.attentions.0.norm.weight" in tensors
            return f"output_blocks.{place}.{2 if attends else 1}.conv"
        return f"output_blocks.{place}.{'1' if kind == 'attentions' else '0'}"

    out = {}
    for name, tensor in tensors.items():
        new = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)(?:\.conv)?(?=\.(?:weight|bias)$)", level, name)
        new = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)", level, new)
        for pattern, other in _UNET:
            new = re.sub(pattern, other, new)
        out[new] = tensor
    return out


def controlnet(tensors: Tensors, layers: int) -> Tensors:
    """Of a U-Net's; its hint has four widths, as the converter takes for granted."""
    named = {}
    for name, tensor in unet(tensors, layers).items():
        name = re.sub(r"^controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0", name)
        name = re.sub(r"^controlnet_mid_block", "middle_block_out.0", name)
        name = re.sub(r"^controlnet_cond_embedding\.conv_in", "input_hint_block.0", name)
        name = re.sub(r"^controlnet_cond_embedding\.conv_out", "input_hint_block.14", name)
        inner = re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.+)", name)
        named[f"input_hint_block.{2 * int(inner[1]) + 2}.{inner[2]}" if inner else name] = tensor
    return {f"control_model.{name}": tensor for name, tensor in named.items()}


_RESNET: Final = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
_UNET: Final = (
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^add_embedding\.linear_1", "label_emb.0.0"),
    (r"^add_embedding\.linear_2", "label_emb.0.2"),
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    *((rf"^((?:input|output)_blocks\.\d+\.0|middle_block\.[02]){old}", rf"\1{new}") for old, new in _RESNET),
)


def vae(tensors: Tensors) -> Tensors:
    levels = 1 + max(int(match[1]) for name in tensors if (match := re.match(r"decoder\.up_blocks\.(\d+)", name)))
    out = {}
    for name, tensor in tensors.items():
        new = re.sub(r"^decoder\.up_blocks\.(\d+)", lambda match: f"decoder.up.{levels - 1 - int(match[1])}", name)
        for pattern, other in _VAE:
            new = re.sub(pattern, other, new)
        if re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight$", new):
            tensor = tensor[:, :, None, None]
        out[new] = tensor.contiguous()
    return out


_VAE: Final = (
    (r"^encoder\.down_blocks\.", "encoder.down."),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"\.resnets\.", ".block."),
    (r"\.downsamplers\.0\.", ".downsample."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_(q|k|v)\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
)


def clip(tensors: Tensors) -> Tensors:
    return {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}


def open_clip(tensors: Tensors) -> Tensors:
    """OpenCLIP names, which SD 2 and the second encoder of SDXL have."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    fused = _fused(
        _renamed(plain, ((r"self_attn\.(q|k|v)_proj\.(\w+)$", r"self_attn.\1.\2"),)), ("q", "k", "v"), "in_proj"
    )
    out = _renamed(
        fused,
        (
            (r"^encoder\.layers\.", "transformer.resblocks."),
            (r"self_attn\.in_proj\.", "attn.in_proj_"),
            (r"self_attn\.out_proj", "attn.out_proj"),
            (r"layer_norm1", "ln_1"),
            (r"layer_norm2", "ln_2"),
            (r"mlp\.fc1", "mlp.c_fc"),
            (r"mlp\.fc2", "mlp.c_proj"),
            (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"^embeddings\.token_embedding", "token_embedding"),
            (r"^final_layer_norm", "ln_final"),
            (r"^text_projection\.weight", "text_projection"),
        ),
    )
    if "text_projection" in out:
        out["text_projection"] = out["text_projection"].T.contiguous()
    return out


def flux2(tensors: Tensors) -> Tensors:
    out = _fused(tensors, ("to_q", "to_k", "to_v"), "img_qkv")
    out = _fused(out, ("add_q_proj", "add_k_proj", "add_v_proj"), "txt_qkv")
    out = _renamed(
        out,
        (
            (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"single_blocks.\1.linear1"),
            (r"^single_transformer_blocks\.(\d+)\.attn\.to_out", r"single_blocks.\1.linear2"),
            (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
            (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
            (r"^transformer_blocks\.", "double_blocks."),
            (r"attn\.(img|txt)_qkv", r"\1_attn.qkv"),
            (r"attn\.norm_added_q\.weight", "txt_attn.norm.query_norm.scale"),
            (r"attn\.norm_added_k\.weight", "txt_attn.norm.key_norm.scale"),
            (r"(?<!_)attn\.norm_q\.weight", "img_attn.norm.query_norm.scale"),
            (r"(?<!_)attn\.norm_k\.weight", "img_attn.norm.key_norm.scale"),
            (r"attn\.to_out\.0", "img_attn.proj"),
            (r"attn\.to_add_out", "txt_attn.proj"),
            (r"ff\.linear_in", "img_mlp.0"),
            (r"ff\.linear_out", "img_mlp.2"),
            (r"ff_context\.linear_in", "txt_mlp.0"),
            (r"ff_context\.linear_out", "txt_mlp.2"),
            (r"^x_embedder", "img_in"),
            (r"^context_embedder", "txt_in"),
            (r"^time_guidance_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
            (r"^time_guidance_embed\.timestep_embedder\.linear_2", "time_in.out_layer"),
            (r"^time_guidance_embed\.guidance_embedder\.linear_1", "guidance_in.in_layer"),
            (r"^time_guidance_embed\.guidance_embedder\.linear_2", "guidance_in.out_layer"),
            (r"_modulation(_img|_txt)?\.linear\.", r"_modulation\1.lin."),
            (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
            (r"^proj_out", "final_layer.linear"),
        ),
    )
    swap = "final_layer.adaLN_modulation.1.weight"
    return out | {swap: _swapped(out[swap])}


def z_image(tensors: Tensors) -> Tensors:
    return _renamed(
        _fused(tensors, ("to_q", "to_k", "to_v"), "qkv"),
        (
            (r"all_final_layer\.2-1\.", "final_layer."),
            (r"all_x_embedder\.2-1\.", "x_embedder."),
            (r"attention\.to_out\.0", "attention.out"),
            (r"attention\.norm_(q|k)", r"attention.\1_norm"),
        ),
    )


def krea2(tensors: Tensors) -> Tensors:
    out = _renamed(
        tensors,
        (
            (r"^img_in\.", "first."),
            (r"^time_embed\.linear_1\.", "tmlp.0."),
            (r"^time_embed\.linear_2\.", "tmlp.2."),
            (r"^time_mod_proj\.", "tproj.1."),
            (r"^txt_in\.norm\.weight", "txtmlp.0.scale"),
            (r"^txt_in\.linear_1\.", "txtmlp.1."),
            (r"^txt_in\.linear_2\.", "txtmlp.3."),
            (r"^text_fusion\.", "txtfusion."),
            (r"^transformer_blocks\.", "blocks."),
            (r"^final_layer\.linear\.", "last.linear."),
            (r"^final_layer\.norm\.weight", "last.norm.scale"),
            (r"^final_layer\.scale_shift_table", "last.modulation.lin"),
            (r"\.attn\.to_(q|k|v)\.", r".attn.w\1."),
            (r"\.attn\.to_out\.0\.", ".attn.wo."),
            (r"\.attn\.to_gate\.", ".attn.gate."),
            (r"\.attn\.norm_(q|k)\.weight", r".attn.qknorm.\1norm.scale"),
            (r"\.ff\.", ".mlp."),
            (r"\.norm1\.weight", ".prenorm.scale"),
            (r"\.norm2\.weight", ".postnorm.scale"),
            (r"^(blocks\..*)\.scale_shift_table", r"\1.mod.lin"),
        ),
    )
    return {name: tensor.flatten() if name.endswith(".mod.lin") else tensor for name, tensor in out.items()}


def sd3(tensors: Tensors) -> Tensors:
    last = max(int(match[1]) for name in tensors if (match := re.match(r"transformer_blocks\.(\d+)", name)))
    out = _fused(tensors, ("to_q", "to_k", "to_v"), "x_qkv")
    out = _fused(out, ("add_q_proj", "add_k_proj", "add_v_proj"), "context_qkv")
    out = _renamed(
        out,
        (
            (r"^pos_embed\.proj", "x_embedder.proj"),
            (r"^pos_embed\.pos_embed", "pos_embed"),
            (r"^time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
            (r"^time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
            (r"^time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
            (r"^time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
            (r"^transformer_blocks\.", "joint_blocks."),
            (r"attn\.(x|context)_qkv", r"\1_block.attn.qkv"),
            (r"\.attn\.to_out\.0", ".x_block.attn.proj"),
            (r"\.attn\.to_add_out", ".context_block.attn.proj"),
            (r"\.norm1\.linear", ".x_block.adaLN_modulation.1"),
            (r"\.norm1_context\.linear", ".context_block.adaLN_modulation.1"),
            (r"\.ff\.net\.0\.proj", ".x_block.mlp.fc1"),
            (r"\.ff\.net\.2", ".x_block.mlp.fc2"),
            (r"\.ff_context\.net\.0\.proj", ".context_block.mlp.fc1"),
            (r"\.ff_context\.net\.2", ".context_block.mlp.fc2"),
            (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
            (r"^proj_out", "final_layer.linear"),
        ),
    )
    swaps = ("final_layer.adaLN_modulation.1", f"joint_blocks.{last}.context_block.adaLN_modulation.1")
    return {name: _swapped(tensor) if name.rpartition(".")[0] in swaps else tensor for name, tensor in out.items()}


def sana(tensors: Tensors) -> Tensors:
    plain = {re.sub(r"attn2\.to_(k|v)\.", r"attn2.c\1.", name): tensor for name, tensor in tensors.items()}
    out = _fused(plain, ("to_q", "to_k", "to_v"), "qkv")
    out = _renamed(
        _fused(out, ("ck", "cv"), "kv_linear"),
        (
            (r"^patch_embed\.proj", "x_embedder.proj"),
            (r"^time_embed\.emb\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
            (r"^time_embed\.emb\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
            (r"^time_embed\.linear", "t_block.1"),
            (r"^caption_projection\.linear_(1|2)", r"y_embedder.y_proj.fc\1"),
            (r"^caption_norm", "attention_y_norm"),
            (r"^scale_shift_table", "final_layer.scale_shift_table"),
            (r"^proj_out", "final_layer.linear"),
            (r"^transformer_blocks\.", "blocks."),
            (r"attn1\.to_out\.0", "attn.proj"),
            (r"attn1\.qkv", "attn.qkv"),
            (r"attn2\.to_q", "cross_attn.q_linear"),
            (r"attn2\.kv_linear", "cross_attn.kv_linear"),
            (r"attn2\.to_out\.0", "cross_attn.proj"),
            (r"ff\.conv_inverted", "mlp.inverted_conv.conv"),
            (r"ff\.conv_depth", "mlp.depth_conv.conv"),
            (r"ff\.conv_point", "mlp.point_conv.conv"),
        ),
    )
    return out | {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}


def same(tensors: Tensors) -> Tensors:
    """HiDream and Qwen-Image were released in diffusers’ names; of the others, files are made in them."""
    return dict(tensors)


DENOISERS: Final[Mapping[str, Callable[[Tensors], Tensors]]] = {
    "sd3": sd3,
    "flux2": flux2,
    "flux2-klein": flux2,
    "z-image": z_image,
    "krea2": krea2,
    "sana": sana,
}


def _below(stem: str, tensors: Tensors) -> Tensors:
    return {f"{stem}{name}": tensor for name, tensor in tensors.items()}


def checkpoint(key: str, pipe: Any) -> Tensors:
    """A file as it is published: a whole checkpoint of the Stable Diffusions, a denoiser alone of the others."""
    if not hasattr(pipe, "unet"):
        own = DENOISERS.get(key, same)(dict(pipe.transformer.state_dict()))
        return {name: tensor.contiguous() for name, tensor in _below("model.diffusion_model.", own).items()}
    out = _below("model.diffusion_model.", unet(dict(pipe.unet.state_dict()), pipe.unet.config.layers_per_block))
    out |= _below("first_stage_model.", vae(dict(pipe.vae.state_dict())))
    if key == "sd15":
        out |= _below("cond_stage_model.transformer.", clip(dict(pipe.text_encoder.state_dict())))
    elif key == "sd2":
        out |= _below("cond_stage_model.model.", open_clip(dict(pipe.text_encoder.state_dict())))
    elif key == "sdxl":
        out |= _below("conditioner.embedders.0.transformer.", clip(dict(pipe.text_encoder.state_dict())))
        out |= _below("conditioner.embedders.1.model.", open_clip(dict(pipe.text_encoder_2.state_dict())))
    else:
        out |= _below("conditioner.embedders.0.model.", open_clip(dict(pipe.text_encoder_2.state_dict())))
    return {name: tensor.contiguous() for name, tensor in out.items()}
