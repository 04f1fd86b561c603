"""Temporal positions of each model family: where they are computed, and with which frequencies.

They are compared with the model's own tables before anything in those is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genkit.attention.facts.volume import Arguments, configured

Making = Literal["rotary module", "rotary argument", "learned", "sinusoid", "patch sinusoid", "none"]
"""``rotary module``: a module of the model computes the table of cosines and sines; ``rotary argument``: the pipeline
computes it; ``learned``: a module computes it from frequencies that are weights, and each channel rotates with time,
rows and columns; ``sinusoid``: a table is added before temporal attention; ``patch sinusoid``: a table is added to the
tokens before the first block; ``none``: only convolutions encode time, or no plug-in can change what does."""


@dataclass(frozen=True)
class Rotation:
    """Rotation angles of the frames in one table: ``phases + frame * inverse_frequencies``."""

    inverse_frequencies: Tensor
    """Radians per token frame, float64 ``[P]``, or ``[heads, P]`` if each head has its own; on the CPU."""
    phases: Tensor | None = None
    """Angles at frame 0, of the same shape; None: 0."""
    channels: Tensor | None = None
    """Channels of the table with each frequency, int64 ``[P, repeats]``; None: channel ``p`` has temporal frequency
    ``p``, and rotates with rows and columns as well."""


@dataclass(frozen=True, kw_only=True)
class PositionFacts:
    """Temporal positions of one family."""

    making: Making
    where: str = ""
    """Name of the module that computes or adds the table, inside the model or before an attention module; for
    ``rotary argument`` the argument of the model's forward that passes it."""
    rotation: Callable[[nn.Module, Arguments], Rotation] | None = None
    """Returns the angles, given a model and the arguments of the call that computes or takes the table."""
    token_axis: int = -2
    """Axis of the tokens in the table."""
    fixed: str = "has none: convolutions carry time"
    """Reason that plug-ins cannot change them, as the end of a sentence about the model; only for ``none``."""

    @property
    def absolute(self) -> bool:
        """True if positions are added to the hidden states, so that their table limits the length."""
        return self.making in ("sinusoid", "patch sinusoid")


def _geometric(width: int, theta: float) -> Tensor:
    """Inverse frequencies of ``width`` channels, float64 ``[width / 2]``. Source: RoFormer, arXiv 2104.09864."""
    return 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float64) / width)


def _first_channels(width: int, theta: float) -> Rotation:
    """Time in the first channels of a head, each frequency in two neighbours."""
    return Rotation(_geometric(width, theta), channels=torch.arange(width).unflatten(0, (-1, 2)))


def _wan(model: nn.Module, arguments: Arguments) -> Rotation:
    """Rows and columns take a third of a head each, rounded to even; time takes the rest."""
    width: int = configured(model, "attention_head_dim")
    return _first_channels(width - 4 * (width // 6), 10000.0)


def _chronoedit(model: nn.Module, arguments: Arguments) -> Rotation:
    """As Wan; of two frames that are left of a video the second is as far away as its last frame was in training."""
    plain = _wan(model, arguments)
    step = configured(model, "rope_temporal_skip_len") - 1 if arguments["hidden_states"].shape[2] == 2 else 1
    return Rotation(step * plain.inverse_frequencies, channels=plain.channels)


def _hunyuan(model: nn.Module, arguments: Arguments) -> Rotation:
    return _first_channels(configured(model, "rope_axes_dim")[0], configured(model, "rope_theta"))


def _cogvideox(model: nn.Module, arguments: Arguments) -> Rotation:
    return _first_channels(configured(model, "attention_head_dim") // 4, 10000.0)


def _cosmos(model: nn.Module, arguments: Arguments) -> Rotation:
    """Base stretched for longer videos; frames are counted in the base rate, and both halves of a head rotate alike."""
    width: int = configured(model, "attention_head_dim")
    time = width - 2 * (width // 6 * 2)
    theta = 10000.0 * configured(model, "rope_scale")[0] ** (time / (time - 2))
    rope: Any = model.rope
    fps = arguments.get("fps")
    step = 1.0 if fps is None else rope.base_fps / fps
    first = torch.arange(time // 2)
    return Rotation(step * _geometric(time, theta), channels=torch.stack([first, first + width // 2], 1))


def _ltx(model: nn.Module, arguments: Arguments) -> Rotation:
    """Coordinates in [-1, 1] instead of integers; time, rows and columns alternate in the channels.

    Raises:
        ValueError: the caller passes its own coordinates.
    """
    if arguments.get("video_coords") is not None:
        raise ValueError(
            "video_coords set the position of each frame, so a plug-in cannot change positions; leave out video_coords "
            "or the plug-in"
        )
    rope: Any = model.rope
    turns = torch.linspace(0, 1, rope.dim // 6, dtype=torch.float64)
    frequencies = torch.exp(turns * log(rope.theta)) * pi / 2
    scale = arguments.get("rope_interpolation_scale")
    step = 1.0 if scale is None else float(scale[0]) * rope.patch_size_t / rope.base_num_frames
    first = rope.dim % 6 + 6 * torch.arange(rope.dim // 6)
    return Rotation(2 * step * frequencies, -frequencies, torch.stack([first, first + 1], 1))


def _mochi(model: nn.Module, arguments: Arguments) -> Rotation:
    weights: Tensor = arguments["pos_frequencies"]
    return Rotation(weights[0].detach().double().cpu())


def _animatediff(table: nn.Module, arguments: Arguments) -> Rotation:
    """Sine and cosine of each frequency in neighbouring channels."""
    pe: Any = table.pe
    width = pe.shape[-1]
    return Rotation(_geometric(width, 10000.0), channels=torch.arange(width).unflatten(0, (-1, 2)))


def _cogvideox_2b(embedding: nn.Module, arguments: Arguments) -> Rotation:
    """All sines and then all cosines in the first quarter of the channels."""
    part: Any = embedding
    frequencies = _geometric(part.embed_dim // 4, 10000.0)
    channels = torch.arange(2 * len(frequencies)).unflatten(0, (2, -1)).T
    return Rotation(frequencies / part.temporal_interpolation_scale, channels=channels)


WAN_POSITIONS = PositionFacts(making="rotary module", where="rope", rotation=_wan, token_axis=-3)
CHRONOEDIT_POSITIONS = PositionFacts(making="rotary module", where="rope", rotation=_chronoedit, token_axis=-3)
HUNYUAN_POSITIONS = PositionFacts(making="rotary module", where="rope", rotation=_hunyuan)
LTX_POSITIONS = PositionFacts(making="rotary module", where="rope", rotation=_ltx)
COGVIDEOX_POSITIONS = PositionFacts(making="rotary argument", where="image_rotary_emb", rotation=_cogvideox)
EASYANIMATE_POSITIONS = PositionFacts(making="rotary module", where="rope_embedding", rotation=_cogvideox)
COSMOS_POSITIONS = PositionFacts(making="rotary module", where="rope", rotation=_cosmos)
COGVIDEOX_2B_POSITIONS = PositionFacts(making="patch sinusoid", where="patch_embed", rotation=_cogvideox_2b)
MOCHI_POSITIONS = PositionFacts(making="learned", where="rope", rotation=_mochi, token_axis=-3)
ANIMATEDIFF_POSITIONS = PositionFacts(making="sinusoid", where="pos_embed", rotation=_animatediff)
NO_POSITIONS = PositionFacts(making="none")


def fixed_positions(reason: str) -> PositionFacts:
    """Return the facts of positions that no plug-in can change; ``reason`` ends a sentence about the model."""
    return PositionFacts(making="none", fixed=reason)
