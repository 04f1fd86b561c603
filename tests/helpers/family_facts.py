"""What the attention of each tiny pipeline looks like during ``pipe(**call_arguments(name))``.

The facts on which the hook and the model cards rely, written by hand and compared with real runs in
``test_families.py``. Tokens are ordered by frame, row, column. In a UNet the batch of spatial attention is ordered by
branch, frame, that of temporal attention by branch, row, column.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from families import TEXT

Layers = dict[str, int]
"""Patterns of module names (``fnmatch``), and how many modules each must match."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Geometry and calls of one family."""

    latents: tuple[int, ...]
    """Shape of the result with ``output_type="latent"``."""
    video: tuple[int, ...]
    """Shape of the result with ``output_type="np"``."""
    frames: int
    """Latent frames."""
    rows: int
    """Token rows of a frame; in a UNet those of its first level."""
    cols: int
    """Token columns of a frame; in a UNet those of its first level."""
    layers: dict[str, Layers]
    """Attention modules of each kind: self, joint, cross, spatial, temporal."""
    others: Layers = field(default_factory=dict)
    """Attention modules that see no video token."""
    text_tokens: int = TEXT
    """Length of the text that the model gets, padding included."""
    joint_text: dict[str, int] | None = None
    """Text tokens in a joint sequence by branch, where padding is taken out; None where it stays in."""
    text_first: bool = False
    """Whether text stands before the video in a joint sequence."""
    mask: dict[str, str] = field(default_factory=dict)
    """How the mask of a kind is written: ``"bool"`` or ``"additive"``; kinds that are absent have none."""
    branches: tuple[tuple[str, ...], ...] = (("uncond", "cond"),)
    """Branches in the batch of each forward of one step, in order."""
    calls: int = 1
    """``scaled_dot_product_attention`` calls of one layer in one forward."""
    steps: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"transformer": (0, 1)})
    """Which steps each model does."""
    pixel_frames: dict[int, int] = field(default_factory=dict)
    """What the pipeline makes of a ``num_frames``."""

    def kind(self, layer: str) -> str | None:
        """The kind of one attention module, None if it sees no video token; an unknown name is an error."""
        kinds: list[tuple[str | None, Layers]] = [*self.layers.items(), (None, self.others)]
        found = [kind for kind, layers in kinds if any(fnmatchcase(layer, pattern) for pattern in layers)]
        assert len(found) == 1, f"{layer} is of the kinds {found}"
        return found[0]

    def text_of(self, branches: tuple[str, ...]) -> int:
        """Text tokens in the joint sequence of ``branches``."""
        return self.text_tokens if self.joint_text is None else self.joint_text[branches[0]]


_SEPARATE = (("cond",), ("uncond",))
_WAN = Expected(
    latents=(1, 4, 5, 6, 8),
    video=(1, 17, 48, 64, 3),
    frames=5,
    rows=3,
    cols=4,
    layers={"self": {"blocks.*.attn1": 3}, "cross": {"blocks.*.attn2": 3}},
    branches=_SEPARATE,
    pixel_frames={18: 17, 20: 21},
)
_WAN22 = Expected(
    latents=_WAN.latents,
    video=_WAN.video,
    frames=5,
    rows=3,
    cols=4,
    layers=_WAN.layers,
    branches=_SEPARATE,
    steps={"transformer": (0,), "transformer_2": (1, 2)},
)
_HUNYUAN = Expected(
    latents=(1, 4, 5, 6, 8),
    video=(1, 17, 48, 64, 3),
    frames=5,
    rows=3,
    cols=4,
    layers={"joint": {"transformer_blocks.*.attn": 2, "single_transformer_blocks.*.attn": 2}},
    others={"context_embedder.token_refiner.refiner_blocks.*.attn": 2},
    text_tokens=2 * TEXT,
    mask={"joint": "bool"},
    branches=_SEPARATE,
    pixel_frames={16: 13},
)
_COGVIDEOX = Expected(
    latents=(1, 5, 4, 6, 8),
    video=(1, 17, 48, 64, 3),
    frames=5,
    rows=3,
    cols=4,
    layers={"joint": {"transformer_blocks.*.attn1": 3}},
    text_first=True,
    pixel_frames={9: 9, 13: 16},
)
_LTX = Expected(
    latents=(1, 60, 8),
    video=(1, 33, 96, 128, 3),
    frames=5,
    rows=3,
    cols=4,
    layers={"self": {"transformer_blocks.*.attn1": 3}, "cross": {"transformer_blocks.*.attn2": 3}},
    mask={"cross": "additive"},
    pixel_frames={32: 25},
)
_MOCHI = Expected(
    latents=(1, 12, 5, 6, 8),
    video=(1, 25, 48, 64, 3),
    frames=5,
    rows=3,
    cols=4,
    layers={"joint": {"transformer_blocks.*.attn1": 3}},
    others={"time_embed.pooler": 1},
    joint_text={"uncond": 2, "cond": 6},
    calls=2,
    pixel_frames={24: 19},
)
_ANIMATEDIFF = Expected(
    latents=(1, 4, 8, 6, 8),
    video=(1, 8, 48, 64, 3),
    frames=8,
    rows=6,
    cols=8,
    layers={
        "spatial": {"*.attentions.*.transformer_blocks.*.attn1": 4},
        "cross": {"*.attentions.*.transformer_blocks.*.attn2": 4},
        "temporal": {"*.motion_modules.*.transformer_blocks.*.attn[12]": 14},
    },
    steps={"unet": (0, 1)},
    pixel_frames={7: 7},
)
_TEXT_TO_VIDEO_SD = Expected(
    latents=(1, 4, 8, 6, 8),
    video=(1, 8, 48, 64, 3),
    frames=8,
    rows=6,
    cols=8,
    layers={
        "spatial": {"*.attentions.*.transformer_blocks.*.attn1": 4},
        "cross": {"*.attentions.*.transformer_blocks.*.attn2": 4},
        "temporal": {
            "transformer_in.transformer_blocks.*.attn[12]": 2,
            "*.temp_attentions.*.transformer_blocks.*.attn[12]": 8,
        },
    },
    steps={"unet": (0, 1)},
    pixel_frames={7: 7},
)

EXPECTED: dict[str, Expected] = {
    "wan": _WAN,
    "wan22": _WAN22,
    "hunyuan": _HUNYUAN,
    "cogvideox": _COGVIDEOX,
    "ltx": _LTX,
    "mochi": _MOCHI,
    "animatediff": _ANIMATEDIFF,
    "text_to_video_sd": _TEXT_TO_VIDEO_SD,
}
