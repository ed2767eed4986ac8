"""A pipeline folder of every family of the table, in the real format, with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from studio.diffusion import load
from tests.families import parts
from tests.families.parts import WIDTH

_HEADS: Final = {"num_attention_heads": 2, "attention_head_dim": 16}
_TRAINED: Final = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def _flow(**settings: Any) -> Any:
    return FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | settings))


def _shifted() -> Any:
    """Noise levels that depend on the number of pixels."""
    return _flow(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)


def _unet(cross: int, **more: Any) -> Any:
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": cross,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return diffusers.UNet2DConditionModel(**(settings | more))


def _labelled(cross: int, pooled: int, ids: int, **more: Any) -> Any:
    """A U-Net of the XL kind: pooled text and size numbers are added to the time."""
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    return _unet(cross, projection_class_embeddings_input_dim=pooled + 8 * ids, **added, **more)


def sd15() -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=parts.vae(4),
        text_encoder=parts.clip(),
        tokenizer=parts.clip_tokenizer(),
        unet=_unet(WIDTH),
        scheduler=EulerDiscreteScheduler(**_TRAINED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd2() -> Any:
    """Text vectors of 1024 are what tells it from SD 1.5, so here they are as wide as that."""
    pipe = sd15()
    pipe.register_modules(
        text_encoder=parts.clip(width=1024, layers=1, act="gelu"), unet=_unet(1024, use_linear_projection=True)
    )
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    return pipe


def sdxl() -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=parts.vae(4),
        text_encoder=parts.clip(),
        text_encoder_2=parts.clip(width=64, projected=True, act="gelu"),
        tokenizer=parts.clip_tokenizer(),
        tokenizer_2=parts.clip_tokenizer(),
        unet=_labelled(WIDTH + 64, 64, 6, use_linear_projection=True),
        scheduler=EulerDiscreteScheduler(**_TRAINED),
        add_watermarker=False,
    )


def sdxl_refiner() -> Any:
    return diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=parts.vae(4),
        text_encoder=None,
        text_encoder_2=parts.clip(width=1280, layers=2, projected=True, act="gelu"),
        tokenizer=None,
        tokenizer_2=parts.clip_tokenizer(),
        unet=_labelled(1280, 1280, 5, use_linear_projection=True),
        scheduler=EulerDiscreteScheduler(**_TRAINED),
        requires_aesthetics_score=True,
        add_watermarker=False,
    )


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        vae=parts.vae(16),
        text_encoder=parts.clip(width=16, projected=True),
        text_encoder_2=parts.clip(width=16, projected=True, act="gelu"),
        text_encoder_3=parts.t5(),
        tokenizer=parts.clip_tokenizer(),
        tokenizer_2=parts.clip_tokenizer(),
        tokenizer_3=parts.t5_tokenizer(),
        transformer=diffusers.SD3Transformer2DModel(
            **_HEADS,
            sample_size=8,
            num_layers=2,
            joint_attention_dim=WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=32,
            pos_embed_max_size=16,
        ),
        scheduler=_flow(),
    )


def _flux_parts() -> dict[str, Any]:
    return {
        "vae": parts.vae(16),
        "text_encoder": parts.clip(),
        "text_encoder_2": parts.t5(),
        "tokenizer": parts.clip_tokenizer(),
        "tokenizer_2": parts.t5_tokenizer(),
        "scheduler": _shifted(),
    }


def _flux_denoiser(**more: Any) -> Any:
    settings: dict[str, Any] = {
        "num_layers": 2,
        "num_single_layers": 2,
        "joint_attention_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
    return diffusers.FluxTransformer2DModel(**_HEADS, **(settings | more))


def flux() -> Any:
    return diffusers.FluxPipeline(transformer=_flux_denoiser(), **_flux_parts())


def flux_kontext() -> Any:
    return diffusers.FluxKontextPipeline(transformer=_flux_denoiser(), **_flux_parts())


def flux_fill() -> Any:
    """It reads latents, masked latents and an 8 × 8 mask for each of the four latents of a token."""
    return diffusers.FluxFillPipeline(transformer=_flux_denoiser(in_channels=384, out_channels=64), **_flux_parts())


def _flux2_denoiser(read: int, guided: bool) -> Any:
    return diffusers.Flux2Transformer2DModel(
        **_HEADS,
        num_layers=1,
        num_single_layers=2,
        joint_attention_dim=read * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guided,
    )


def flux2() -> Any:
    return diffusers.Flux2Pipeline(
        vae=parts.vae_flux2(),
        text_encoder=parts.mistral3(),
        tokenizer=parts.pixtral_processor(),
        transformer=_flux2_denoiser(3, guided=True),
        scheduler=_shifted(),
    )


def flux2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        vae=parts.vae_flux2(),
        text_encoder=parts.qwen3(head=True, layers=28),
        tokenizer=parts.qwen_tokenizer(),
        transformer=_flux2_denoiser(3, guided=False),
        scheduler=_shifted(),
        is_distilled=True,
    )


def z_image() -> Any:
    return diffusers.ZImagePipeline(
        vae=parts.vae(16),
        text_encoder=parts.qwen3(head=False),
        tokenizer=parts.qwen_tokenizer(),
        transformer=diffusers.ZImageTransformer2DModel(
            dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH, axes_dims=[4, 6, 6]
        ),
        scheduler=_flow(),
    )


def _qwen_denoiser(**more: Any) -> Any:
    return diffusers.QwenImageTransformer2DModel(
        **_HEADS, num_layers=2, joint_attention_dim=WIDTH, axes_dims_rope=(4, 6, 6), **more
    )


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(
        vae=parts.vae_qwen(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.qwen_tokenizer(),
        transformer=_qwen_denoiser(),
        scheduler=_shifted(),
    )


def qwen_edit() -> Any:
    return diffusers.QwenImageEditPlusPipeline(
        vae=parts.vae_qwen(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.qwen_tokenizer(),
        processor=parts.qwen_processor(),
        transformer=_qwen_denoiser(),
        scheduler=_shifted(),
    )


def _sana_parts(**more: Any) -> dict[str, Any]:
    return {
        "tokenizer": parts.gemma_tokenizer(),
        "text_encoder": parts.gemma2(),
        "vae": parts.vae_dc(),
        "transformer": diffusers.SanaTransformer2DModel(
            **_HEADS,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            sample_size=4,
            **more,
        ),
    }


def sana() -> Any:
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return diffusers.SanaPipeline(scheduler=DPMSolverMultistepScheduler(**flow), **_sana_parts())


def sana_sprint() -> Any:
    return diffusers.SanaSprintPipeline(
        scheduler=diffusers.SCMScheduler(), **_sana_parts(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    )


def pixart() -> Any:
    return diffusers.PixArtSigmaPipeline(
        tokenizer=parts.t5_tokenizer(),
        text_encoder=parts.t5(),
        vae=parts.vae(4),
        transformer=diffusers.PixArtTransformer2DModel(
            **_HEADS, num_layers=2, cross_attention_dim=32, caption_channels=WIDTH, sample_size=8
        ),
        scheduler=DPMSolverMultistepScheduler(beta_schedule="linear"),
    )


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        vae=parts.vae(16),
        text_encoder=parts.t5(),
        tokenizer=parts.t5_tokenizer(),
        transformer=diffusers.ChromaTransformer2DModel(
            **_HEADS,
            num_layers=2,
            num_single_layers=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
            approximator_num_channels=16,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
        scheduler=_flow(),
    )


def hidream() -> Any:
    return diffusers.HiDreamImagePipeline(
        vae=parts.vae(16),
        text_encoder=parts.clip(width=16, projected=True, positions=248),
        text_encoder_2=parts.clip(width=16, projected=True, act="gelu", positions=248),
        text_encoder_3=parts.t5(),
        text_encoder_4=parts.llama(),
        tokenizer=parts.clip_tokenizer(),
        tokenizer_2=parts.clip_tokenizer(),
        tokenizer_3=parts.t5_tokenizer(),
        tokenizer_4=parts.fast_tokenizer(),
        transformer=diffusers.HiDreamImageTransformer2DModel(
            **_HEADS,
            patch_size=2,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            caption_channels=[WIDTH, WIDTH],
            text_emb_dim=32,
            num_routed_experts=2,
            axes_dims_rope=(8, 4, 4),
            max_resolution=(16, 16),
            llama_layers=[0, 1],
        ),
        scheduler=_flow(),
    )


def lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        vae=parts.vae(16),
        text_encoder=parts.gemma2(),
        tokenizer=parts.gemma_tokenizer(),
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=8,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 6, 6),
            axes_lens=(512, 64, 64),
            cap_feat_dim=WIDTH,
        ),
        scheduler=_flow(),
    )


def cogview4() -> Any:
    return diffusers.CogView4Pipeline(
        vae=parts.vae(16),
        text_encoder=parts.glm(),
        tokenizer=parts.fast_tokenizer(),
        transformer=diffusers.CogView4Transformer2DModel(
            **_HEADS,
            num_layers=2,
            text_embed_dim=WIDTH,
            time_embed_dim=16,
            condition_dim=8,
            pos_embed_max_size=16,
            sample_size=8,
            rope_axes_dim=(16, 16),
        ),
        scheduler=_flow(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"),
    )


def _ideogram_denoiser() -> Any:
    return diffusers.Ideogram4Transformer2DModel(
        **_HEADS,
        num_layers=2,
        intermediate_size=64,
        adaln_dim=16,
        llm_features_dim=13 * WIDTH,
        mrope_section=(4, 2, 2),
    )


def ideogram4() -> Any:
    """36 layers of text, thirteen of which the denoiser reads; a second denoiser for what is drawn without a prompt."""
    return diffusers.Ideogram4Pipeline(
        vae=parts.vae_flux2(),
        text_encoder=parts.qwen3_vl(layers=36),
        tokenizer=parts.qwen_tokenizer(),
        transformer=_ideogram_denoiser(),
        unconditional_transformer=_ideogram_denoiser(),
        scheduler=_flow(),
    )


def krea2() -> Any:
    return diffusers.Krea2Pipeline(
        vae=parts.vae_qwen(),
        text_encoder=parts.qwen3_vl(layers=3),
        tokenizer=parts.qwen_tokenizer(),
        transformer=diffusers.Krea2Transformer2DModel(
            **_HEADS,
            num_layers=2,
            num_key_value_heads=1,
            intermediate_size=64,
            timestep_embed_dim=16,
            text_hidden_dim=WIDTH,
            num_text_layers=2,
            text_num_attention_heads=2,
            text_num_key_value_heads=2,
            text_intermediate_size=64,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=_shifted(),
        text_encoder_select_layers=[1, 2],
    )


def kolors() -> Any:
    tokenizer = parts.chatglm_tokenizer()
    return diffusers.KolorsPipeline(
        vae=parts.vae(4),
        text_encoder=parts.chatglm(tokenizer.vocab_size + 16),
        tokenizer=tokenizer,
        unet=_labelled(WIDTH, WIDTH, 6, encoder_hid_dim=WIDTH, encoder_hid_dim_type="text_proj"),
        scheduler=EulerDiscreteScheduler(**_TRAINED),
    )


BUILDERS: Final[dict[str, Callable[[], Any]]] = {
    "sd15": sd15,
    "sd2": sd2,
    "sdxl": sdxl,
    "sdxl-refiner": sdxl_refiner,
    "sd3": sd3,
    "flux": flux,
    "flux-kontext": flux_kontext,
    "flux-fill": flux_fill,
    "flux2": flux2,
    "flux2-klein": flux2_klein,
    "z-image": z_image,
    "qwen-image": qwen_image,
    "qwen-edit": qwen_edit,
    "sana": sana,
    "sana-sprint": sana_sprint,
    "pixart": pixart,
    "chroma": chroma,
    "kolors": kolors,
    "hidream": hidream,
    "lumina2": lumina2,
    "cogview4": cogview4,
    "ideogram4": ideogram4,
    "krea2": krea2,
}


def pipeline(key: str, seed: int = 0) -> Any:
    """The pipeline of that family, its weights drawn from `seed`."""
    load.quiet()
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers warns itself of what its Chroma imports
        pipe = BUILDERS[key]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            parts.wake(part)
    return pipe


def folder(key: str, place: Path) -> Path:
    pipeline(key).save_pretrained(place)
    return place
