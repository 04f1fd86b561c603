"""Small random parts of pipelines: tokenizers, text encoders and autoencoders, made without any download.

Autoencoders keep the strides of the real families, so that frame rules and latent shapes are the real ones.
"""

import re
from collections.abc import Callable, Iterable
from string import ascii_lowercase, digits, punctuation

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

TEXT_WIDTH = 32
"""Width of every text encoder here."""
VOCABULARY = 256
"""Size of every vocabulary here; a bound, not all of it is used."""
SPECIAL = ("<pad>", "</s>", "<s>", "<unk>")
"""Padding, end, start and unknown: token ids 0, 1, 2, 3."""
WORDS = (
    *("a", "an", "the", "and", "of", "on", "in", "to", "with", "then", "at", "cat", "dog", "walks", "runs", "night"),
    *("small", "large", "red", "green", "blue", "yellow", "circle", "square", "ring", "background"),
    *("moves", "left", "right", "up", "down", "still"),
)


def seeded(build: Callable[[], DiffusionPipeline]) -> Callable[[], DiffusionPipeline]:
    """Return a builder of the same weights every time, which does not touch the caller's random numbers."""

    def build_seeded() -> DiffusionPipeline:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe = build()
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return build_seeded


def tokenizer(length: int, *, start: bool = False, more_words: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """Known words are one token each, other words one token a character; ``</s>`` ends the text.

    ``length`` is the tokenizer's own maximum; ``start`` puts ``<s>`` first, as CLIP and Llama do; ``more_words`` are
    known as well.
    """
    characters = ascii_lowercase + digits + punctuation
    pieces = dict.fromkeys([*SPECIAL, *WORDS, *more_words, *characters, *(f"##{c}" for c in characters)])
    assert len(pieces) <= VOCABULARY, f"{len(pieces)} pieces do not fit into {VOCABULARY}"
    made = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if start else "$A </s>", special_tokens=[("</s>", 1), ("<s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        model_max_length=length,
    )


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of HunyuanVideo, whose pipeline puts every prompt into a template and crops 95 tokens of it.

    The words of the template are known, because 95 characters would leave most of it, and the prompt would be cut off.
    """
    template = str(DEFAULT_PROMPT_TEMPLATE["template"]).lower()
    return tokenizer(512, start=True, more_words=re.findall(r"\w+|[^\w\s]+", template.replace("{}", " ")))


def t5() -> T5EncoderModel:
    """Text encoder of CogVideoX, LTX and Mochi."""
    return T5EncoderModel(
        T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    ).eval()


def umt5() -> UMT5EncoderModel:
    """Text encoder of Wan."""
    config = UMT5Config(
        vocab_size=VOCABULARY, d_model=TEXT_WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=2, eos_token_id=1
    )
    return UMT5EncoderModel(config).eval()


def clip(positions: int) -> CLIPTextModel:
    """Text encoder of the UNets, and the pooled one of HunyuanVideo; ``positions`` is its longest text."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=positions,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return CLIPTextModel(config).eval()


def llama() -> LlamaModel:
    """Text encoder of HunyuanVideo; three layers, because the pipeline reads the third hidden state from the end."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return LlamaModel(config).eval()


def wan_vae() -> diffusers.AutoencoderKLWan:
    """Strides 4 and 8."""
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.0, 1.5, 0.8, 1.2],
    ).eval()


def wan22_vae() -> diffusers.AutoencoderKLWan:
    """Strides 4 and 16, in the form of Wan 2.2 TI2V-5B."""
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1] * 48,
        latents_std=[1.2] * 48,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        is_residual=True,
        scale_factor_spatial=16,
    ).eval()


def hunyuan_vae() -> diffusers.AutoencoderKLHunyuanVideo:
    """Strides 4 and 8."""
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    ).eval()


def cogvideox_vae() -> diffusers.AutoencoderKLCogVideoX:
    """Strides 4 and 8."""
    return diffusers.AutoencoderKLCogVideoX(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2
    ).eval()


def ltx_vae() -> diffusers.AutoencoderKLLTXVideo:
    """Strides 8 and 32."""
    return diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    ).eval()


def mochi_vae() -> diffusers.AutoencoderKLMochi:
    """Strides 6 and 8; twelve channels, because the pipeline is written for twelve."""
    return diffusers.AutoencoderKLMochi(
        latent_channels=12,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    ).eval()


def image_vae() -> diffusers.AutoencoderKL:
    """The autoencoder of the UNets: stride 8 in space, none in time."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
