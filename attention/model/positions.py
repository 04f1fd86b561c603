"""Temporal positions that restart in each window of frames, for models that add them to the hidden states.

AnimateDiff adds a table of sinusoids to the hidden states before temporal attention, and the table is finite (32 frames
for most adapters). Attention in windows counts positions from the beginning of each window, as in the released code of
FreeNoise and in diffusers, so that a video of any length needs only the part of the table for one window. The modules
that add the table therefore do not add it to longer videos. Queries, keys and values are affine in the hidden states,
so the projected table is added to those of each window instead, and they are still projected once.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Rule
from genkit.attention.model.hooks import Passage

Positions = tuple[Tensor, Tensor, Tensor]
"""Contribution of positions to queries, keys and values, ``[heads, frames of a window, D]`` each."""


def window_of(rules: Iterable[Rule]) -> int | None:
    """Return the latent frames of the windows in which positions restart; None if no rule has such windows."""
    windows = [rule.restarts for rule in rules if rule.restarts is not None]
    return min(windows, default=None)


def embedding_of(model: nn.Module, layer: str) -> nn.Module | None:
    """Return the module that adds positions to the hidden states of an attention module; None if none does."""
    found = getattr(model.get_submodule(layer.rpartition(".")[0]), "pos_embed", None)
    return found if isinstance(getattr(found, "pe", None), Tensor) else None


def leave_out(embedding: nn.Module, window: int, active: Callable[[], bool]) -> Passage:
    """Bypass ``embedding`` for hidden states of more than ``window`` frames while ``active()``."""

    def through(forward: Callable[[Tensor], Any], hidden: Tensor) -> Any:
        return hidden if active() and hidden.shape[1] > window else forward(hidden)

    return Passage(embedding, through)


def first_positions(embedding: Any, window: int) -> Tensor:
    """Return the first ``window`` positions that ``embedding`` adds, ``[1, window, C]``; fewer if it has fewer."""
    table: Tensor = embedding.pe[:, :window]
    return table


@torch.no_grad()
def projected(attention: Any, table: Tensor, window: int, like: Tensor) -> Positions:
    """Return the contribution of ``table`` [1, window, C] to an attention module's queries, keys and values.

    Raises:
        ValueError: the projections are not affine, or the table has fewer positions.
    """
    if any(getattr(attention, name, None) is not None for name in ("norm_q", "norm_k")):
        raise ValueError("queries and keys are normalised, so positions cannot restart in windows of this model")
    table = table.to(like)
    if table.shape[1] < window:
        raise ValueError(f"windows of {window} frames exceed the {table.shape[1]} positions of this model")
    both = torch.cat([torch.zeros_like(table[:, :1]), table], 1)
    added = []
    for project in (attention.to_q, attention.to_k, attention.to_v):
        out: Tensor = project(both)[0]
        added.append((out[1:] - out[:1]).unflatten(-1, (-1, like.shape[-1])).transpose(0, 1))
    return added[0], added[1], added[2]
