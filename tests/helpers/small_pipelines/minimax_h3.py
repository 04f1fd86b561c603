"""MiniMax-H3, which diffusers has as a modular pipeline only."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch
from families import PROMPT
from family_parts import TEXT_WIDTH, VOCABULARY, tokenizer
from torch import Tensor

from small_pipelines.form import SmallModular, small
from small_pipelines.parts import image, picture

VISION = {name: f"<|{name}|>" for name in ("vision_start", "vision_end", "image_pad", "video_pad")}
"""Tokens around a picture, and those in its place."""
SIDE, PATCH = 2, 16
"""Patches along each side of a picture, as the text encoder sees it, and pixels of one."""


class Eyes:
    """Pictures for the text encoder, four patches each: the part of a Qwen3-VL processor that MiniMax-H3 needs."""

    merge_size, temporal_patch_size = SIDE, 2

    def __init__(self, words: Any) -> None:
        self.image_processor = self.video_processor = self
        self.kinds = {words.convert_tokens_to_ids(VISION[f"{kind}_pad"]): n for n, kind in ((1, "image"), (2, "video"))}

    def create_mm_token_type_ids(self, tokens: list[list[int]]) -> list[list[int]]:
        """Return 0 for each token of text, 1 for those of images and 2 for those of videos."""
        return [[self.kinds.get(token, 0) for token in row] for row in tokens]

    def __call__(self, images: Sequence[Any] = (), videos: Sequence[Any] = (), **options: Any) -> dict[str, Tensor]:
        """Return the patches of images or videos, and how many each has in time, rows and columns."""
        if images:
            grid = torch.tensor([[1, SIDE, SIDE]] * len(images))
            return {"pixel_values": torch.cat([_patches(one) for one in images]), "image_grid_thw": grid}
        pairs = [video[:: self.temporal_patch_size] for video in videos]
        grid = torch.tensor([[len(pair), SIDE, SIDE] for pair in pairs])
        patches = torch.cat([_patches(frame) for pair in pairs for frame in pair])
        return {"pixel_values_videos": patches, "video_grid_thw": grid}


def _patches(picture: Any) -> Tensor:
    """Return the patches of a picture, one row each, the same for both frames of a pair."""
    small = np.asarray(picture)[:: len(np.asarray(picture)) // (SIDE * PATCH)][: SIDE * PATCH]
    small = small[:, :: small.shape[1] // (SIDE * PATCH)][:, : SIDE * PATCH]
    rows = torch.as_tensor(small / 255.0).float().unflatten(1, (SIDE, PATCH)).unflatten(0, (SIDE, PATCH))
    return rows.permute(0, 2, 4, 1, 3).flatten(0, 1).flatten(2)[:, :, None].expand(-1, -1, 2, -1).flatten(1)


def _build(*, references: bool = False, decode: bool = False) -> Any:
    """MiniMax-H3 (text to video and sound): 148 video tokens at the end of one sequence.

    With ``references`` it has the transformer for those, and without ``decode`` it ends with the latents.
    """
    blocks = diffusers.MiniMaxH3Blocks()
    if not decode:
        blocks.sub_blocks.pop("decode")
    pipe = blocks.init_pipeline()
    words = tokenizer(512, more_words=VISION.values())
    pipe.update_components(
        text_encoder=_conditioner(words),
        tokenizer=words,
        processor=Eyes(words),
        vae=_vae(),
        audio_vae=_audio_vae(),
        scheduler=diffusers.MiniMaxH3Scheduler(shift=12.0),
        audio_scheduler=diffusers.MiniMaxH3Scheduler(shift=3.0),
        canvas_short_edge=64,
        canvas_max_pixels=64 * 64,
        reference_image_short_edge=64,
        **{"transformer_ref" if references else "transformer": _transformer()},
    )
    return pipe


def _conditioner(words: Any) -> Any:
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
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
        "num_position_embeddings": 16,
        "patch_size": PATCH,
        "spatial_merge_size": SIDE,
        "temporal_patch_size": 2,
        "deepstack_visual_indexes": [0],
    }
    names = ("vision_start", "vision_end", "image", "video")
    ids = {f"{name}_token_id": words.convert_tokens_to_ids(VISION.get(name) or VISION[f"{name}_pad"]) for name in names}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **ids))


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


def _audio_vae() -> Any:
    return diffusers.AutoencoderKLMiniMaxH3Audio(
        encoder_dim=2,
        latent_dim=64,
        num_attention_heads=2,
        decoder_dim=128,
        latents_mean=[0.0] * 32,
        latents_std=[1.0] * 32,
    )


def _references() -> list[Any]:
    """Return an image, and a video of 22 frames without sound."""
    from diffusers.modular_pipelines import minimax_h3

    frames = np.stack([np.asarray(picture(64, 64, 2 * frame)) for frame in range(22)])
    return [
        minimax_h3.MiniMaxH3ImageReference(image=picture(64, 64)),
        minimax_h3.MiniMaxH3VideoReference(frames=frames, fps=24.0),
    ]


CALL = {"prompt": PROMPT, "num_inference_steps": 3, "height": 64, "width": 64, "num_frames": 124}
NOTE = "5 seconds are the shortest video; of two steps the last is the end"
PIPELINES: dict[str, SmallModular] = {
    "MiniMaxH3ModularPipeline": SmallModular(build=small(_build), call=CALL, output="latents", note=NOTE),
    "MiniMaxH3ModularPipeline-keyframes": SmallModular(
        build=small(_build),
        call=CALL,
        inputs={"image": image(64, 64), "last_image": image(64, 64, 20)},
        output="latents",
        note=NOTE,
    ),
    "MiniMaxH3ModularPipeline-references": SmallModular(
        build=small(partial(_build, references=True)),
        call=CALL,
        inputs={"references": _references},
        output="latents",
        note=NOTE,
    ),
}
FRAMES = SmallModular(
    build=small(partial(_build, decode=True)), call={**CALL, "output_type": "np"}, output="videos", slow=True, note=NOTE
)
"""MiniMax-H3 with its decoders, which take ten seconds."""
