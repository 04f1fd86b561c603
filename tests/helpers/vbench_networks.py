"""Tiny random checkpoints in the formats of the authors."""

from collections.abc import Callable

import torch
from torch import Tensor

DEPTH = 2


def _drawn(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator) * 0.1


def dino_checkpoint(width: int, patch: int = 16, side: int = 224, seed: int = 0) -> dict[str, Tensor]:
    """A ViT of two blocks under DINO's names."""
    draw = _drawn(seed)
    state = {"cls_token": draw(1, 1, width), "pos_embed": draw(1, 1 + (side // patch) ** 2, width)}
    state |= {"patch_embed.proj.weight": draw(width, 3, patch, patch), "patch_embed.proj.bias": draw(width)}
    for block in (f"blocks.{i}" for i in range(DEPTH)):
        layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in layers.items():
            state |= {f"{block}.{name}.weight": draw(*shape), f"{block}.{name}.bias": draw(shape[0])}
        for name in ("norm1", "norm2"):
            state |= {f"{block}.{name}.weight": 1 + draw(width), f"{block}.{name}.bias": draw(width)}
    return state | {"norm.weight": 1 + draw(width), "norm.bias": draw(width)}


def clip_checkpoint(width: int, patch: int = 32, out: int = 32, seed: int = 1) -> dict[str, Tensor]:
    """A CLIP with an image tower of two blocks and a scrap of the text tower, under OpenAI's names."""
    draw = _drawn(seed)
    state = {"logit_scale": draw(), "token_embedding.weight": draw(5, 4), "positional_embedding": draw(3, 4)}
    state |= {"visual.conv1.weight": draw(width, 3, patch, patch), "visual.class_embedding": draw(width)}
    state |= {"visual.positional_embedding": draw(1 + (224 // patch) ** 2, width), "visual.proj": draw(width, out)}
    for block in (f"visual.transformer.resblocks.{i}" for i in range(DEPTH)):
        state |= {f"{block}.attn.in_proj_weight": draw(3 * width, width), f"{block}.attn.in_proj_bias": draw(3 * width)}
        layers = {"attn.out_proj": (width, width), "mlp.c_fc": (4 * width, width), "mlp.c_proj": (width, 4 * width)}
        for name, shape in layers.items():
            state |= {f"{block}.{name}.weight": draw(*shape), f"{block}.{name}.bias": draw(shape[0])}
        for name in ("ln_1", "ln_2"):
            state |= {f"{block}.{name}.weight": 1 + draw(width), f"{block}.{name}.bias": draw(width)}
    for name in ("visual.ln_pre", "visual.ln_post"):
        state |= {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}
    return state
