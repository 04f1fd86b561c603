"""The parts of the embedded model: what is trained, and the stock pipeline made of it."""

from dataclasses import dataclass
from pathlib import Path

from diffusers import DiffusionPipeline, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.motions import PACKAGED, World
from genkit.tiny.world import vocabulary

FLOW_SHIFT = 3.0


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Size of the embedded model."""

    layers: int = 6
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of 64 channels each."""
    ffn: int = 1024
    """Hidden width of each feed-forward layer."""
    text_width: int = 128
    """Width of the text encoder."""
    text_layers: int = 4
    """Blocks of the text encoder."""
    latent_channels: int = 48
    """Principal components of each 2x8x8 patch in the autoencoder."""


def build_tokenizer(world: World = PACKAGED) -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per word of a world's vocabulary; commas vanish, anything else is ``<unk>``."""
    words = ["<pad>", "</s>", "<unk>", *vocabulary(world)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(",", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def build_text_encoder(config: TinyConfig, vocabulary_size: int) -> UMT5EncoderModel:
    """Build a small UMT5 encoder with random weights."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary_size,
            d_model=config.text_width,
            d_kv=32,
            num_heads=config.text_width // 32,
            d_ff=2 * config.text_width,
            num_layers=config.text_layers,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def build_transformer(config: TinyConfig) -> WanTransformer3DModel:
    """Build a small Wan transformer with random weights; patch (1, 2, 2)."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=config.heads,
        attention_head_dim=64,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        text_dim=config.text_width,
        freq_dim=128,
        ffn_dim=config.ffn,
        num_layers=config.layers,
    )


def build_scheduler() -> UniPCMultistepScheduler:
    """Build the solver of ``tiny``: second order, the clean latents as prediction."""
    return UniPCMultistepScheduler(prediction_type="sample", use_flow_sigmas=True, flow_shift=FLOW_SHIFT)


def assemble_pipeline(
    vae: PatchAutoencoder,
    text_encoder: UMT5EncoderModel,
    transformer: WanTransformer3DModel,
    world: World = PACKAGED,
) -> WanPipeline:
    """Return the stock ``WanPipeline`` made of these parts."""
    return WanPipeline(
        tokenizer=build_tokenizer(world),
        text_encoder=text_encoder,
        vae=vae,
        scheduler=build_scheduler(),
        transformer=transformer,
    )


def save_pipeline(folder: Path, pipe: DiffusionPipeline) -> None:
    """Write a pipeline, such that other versions of its libraries read it too."""
    pipe.save_pretrained(folder)
    _name_tokenizer(folder / "model_index.json")
    _name_tokenizer(folder / "tokenizer" / "tokenizer_config.json")
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def _name_tokenizer(file: Path) -> None:
    """Replace the class name that transformers 5 writes by one that transformers 4 knows too."""
    file.write_text(file.read_text().replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'))
