"""MiniMax-H3, which diffusers has as a modular pipeline only."""

from typing import Any

import diffusers
from families import PROMPT
from family_parts import TEXT_WIDTH, VOCABULARY, tokenizer

from small_pipelines.form import SmallModular, small


class TextOnly:
    """A processor that has seen no picture: every token is text."""

    def create_mm_token_type_ids(self, tokens: list[list[int]]) -> list[list[int]]:
        """Return 0 for each token."""
        return [[0] * len(row) for row in tokens]


@small
def minimax_h3() -> Any:
    """MiniMax-H3 (text to video and sound) without its decoders: 148 video tokens at the end of one sequence."""
    blocks = diffusers.MiniMaxH3Blocks()
    blocks.sub_blocks.pop("decode")
    pipe = blocks.init_pipeline()
    pipe.update_components(
        text_encoder=_conditioner(),
        tokenizer=tokenizer(512),
        processor=TextOnly(),
        transformer=_transformer(),
        vae=_vae(),
        scheduler=diffusers.MiniMaxH3Scheduler(shift=12.0),
        audio_scheduler=diffusers.MiniMaxH3Scheduler(shift=3.0),
    )
    return pipe


def _conditioner() -> Any:
    """Return a text encoder of 51 layers, because the pipeline reads the fiftieth."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 51,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {"mrope_section": [2, 3, 3], "rope_theta": 10000.0, "rope_type": "default"},
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": TEXT_WIDTH}
    config = Qwen3VLConfig(text_config=text, vision_config={**vision, "deepstack_visual_indexes": [0]})
    return Qwen3VLForConditionalGeneration(config)


def _transformer() -> Any:
    return diffusers.MiniMaxH3Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        ffn_dim=32,
        in_channels=4,
        audio_in_channels=32,
        text_dim=TEXT_WIDTH,
        freq_dim=8,
        time_embed_hidden_dim=24,
        time_embed_dim=16,
        rope_freq_dim=2,
    )


def _vae() -> Any:
    """Return the autoencoder of MiniMax-H3, with its strides: 17 frames are 5 of latents, 16 pixels are one."""
    return diffusers.AutoencoderKLMiniMaxH3(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        decoder_num_layers=1,
        decoder_num_attention_heads=2,
        decoder_attention_head_dim=16,
        latents_mean=(0.0,) * 4,
        latents_std=(1.0,) * 4,
    )


PIPELINES: dict[str, SmallModular] = {
    "MiniMaxH3ModularPipeline": SmallModular(
        build=minimax_h3,
        call={"prompt": PROMPT, "num_inference_steps": 3, "height": 64, "width": 64, "num_frames": 124},
        output="latents",
        note="5 seconds are the shortest video; of two steps the last is the end",
    )
}
