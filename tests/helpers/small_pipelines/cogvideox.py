"""CogVideoX of three kinds of positions, from images, videos and control videos, and ConsisID."""

from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from families import FAMILIES, NEGATIVE, PROMPT, VARIANTS
from family_parts import TEXT_WIDTH
from torch import Tensor

from small_pipelines.form import SmallPipeline, family, small
from small_pipelines.parts import film, image

_SIZE = {"height": 48, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16, "output_type": "latent"}
_CALL = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0, **_SIZE}
FACE = 16
"""Width of what ConsisID knows about a face."""


def _like(name: str, pipeline: str, **changes: Any) -> DiffusionPipeline:
    """Return the parts of a family's pipeline in another pipeline, with another configuration of the transformer."""
    parts = {**FAMILIES, **VARIANTS}[name]().components
    old = parts["transformer"]
    new = type(old).from_config(old.config, **changes) if changes else old
    return getattr(diffusers, pipeline)(**{**parts, "transformer": new})


def _entry(pipeline: str, *, of: str = "cogvideox", changes: Any = (), inputs: Any = (), **call: Any) -> SmallPipeline:
    build = partial(_like, of, pipeline, **dict(changes))
    return SmallPipeline(build=small(build), call={**_CALL, **call}, inputs=dict(inputs))


@small
def consisid() -> DiffusionPipeline:
    """ConsisID: CogVideoX whose video tokens read a face after the first of two blocks."""
    parts = FAMILIES["cogvideox"]().components
    return diffusers.ConsisIDPipeline(**{**parts, "transformer": _consisid()})


def _consisid() -> diffusers.ConsisIDTransformer3DModel:
    return diffusers.ConsisIDTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=16,
        in_channels=8,
        out_channels=4,
        time_embed_dim=32,
        text_embed_dim=TEXT_WIDTH,
        num_layers=2,
        sample_width=8,
        sample_height=6,
        sample_frames=17,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
        is_train_face=True,
        cross_attn_interval=2,
        cross_attn_dim_head=16,
        cross_attn_num_heads=2,
        LFE_id_dim=FACE,
        LFE_vit_dim=FACE,
        LFE_depth=2,
        LFE_dim_head=8,
        LFE_num_heads=2,
        LFE_num_id_token=2,
        LFE_num_querie=4,
        LFE_output_dim=32,
        LFE_ff_mult=1,
        LFE_num_scale=2,
    )


def _drawn(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0))


_PICTURE = {"image": image()}

PIPELINES: dict[str, SmallPipeline] = {
    "CogVideoXPipeline": family("cogvideox"),
    "CogVideoXPipeline-1.5": family("cogvideox15"),
    "CogVideoXPipeline-2b": _entry(
        "CogVideoXPipeline", changes={"use_rotary_positional_embeddings": False}, num_frames=17
    ),
    "CogVideoXImageToVideoPipeline": _entry(
        "CogVideoXImageToVideoPipeline",
        changes={"in_channels": 8, "use_learned_positional_embeddings": True},
        inputs=_PICTURE,
        num_frames=17,
    ),
    "CogVideoXImageToVideoPipeline-1.5": _entry(
        "CogVideoXImageToVideoPipeline",
        of="cogvideox15",
        changes={"in_channels": 8, "ofs_embed_dim": 32},
        inputs=_PICTURE,
        num_frames=17,
    ),
    "CogVideoXVideoToVideoPipeline": _entry(
        "CogVideoXVideoToVideoPipeline", inputs={"video": film(17)}, num_inference_steps=3
    ),
    "CogVideoXFunControlPipeline": _entry(
        "CogVideoXFunControlPipeline", changes={"in_channels": 8}, inputs={"control_video": film(17)}
    ),
    "ConsisIDPipeline": SmallPipeline(
        build=consisid,
        call={**_CALL, "num_frames": 17},
        inputs={
            **_PICTURE,
            "id_cond": _drawn(1, FACE),
            "id_vit_hidden": lambda: [_drawn(1, 9, FACE)() for _ in range(2)],
        },
    ),
}
