"""Vision transformers from transformers' classes: DINO's ViT and the image tower of CLIP.

Both accept the authors' checkpoint or the hub's. The authors' names are mapped to the hub's, and ``from_pretrained``
maps those to the module names of the installed transformers; so one map serves every version.
Shape letters: B pictures, H rows, W columns, C width, N positions.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

State = Mapping[str, Tensor]
HEAD_WIDTH = 64
"""Width of an attention head in all of these DINO and CLIP models; it determines the number of heads."""


def dino(state: State | None) -> nn.Module:
    """Build DINO's ViT ``[B, 3, H, W] -> [B, C]``, its class token after the last norm; ViT-B/16 for ``state`` None.

    Source: M. Caron et al., arXiv 2104.14294. The positions are interpolated by DINO's own rule.
    """
    from transformers import ViTConfig, ViTModel

    given = None if state is None else dino_state(state)
    width, depth, patch, side = (768, 12, 16, 224) if given is None else _dino_sizes(given)
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // HEAD_WIDTH,
        intermediate_size=4 * width,
        patch_size=patch,
        image_size=side,
        layer_norm_eps=1e-6,
    )
    model = _load(ViTModel, config, given, add_pooling_layer=False)
    model.embeddings.interpolate_pos_encoding = MethodType(_dino_positions, model.embeddings)
    return _ClassToken(model)


def clip_image_tower(state: State | None) -> nn.Module:
    """Build CLIP's image tower ``[B, 3, H, W] -> [B, C]``; ViT-B/32 for ``state`` None. Source: arXiv 2103.00020."""
    return _clip(state, (768, 12, 32, 224, 512))


def clip_image_tower_large(state: State | None) -> nn.Module:
    """Build what :func:`clip_image_tower` builds; ViT-L/14 for ``state`` None."""
    return _clip(state, (1024, 24, 14, 224, 768))


def dino_positions(table_1NC: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Return the position table for a picture of ``height`` x ``width`` pixels, class token first.

    DINO scales by a factor with 0.1 patches added, which gives the right size after rounding down and samples at other
    points than an interpolation to that size would. Source: ``vision_transformer.py`` of DINO.
    """
    side = math.isqrt(table_1NC.shape[1] - 1)
    rows, columns = height // patch, width // patch
    if (rows, columns) == (side, side) and height == width:
        return table_1NC
    grid = table_1NC[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    factors = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = interpolate(grid, scale_factor=factors, mode="bicubic")
    return torch.cat([table_1NC[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def dino_state(state: State) -> dict[str, Tensor]:
    """Return DINO's checkpoint under the hub's names; one from the hub only loses its unused pooler."""
    if "pos_embed" not in state:
        return {name: value for name, value in state.items() if not name.startswith("pooler.")}
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if split := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name):
            layer, kind = split.groups()
            for part, chunk in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"encoder.layer.{layer}.attention.attention.{part}.{kind}"] = chunk.clone()
        else:
            renamed[_rename(name, DINO_NAMES)] = value
    return renamed


def clip_state(state: State) -> dict[str, Tensor]:
    """Return the image tower of OpenAI's or the hub's CLIP under the hub's names, without the text tower."""
    if "visual.proj" not in state:
        kept = ("vision_model.", "visual_projection.")
        ids = "vision_model.embeddings.position_ids"
        return {name: value for name, value in state.items() if name.startswith(kept) and name != ids}
    renamed = {"visual_projection.weight": state["visual.proj"].T.contiguous()}
    for name, value in state.items():
        if not name.startswith("visual.") or name == "visual.proj":
            continue
        if split := re.fullmatch(r"visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name):
            layer, kind = split.groups()
            for part, chunk in zip("qkv", value.chunk(3), strict=True):
                renamed[f"vision_model.encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = chunk.clone()
        else:
            renamed[_rename(name, CLIP_NAMES)] = value
    return renamed


DINO_NAMES = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
CLIP_NAMES = (
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


class _ClassToken(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.model(image_B3HW, interpolate_pos_encoding=True).last_hidden_state[:, 0]


class _Embedding(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.model(image_B3HW).image_embeds


def _dino_positions(embeddings: Any, tokens_BNC: Tensor, height: int, width: int) -> Tensor:
    return dino_positions(embeddings.position_embeddings, embeddings.patch_size, height, width)


def _dino_sizes(state: State) -> tuple[int, int, int, int]:
    """Return width, depth, patch and picture side of a checkpoint under the hub's names."""
    projection = state["embeddings.patch_embeddings.projection.weight"]
    patch, positions = projection.shape[-1], state["embeddings.position_embeddings"].shape[1] - 1
    return projection.shape[0], _depth(state, r"encoder\.layer\.(\d+)\."), patch, patch * math.isqrt(positions)


def _clip(state: State | None, sizes: tuple[int, int, int, int, int]) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    given = None if state is None else clip_state(state)
    width, depth, patch, side, out = sizes if given is None else _clip_sizes(given)
    config = CLIPVisionConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // HEAD_WIDTH,
        intermediate_size=4 * width,
        patch_size=patch,
        image_size=side,
        projection_dim=out,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    return _Embedding(_load(CLIPVisionModelWithProjection, config, given))


def _clip_sizes(state: State) -> tuple[int, int, int, int, int]:
    """Return width, depth, patch, picture side and embedding width of a checkpoint under the hub's names."""
    kernel = state["vision_model.embeddings.patch_embedding.weight"]
    positions = state["vision_model.embeddings.position_embedding.weight"].shape[0] - 1
    depth = _depth(state, r"vision_model\.encoder\.layers\.(\d+)\.")
    side = kernel.shape[-1] * math.isqrt(positions)
    return kernel.shape[0], depth, kernel.shape[-1], side, state["visual_projection.weight"].shape[0]


def _depth(state: State, pattern: str) -> int:
    return 1 + max((int(found[1]) for name in state if (found := re.match(pattern, name))), default=-1)


def _rename(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def _load(kind: Any, config: Any, state: State | None, **options: bool) -> Any:
    """Build a model of transformers with exactly these weights.

    Raises:
        ValueError: a key is missing or left over.
    """
    if state is None:
        return kind(config, **options)
    with _silent():
        model, report = kind.from_pretrained(
            None, config=config, state_dict=dict(state), output_loading_info=True, trust_remote_code=False, **options
        )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, report[what])):
            raise ValueError(f"{what.replace('_', ' ')}: {', '.join(names[:3])} ({len(names)} in all)")
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """Turn off progress bars and reports of keys: keys that do not fit are an error here."""
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
