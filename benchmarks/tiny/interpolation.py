"""Position interpolation for the embedded model: a longer video at positions that its training has seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def interpolated_positions(transformer: Any, factor: float) -> Iterator[None]:
    """Divide the temporal positions of a ``WanTransformer3DModel`` by ``factor`` for the length of a ``with`` block.

    ``factor`` times as many frames then lie where the frames of a training clip lay, and the model makes the same
    event ``factor`` times as slow. Source: arXiv 2306.15595, there for text.
    """
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    rope = transformer.rope
    before = rope.freqs_cos, rope.freqs_sin
    places = torch.arange(len(rope.freqs_cos), dtype=torch.float64) / factor
    made = get_1d_rotary_pos_embed(
        rope.t_dim, places, use_real=True, repeat_interleave_real=True, freqs_dtype=torch.float64
    )
    try:
        rope.freqs_cos, rope.freqs_sin = (
            torch.cat([new.to(old), old[:, rope.t_dim :]], dim=1) for new, old in zip(made, before, strict=True)
        )
        yield
    finally:
        rope.freqs_cos, rope.freqs_sin = before
