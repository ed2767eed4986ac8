"""Text encoders, tokenizers and VAEs of every kind the families use: real classes, random weights, next to no size."""

from __future__ import annotations

import importlib
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

from tests import tiny_models

#: Width of every text encoder.
WIDTH: Final = 32
_SPECIAL: Final = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    *(
        "<|video_pad|>",
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "[IMG]",
        "[IMG_BREAK]",
        "[IMG_END]",
        "<bos>",
        "<eos>",
        "<mask>",
    ),
)
_CHAT: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_BYTES: Final = sorted(pre_tokenizers.ByteLevel.alphabet())


def clip_tokenizer() -> Any:
    return tiny_models.tokenizer()


def t5_tokenizer() -> Any:
    """One token per character."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(character, -3.0) for character in string.ascii_letters + string.digits + string.punctuation]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def gemma_tokenizer() -> Any:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    words += [*string.ascii_letters, *string.digits, *string.punctuation]
    return transformers.GemmaTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])


def _byte_vocabulary() -> dict[str, int]:
    return {word: number for number, word in enumerate([*_BYTES, *_SPECIAL])}


def qwen_tokenizer() -> Any:
    """A token per byte, and the words of the chat template."""
    tokenizer = transformers.Qwen2Tokenizer(vocab=_byte_vocabulary(), merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL[1:7])})
    tokenizer.chat_template = _CHAT
    return tokenizer


def fast_tokenizer(**special: str) -> Any:
    """What GLM and Llama 3 come with: no class of their own, a tokenizer.json."""
    built = Tokenizer(models.BPE(vocab=_byte_vocabulary(), merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", _byte_vocabulary()["<bos>"])]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=built, pad_token="<pad>", eos_token="<|endoftext|>", model_max_length=64, **special
    )
    tokenizer.chat_template = _CHAT
    return tokenizer


def chatglm_tokenizer() -> Any:
    """Kolors reads prompts with a sentencepiece model, which takes the package of that name to make and to read."""
    sentencepiece = importlib.import_module("sentencepiece")
    kolors = importlib.import_module("diffusers.pipelines.kolors")
    with tempfile.TemporaryDirectory() as place:
        words = [*string.ascii_letters, *string.digits, "a red boat"] * 20
        with (Path(place) / "tokenizer.model").open("wb") as model:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(words),
                model_writer=model,
                vocab_size=70,
                model_type="unigram",
                hard_vocab_limit=False,
                minloglevel=2,
            )
        # It keeps the path of its file and reads it once more when it is saved: give it one that lasts.
        lasting = Path(tempfile.mkdtemp()) / "tokenizer.model"
        shutil.copy(Path(place) / "tokenizer.model", lasting)
    return kolors.ChatGLMTokenizer(vocab_file=str(lasting))


def chatglm(words: int) -> Any:
    text_encoder = importlib.import_module("diffusers.pipelines.kolors.text_encoder")
    config = text_encoder.ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=words,
        hidden_size=WIDTH,
        ffn_hidden_size=64,
        kv_channels=16,
        num_attention_heads=2,
        multi_query_attention=True,
        add_qkv_bias=True,
        original_rope=True,
    )
    model = text_encoder.ChatGLMModel(config)
    for weight in model.parameters():  # some of them hold what the memory held before
        (nn.init.ones_ if weight.ndim == 1 else nn.init.xavier_normal_)(weight)
    return model


def clip(
    *, width: int = WIDTH, projected: bool = False, layers: int = 2, act: str = "quick_gelu", positions: int = 77
) -> Any:
    words = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        projection_dim=width,
        hidden_act=act,
        max_position_embeddings=positions,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def t5() -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=WIDTH,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
        )
    )


def _decoder(layers: int) -> dict[str, Any]:
    """Settings that the language models share."""
    return {
        "vocab_size": len(qwen_tokenizer()) + 8,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
    }


def gemma2() -> Any:
    settings = _decoder(2) | {"vocab_size": len(gemma_tokenizer())}
    return transformers.Gemma2Model(transformers.Gemma2Config(**settings, query_pre_attn_scalar=16))


def qwen3(*, head: bool, layers: int = 3) -> Any:
    config = transformers.Qwen3Config(**_decoder(layers))
    return (transformers.Qwen3ForCausalLM if head else transformers.Qwen3Model)(config)


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_decoder(3)))


def glm() -> Any:
    return transformers.GlmModel(transformers.GlmConfig(**_decoder(3), pad_token_id=0))


def mistral3() -> Any:
    """31 layers, because FLUX.2 reads the tenth, the twentieth and the thirtieth."""
    config = transformers.Mistral3Config(
        text_config=transformers.MistralConfig(**_decoder(31)),
        vision_config=transformers.PixtralVisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=32,
            patch_size=16,
        ),
        image_token_index=_byte_vocabulary()["[IMG]"],
    )
    return transformers.Mistral3ForConditionalGeneration(config)


def pixtral_processor() -> Any:
    return transformers.PixtralProcessor(
        image_processor=transformers.PixtralImageProcessor(), tokenizer=fast_tokenizer(), chat_template=_CHAT
    )


def qwen25_vl() -> Any:
    words = qwen_tokenizer()
    text = _decoder(2) | {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [0],
        },
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen_processor() -> Any:
    return transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        tokenizer=qwen_tokenizer(),
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=_CHAT,
    )


def qwen3_vl(layers: int) -> Any:
    config = transformers.Qwen3VLConfig(
        text_config=_decoder(layers) | {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]}},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
    )
    return transformers.Qwen3VLModel(config)


def vae(channels: int, **more: Any) -> Any:
    """Factor 8, as all of them; the ones of flow models have no quantisation layers."""
    flow: dict[str, Any] = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1}
    settings: dict[str, Any] = {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": channels,
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "sample_size": 64,
    }
    return AutoencoderKL(**(settings | (flow if channels == 16 else {}) | more))


def vae_flux2() -> Any:
    return AutoencoderKLFlux2(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1)


def vae_qwen() -> Any:
    return AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def vae_dc() -> Any:
    """Factor 32."""
    return AutoencoderDC(
        encoder_block_out_channels=(8,) * 6,
        decoder_block_out_channels=(8,) * 6,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6,
        latent_channels=32,
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=0.4,
    )


@torch.no_grad()
def wake(module: nn.Module) -> Any:
    """Weights that training starts at zero would hide the prompt and the time from the picture."""
    for weight in module.parameters():
        if not bool(weight.any()) or bool((weight == weight.flatten()[0]).all() and weight.flatten()[0] == 0):
            nn.init.normal_(weight, std=0.1)
    return module.eval()
