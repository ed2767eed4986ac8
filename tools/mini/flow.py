"""The second family: a small flow-matching transformer in the architecture of Stable Diffusion 3.

It shares the autoencoder and the words of the first. Stable Diffusion 3 reads with two CLIP encoders and a T5, which
may be left out; the second CLIP is no more than a table of random codes here, which tells words apart and costs little.
"""

import math
from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tools.mini.text import TOKENS, WIDTH, Conditioner
from tools.mini.unet import Focus, NoisyBatch, Source, UnetTask

CODES = 32
"""Width of the second encoder."""
READ = WIDTH + CODES
T5_TOKENS = 256
INNER = 192
LAYERS = 6
PATCH = 4
"""Latent cells a token's side spans: 16 pixels."""
SHIFT = 2.0
"""Of the noise levels towards noise, where shapes are decided."""
FOCUS = Focus(steps=(0.7, 1.0), close=0.6)


def new_transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=64,
        patch_size=PATCH,
        in_channels=4,
        out_channels=4,
        num_layers=LAYERS,
        attention_head_dim=INNER // 4,
        num_attention_heads=4,
        joint_attention_dim=READ,
        caption_projection_dim=INNER,
        pooled_projection_dim=READ,
        pos_embed_max_size=24,
        qk_norm="rms_norm",
    )


def first_reader(encoder: CLIPTextModel) -> CLIPTextModelWithProjection:
    """The encoder of the first family with a projection that changes nothing."""
    reader = CLIPTextModelWithProjection(encoder.config)
    known = {f"text_model.{name}": value for name, value in encoder.state_dict().items()}
    reader.load_state_dict({**known, "text_projection.weight": torch.eye(WIDTH)})
    return reader.eval().requires_grad_(False)


def second_reader(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """Codes of words, the same ones every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=CODES,
                intermediate_size=CODES,
                projection_dim=CODES,
                num_hidden_layers=1,
                num_attention_heads=1,
                max_position_embeddings=TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        torch.nn.init.normal_(reader.get_input_embeddings().weight)
    return reader.eval().requires_grad_(False)


class Reading:
    """Token ids (N, 77) → what the transformer is told as the stock pipeline tells it: states (N, 77 + `silent`, 224),
    the last ones zeros in the place of T5's, and one pooled row (N, 224)."""

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel, silent: int = T5_TOKENS) -> None:
        self.tokenizer = tokenizer
        self.readers = tuple(one.to(encoder.device) for one in (first_reader(encoder), second_reader(tokenizer)))
        self.silent = silent

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        ids = ids.to(self.readers[0].device)
        read = [reader(ids, output_hidden_states=True) for reader in self.readers]
        states = torch.cat([one.hidden_states[-2] for one in read], -1).float()
        pooled = torch.cat([one.text_embeds for one in read], -1).float()
        return torch.nn.functional.pad(states, (0, 0, 0, self.silent)), pooled


class OneForAll:
    """Joint attention in which the last token stands for all 256 of T5's.

    They are equal and stay equal, since nothing tells them apart: one with the logarithm of their number added to its
    scores does the work of all, and a training step is half as long.
    """

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, Tensor | None]:
        cells = hidden_states.shape[1]

        def heads(states: Tensor, norm: nn.Module | None) -> Tensor:
            split = states.view(*states.shape[:2], attn.heads, -1).transpose(1, 2)
            normed = split if norm is None else norm(split)
            assert isinstance(normed, Tensor)
            return normed

        def joined(own: nn.Module, added: nn.Module, norm: nn.Module | None, added_norm: nn.Module | None) -> Tensor:
            return torch.cat([heads(own(hidden_states), norm), heads(added(encoder_hidden_states), added_norm)], 2)

        query = joined(attn.to_q, attn.add_q_proj, attn.norm_q, attn.norm_added_q)
        key = joined(attn.to_k, attn.add_k_proj, attn.norm_k, attn.norm_added_k)
        value = joined(attn.to_v, attn.add_v_proj, None, None)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores[..., -1] += math.log(T5_TOKENS)
        seen = (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        told = None if attn.context_pre_only else attn.to_add_out(seen[:, cells:])
        return attn.to_out[0](seen[:, :cells]), told


class FlowTask(UnetTask):
    """Predict noise − picture on the straight line between the two (Lipman et al., arXiv:2210.02747)."""

    offset_noise = 0.0  # its last level is all noise: nothing can be read off it

    def __init__(
        self, model: SD3Transformer2DModel, latents: Sequence[Source], condition: Conditioner, batch: int
    ) -> None:
        super().__init__(model, latents, condition, batch, focus=FOCUS)
        self.reading = Reading(condition.tokenizer, condition.encoder, silent=1)
        model.set_attn_processor(OneForAll())

    def loss(self, batch: NoisyBatch) -> tuple[Tensor, dict[str, float]]:
        device = self.model.device
        states, pooled = self.reading(batch.ids)
        clean, noise = batch.clean.to(device), batch.noise.to(device)
        times = (batch.times.to(device) + 1) / len(self.alphas)
        level = times.view(-1, 1, 1, 1)
        noisy = (1 - level) * clean + level * noise
        predicted = self.model(noisy, states, pooled, times * len(self.alphas), return_dict=False)[0].float()
        squares = (predicted - (noise - clean)).pow(2).mean(1)
        cells = 1 + self.focus.subject * batch.subjects.to(device)
        errors = (squares * cells).sum((1, 2)) / cells.sum((1, 2))
        return errors.mean(), {"v": squares.mean().item()}


def assemble_flow(
    vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, transformer: SD3Transformer2DModel
) -> StableDiffusion3Pipeline:
    vae.register_to_config(shift_factor=0.0)  # the stock pipeline adds it to every latent
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=vae,
        text_encoder=first_reader(encoder),
        tokenizer=tokenizer,
        text_encoder_2=second_reader(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
