"""For which family a LoRA was made and by which algorithm, told from the layers it changes. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from studio import families
from studio.tensor_names import TensorNames

#: What the name of a tensor says about how a LoRA changes its layer.
_ALGORITHMS: Final = (
    ("dora", (".dora_scale", ".lora_magnitude_vector")),
    ("loha", (".hada_w1_a",)),
    ("lokr", (".lokr_w1", ".lokr_w1_a")),
    ("oft", (".oft_blocks", ".oft_diag", ".oft_R.")),
    ("ia3", (".on_input",)),
    ("lora", (".lora_down.", ".lora_A.", ".lora.down.", "_lora.down.", ".lora_linear_layer.down.")),
    ("full", (".diff",)),
)
_DOWN: Final = (
    ".lora_down.weight",
    ".lora_A.weight",
    ".lora_A.default.weight",
    ".lora.down.weight",
    "_lora.down.weight",
)


def algorithm(keys: TensorNames) -> str:
    """`lora`, `loha`, `lokr`, `dora`, `oft`, `ia3` or `full` (whole differences); "" when it is no LoRA."""
    word = next((word for word, ends in _ALGORITHMS if keys.holds(*ends)), "")
    return "" if word in ("full", "ia3") and not keys.starts("lora_", "diffusion_model.") else word


def _width(keys: TensorNames, part: str) -> int:
    """How wide is what a layer with `part` in its name reads; 0 when no such layer is changed."""
    for name in sorted(keys.names):
        if not re.search(part, name):
            continue
        shape = keys.shape(name)
        if name.endswith((*_DOWN, ".hada_w1_b")):
            return shape[1] if len(shape) > 1 else 0
        if name.endswith(".lokr_w1"):
            stem = name.removesuffix("lokr_w1")
            other = keys.shape(f"{stem}lokr_w2") or keys.shape(f"{stem}lokr_w2_b")
            return shape[1] * other[1] if len(shape) > 1 and len(other) > 1 else 0
    return 0


def made_for(keys: TensorNames) -> tuple[str, ...]:
    """Keys of the families whose layers these are, the likeliest first."""
    if keys.holds("double_stream_blocks", "single_stream_blocks"):
        return ("hidream",)
    if keys.holds("txtfusion", "text_fusion", ".attn.to_gate.", ".attn.wq.", "_attn_wq."):
        return ("krea2",)
    if keys.holds("joint_blocks"):
        return ("sd3",)
    if keys.holds("distilled_guidance_layer"):
        return ("chroma",)
    if keys.holds("double_blocks", "single_blocks", "single_transformer_blocks"):
        return _flux_lora(keys)
    if keys.holds("img_mlp", "txt_mlp", "img_mod_1", "img_mod.1"):
        return ("qwen-image", "qwen-edit")
    if keys.first(r".*(?<!transformer_)(?<!resnets)(\.|_)?layers[._]\d+[._](attention|feed_forward|attn)[._].*"):
        width = _width(keys, r"layers[._]\d+[._](attention|attn)[._](to_q|to_k|to_v|qkv|q_proj)")
        return {2304: ("lumina2",), 4608: ("ideogram4",)}.get(width, ("z-image",))
    if keys.holds("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block"):
        return _unet_lora(keys)
    if keys.holds("transformer_blocks", "cross_attn"):
        return _transformer_lora(keys)
    if keys.starts("lora_te1_", "lora_te2_", "text_encoder_2."):
        return ("sdxl",)
    return ("sd15", "sd2", "mini") if keys.starts("lora_te_", "text_encoder.") else ()


def _flux_lora(keys: TensorNames) -> tuple[str, ...]:
    width = _width(keys, r"(double_blocks|(?<!single_)transformer_blocks)[._]0[._](img_attn|attn)[._](qkv|to_q)")
    depth = max(keys.layers("single_blocks."), keys.layers("single_blocks_"))
    depth = max(depth, keys.layers("single_transformer_blocks."), keys.layers("single_transformer_blocks_"))
    if width in (4096, 6144) or keys.holds("to_qkv_mlp_proj", "to_qkv_mlp") or depth > 38:
        return ("flux2", "flux2-klein") if width == 6144 or depth > 38 else ("flux2-klein", "flux2")
    return ("flux", "flux-kontext", "flux-fill", "chroma")


def _unet_lora(keys: TensorNames) -> tuple[str, ...]:
    width = _width(keys, r"attn2[._](to_k|to_v|processor[._]to_k)")
    family = families.of_context(width)
    if family is not None:
        return (family.key,)
    if keys.starts("lora_te1_", "lora_te2_", "text_encoder_2.") or keys.holds(
        "transformer_blocks_9", "transformer_blocks.9"
    ):
        return ("sdxl",)
    return ("sd15", "mini") if keys.starts("lora_te_") else ("sd15", "sdxl", "sd2", "mini")


#: Width of a transformer’s blocks → the families of that width.
_WIDTHS: Final[Mapping[int, tuple[str, ...]]] = {
    1536: ("sd3",), 2432: ("sd3",), 3072: ("qwen-image", "qwen-edit"), 2560: ("cogview4",), 2240: ("sana",),
}  # fmt: skip


def _transformer_lora(keys: TensorNames) -> tuple[str, ...]:
    if keys.holds("conv_inverted", "conv_point", "inverted_conv"):
        return ("sana",)
    width = _width(keys, r"transformer_blocks[._]\d+[._](attn|attn1)[._](to_q|to_k|add_q_proj)")
    if width in _WIDTHS:
        return _WIDTHS[width]
    if keys.holds("attn2"):
        return ("pixart", "sana")
    return ("flux", "qwen-image", "sd3") if keys.holds("attn") else ()
